"""ConfigMaps: the texts under the keys `flow` and `dns`, from a manifest, a mounted folder, or a plain folder.

A manifest is YAML or JSON, alone, among other documents, or in a List. Places in a text that stands as a block (`|`)
in YAML are given as the manifest's own lines; elsewhere the file is named `manifest:key`.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from dataclasses import dataclass
from typing import Any

import yaml

from flowd.filters.files import UnreadableText, decode_text, read_text_file
from flowd.filters.recognise import LARGEST_YAML_CHARS, YAML_LOADER
from flowd.filters.source import Place, Source

KEYS = ("flow", "dns")

_CONFIGMAP_MARK = re.compile(r"""["']?kind["']?[ \t]*:[ \t]*["']?(?:ConfigMap(?:List)?|List)\b""")
DATA_LINK = "..data"
_DEEPEST_NESTING = 100  # a ConfigMap in a List needs 5; composing recurses in C and would end the program


@dataclass(frozen=True, slots=True)
class KeyText:
    """The text under one key of a ConfigMap, whose name is empty where it is not known."""

    key: str
    source: Source
    configmap: str = ""


def find_configmap(text: str, file: str) -> list[KeyText] | None:
    """The texts of the one ConfigMap in a manifest; None if the text is no manifest. Raises UnreadableText."""
    if not _CONFIGMAP_MARK.search(text):
        return None
    _check_size(text, file)
    try:
        _check_depth(text, file)
        documents = [node for node in yaml.compose_all(text, Loader=YAML_LOADER) if node is not None]
    except yaml.MarkedYAMLError as error:
        if "nesting" in str(error.problem):  # libyaml's own bound, which newer releases have
            raise _nested_too_deeply(_place_of_mark(error.problem_mark, text, file)) from None
        if text.lstrip("\ufeff \t\r\n").startswith("<"):
            return None
        place = _place_of_mark(error.problem_mark or error.context_mark, text, file)
        raise UnreadableText(place, f"not YAML: {error.problem or error.context}", "check the manifest") from None
    except yaml.YAMLError as error:
        raise UnreadableText(Place(file, 1, 1), f"not YAML: {str(error)[:200]}", "check the manifest") from None
    maps = [found for node in documents for found in _find_configmaps(node)]
    if not maps:
        return None
    if len(maps) > 1:
        wanted = [found for found in maps if _key_nodes(found, "data") or _key_nodes(found, "binaryData")]
        if len(wanted) != 1:
            raise UnreadableText(
                _place_of(maps[1], file),
                f"{len(maps)} ConfigMaps in one manifest",
                "give a manifest with one ConfigMap that has the keys flow or dns",
            )
        maps = wanted
    return _read_keys(maps[0], text, file)


def read_folder(path: str) -> list[KeyText]:
    """The texts of a folder with `flow` and `dns`: a ConfigMap's mount, or what one is made from.

    Raises OSError or UnreadableText.
    """
    folder = path
    if os.path.islink(os.path.join(path, DATA_LINK)):
        # A mounted ConfigMap is replaced by moving this link: following it once reads both keys of one version.
        folder = os.path.realpath(os.path.join(path, DATA_LINK))
    texts = [
        KeyText(key, Source(os.path.join(path, key), read_text_file(os.path.join(folder, key))))
        for key in KEYS
        if _is_there(os.path.join(folder, key))
    ]
    if not texts:
        raise UnreadableText(
            Place(path, 1, 1), f"the folder {path} holds neither flow nor dns", "name the filter files flow and dns"
        )
    return texts


def _is_there(path: str) -> bool:
    """Whether there is such a name, a link that leads nowhere among them. Raises OSError where nobody may look."""
    try:
        os.lstat(path)
    except FileNotFoundError:
        return False
    return True


def _place_of_mark(mark: Any, text: str, file: str) -> Place:
    """The place of a YAML mark, which may be missing or stand behind the text's end."""
    return Source(file, text).place(min(mark.index, len(text)) if mark else 0)


def _check_size(text: str, file: str) -> None:
    if len(text) > LARGEST_YAML_CHARS:
        size = f"{LARGEST_YAML_CHARS // 2**20} MiB"
        raise UnreadableText(Place(file, 1, 1), f"the manifest is larger than {size}", "give the ConfigMap alone")


def _check_depth(text: str, file: str) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=YAML_LOADER):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > _DEEPEST_NESTING:
                raise _nested_too_deeply(_place_of_mark(event.start_mark, text, file))
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _nested_too_deeply(place: Place) -> UnreadableText:
    return UnreadableText(place, "the manifest is nested too deeply", "give the ConfigMap alone")


def _find_configmaps(node: yaml.Node) -> list[yaml.MappingNode]:
    if not isinstance(node, yaml.MappingNode):
        return []
    kind = _scalar(_child(node, "kind"))
    if kind == "ConfigMap":
        return [node]
    listed = _child(node, "items")
    if kind in ("List", "ConfigMapList") and isinstance(listed, yaml.SequenceNode):
        return [
            child
            for child in listed.value
            if isinstance(child, yaml.MappingNode)
            and (kind == "ConfigMapList" or _scalar(_child(child, "kind")) == "ConfigMap")
        ]
    return []


def _child(node: yaml.Node | None, name: str) -> yaml.Node | None:
    """The value under a name of a map; the last one counts."""
    found = None
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value == name:
                found = value
    return found


def _scalar(node: yaml.Node | None) -> str:
    return str(node.value) if isinstance(node, yaml.ScalarNode) else ""


def _key_nodes(configmap: yaml.MappingNode, part: str) -> dict[str, yaml.Node]:
    nodes = ((key, _child(_child(configmap, part), key)) for key in KEYS)
    return {key: node for key, node in nodes if node is not None}


def _place_of(node: yaml.Node, file: str) -> Place:
    return Place(file, node.start_mark.line + 1, node.start_mark.column + 1)


def _read_keys(configmap: yaml.MappingNode, text: str, file: str) -> list[KeyText]:
    plain, binary = _key_nodes(configmap, "data"), _key_nodes(configmap, "binaryData")
    name = _scalar(_child(_child(configmap, "metadata"), "name"))
    texts = []
    for key in KEYS:
        node = plain.get(key) or binary.get(key)
        if node is None:
            continue
        if not isinstance(node, yaml.ScalarNode):
            raise UnreadableText(_place_of(node, file), f"the key {key} is no text", f"write {key}: |")
        if key in plain:
            texts.append(KeyText(key, _source_of_block(node, text, file, key), name))
        else:
            texts.append(KeyText(key, Source(f"{file}:{key}", _decode_binary(node, file, key)), name))
    if not texts:
        raise UnreadableText(
            _place_of(configmap, file), "the ConfigMap has neither the key flow nor dns", "name the keys flow and dns"
        )
    return texts


def _decode_binary(node: yaml.ScalarNode, file: str, key: str) -> str:
    try:
        content = base64.b64decode("".join(str(node.value).split()), validate=True)
    except (binascii.Error, ValueError):
        raise UnreadableText(
            _place_of(node, file), f"the key {key} is not base64", "put plain text under data instead of binaryData"
        ) from None
    return decode_text(content, f"{file}:{key}")


def _source_of_block(node: yaml.ScalarNode, manifest: str, file: str, key: str) -> Source:
    """A key's text with its places in the manifest, if it stands there line by line."""
    value = str(node.value)
    if node.style == "|":
        first = node.start_mark.line + 1
        quoted = manifest.splitlines()[first : first + value.count("\n") + 1]
        indent = _find_indent(value.split("\n"), quoted)
        if indent is not None:
            return Source(file, value, first_line=first + 1, indent=indent)
    return Source(f"{file}:{key}", value)


def _find_indent(lines: list[str], quoted: list[str]) -> int | None:
    """By how much the quoted lines are indented; None if they are not the lines, all equally indented."""
    indent: int | None = None
    for line, there in zip(lines, quoted, strict=False):
        if not line:
            continue
        if not there.endswith(line):
            return None
        if indent is None:
            indent = len(there) - len(line)
        if indent != len(there) - len(line):
            return None
    return indent
