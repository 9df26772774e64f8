"""Loads a command's filters and says their warnings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowd.cli.talk import say_warnings

if TYPE_CHECKING:
    from flowd.filterset import FilterSet, Format


def load_filters(
    path: str, stream: str, dialect: str | None, skip_unsupported: bool, form: Format = "auto", *, quiet: bool = False
) -> FilterSet:
    """The compiled filters; raises FilterError and OSError as `flowd.load` does."""
    from flowd.filterset import load

    filters = load(path, stream, dialect, skip_unsupported, format=form)
    if not quiet:
        say_warnings(filters.warnings)
    return filters
