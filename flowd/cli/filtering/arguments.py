"""The arguments of `flowd filter`, read without click where they are as most are.

Loading click takes longer than filtering a small file. What is read here means what click would make of it, which a
test compares; whatever is unusual, wrong or set by the environment is left to click, and so is every word about it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

FLAGS = {
    "--skip-unsupported": "skip_unsupported",
    "--invert": "invert",
    "--count": "count",
    "--stats": "stats",
    "--exit-status": "exit_status",
    "-e": "exit_status",
    "--quiet": "quiet",
    "-q": "quiet",
}
OPTIONS = {
    "--filters-path": "path",
    "-f": "path",
    "--dialect": "dialect",
    "--stream": "stream",
    "--format": "form",
    "--threads": "threads",
    "--malformed": "malformed",
    "--to": "to",
    "--line-column": "line_column",
    "--output": "output",
    "-o": "output",
}
CHOICES = {
    "dialect": ("fluentd", "fluentbit-yaml", "fluentbit-classic", "fluentbit-configmap", "flowd"),
    "form": ("auto", "json", "text24", "text27"),
    "malformed": ("keep", "drop", "fail"),
    "output": ("text", "json"),
}
DEFAULTS: dict[str, object] = {
    **dict.fromkeys(FLAGS.values(), False),
    "dialect": None,
    "stream": "flows",
    "form": "auto",
    "threads": 0,
    "malformed": "keep",
    "to": None,
    "line_column": None,
    "output": "text",
}
THREADS_MOST = 256
_VARIABLES = frozenset(
    prefix + name[2:].replace("-", "_").upper()
    for name in (*FLAGS, *OPTIONS)
    if name.startswith("--")
    for prefix in ("FLOWD_", "FLOWD_FILTER_")
)


def read_arguments(arguments: Sequence[str], environment: Mapping[str, str]) -> dict[str, object] | None:
    """What click would call the command with; None where click is to be asked."""
    if not _VARIABLES.isdisjoint(environment) or "_FLOWD_COMPLETE" in environment:
        return None
    read = dict(DEFAULTS)
    files: list[str] = []
    left = iter(arguments)
    for argument in left:
        if argument == "--":
            files += left
        elif argument == "-" or not argument.startswith("-"):
            files.append(argument)
        elif argument in FLAGS:
            read[FLAGS[argument]] = True
        else:
            name, equals, value = argument.partition("=")
            if name not in OPTIONS or (equals and not name.startswith("--")):
                return None
            if not _take(read, OPTIONS[name], value if equals else next(left, "")):
                return None
    return {**read, "files": tuple(files)} if "path" in read else None


def _take(read: dict[str, object], name: str, value: str) -> bool:
    """Notes an option's value; whether it is a plain one. Writing Parquet takes longer than loading click."""
    if name == "to" or not value or value.startswith("-") or value not in CHOICES.get(name, (value,)):
        return False
    if name == "threads":
        if not (value.isascii() and value.isdigit() and len(value) <= len(str(THREADS_MOST))):
            return False
        read[name] = int(value)
        return int(value) <= THREADS_MOST
    read[name] = value
    return True
