"""Which dialect a text is written in, by its first significant line.

Nothing here reads filters; included files are only looked at for a `[SECTION]` line.
"""

from __future__ import annotations

import glob
import os
import re
from typing import Any

import yaml

from flowd.filters.files import UnreadableText, read_text_file

FLUENTD = "fluentd"
FLUENTBIT_YAML = "fluentbit-yaml"
FLUENTBIT_CLASSIC = "fluentbit-classic"
FLUENTBIT_CONFIGMAP = "fluentbit-configmap"
FLOWD = "flowd"
DIALECTS = (FLUENTD, FLUENTBIT_YAML, FLUENTBIT_CLASSIC, FLUENTBIT_CONFIGMAP, FLOWD)

_SIGNIFICANT = re.compile(r"^[ \t]*[^\s#].*", re.MULTILINE)
_CLASSIC_SECTION = re.compile(r"^\[[A-Za-z_]+\]", re.MULTILINE)
_DIRECTIVE = re.compile(r"@(?:include|set)\b", re.IGNORECASE)
_INCLUDE = re.compile(r"^[ \t]*@include[ \t]+(?P<path>\S[^\r\n]*)", re.MULTILINE | re.IGNORECASE)
_BOM = "\ufeff"

# Kubernetes takes at most 1 MiB in a ConfigMap; a manifest may hold other objects too.
LARGEST_YAML_CHARS = 4 * 2**20

# The C parser is an order of magnitude faster; PyYAML may have been built without it.
YAML_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def recognise_dialect(text: str, base_dir: str) -> str | None:
    """The dialect of a text that is no ConfigMap, or None if it cannot be told; comments alone count as fluentd."""
    lines = text.removeprefix(_BOM).replace("\r\n", "\n").replace("\r", "\n")
    first = _SIGNIFICANT.search(lines)
    if first is None or first[0].lstrip().startswith("<"):
        return FLUENTD
    if _DIRECTIVE.match(first[0].lstrip()):
        return FLUENTBIT_CLASSIC if _holds_classic_section(lines, base_dir) else FLUENTD
    if _CLASSIC_SECTION.match(first[0]):
        return FLUENTBIT_CLASSIC
    return FLUENTBIT_YAML if _is_list_or_pipeline(text) else None


def _is_list_or_pipeline(text: str) -> bool:
    """Is the first YAML document a list, or a map with the key `pipeline`?

    Follows the parser's events: composing nodes recurses in C, and deep nesting would end the whole program.
    """
    depth = 0
    nodes_in_root = 0  # keys and values alternate
    try:
        for event in yaml.parse(text[:LARGEST_YAML_CHARS], Loader=YAML_LOADER):
            if isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
            elif isinstance(event, yaml.NodeEvent):
                if depth == 0 and not isinstance(event, yaml.MappingStartEvent):
                    return isinstance(event, yaml.SequenceStartEvent)
                if depth == 1:
                    nodes_in_root += 1
                    if nodes_in_root % 2 and isinstance(event, yaml.ScalarEvent) and event.value == "pipeline":
                        return True
                depth += isinstance(event, yaml.CollectionStartEvent)
            elif isinstance(event, yaml.DocumentEndEvent):
                return False
    except yaml.YAMLError:
        # Where the scanner's own bound on nesting is met, that comes before the first event.
        return nodes_in_root == 0 and text.lstrip(_BOM + " \t\r\n").startswith("[")
    return False


def _holds_classic_section(text: str, base_dir: str) -> bool:
    if _CLASSIC_SECTION.search(text):
        return True
    for include in _INCLUDE.finditer(text):
        path = include["path"].strip().strip("\"'")
        for found in sorted(glob.glob(os.path.join(base_dir, path))):
            try:
                included = read_text_file(found)
            except (OSError, UnreadableText):
                continue
            if _CLASSIC_SECTION.search(included):
                return True
    return False
