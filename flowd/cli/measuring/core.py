"""The core's figures: batches of each form through a filter, beside the same batches where there is no rule."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

from flowd.cli.measuring.figures import Figure, run_rounds
from flowd.corpus import generate
from flowd.filterset import FilterSet, compile

BATCH_BYTES = 1 << 20
CORPUS_BYTES = 24 << 20
"""More than most caches hold, and little to generate: some tenths of a second."""
FORMS = {"text24": 141, "text27": 324, "json": 1640, "dns": 810}
"""The forms that are measured, with the mean bytes of a line."""
STREAM_OF = {"dns": "dns"}

DOCUMENTED_FILTERS = """
<filter flows>
  @type grep
  <exclude>
    key source_namespace
    pattern dev
  </exclude>
  <exclude>
    key dest_namespace
    pattern dev
  </exclude>
</filter>
<filter dns>
  @type grep
  <exclude>
    key qname
    pattern /\\.cluster\\.local$/
  </exclude>
</filter>
"""
"""The filters of Calico's documentation: by namespace, and names inside the cluster."""


def make_batches(form: str, seed: int, total_bytes: int, batch_bytes: int) -> list[bytes]:
    """About so many bytes of lines, in batches of whole lines of at most `batch_bytes`."""
    lines = b"".join(generate(form, total_bytes // FORMS[form], seed))
    batches = []
    start = 0
    while start < len(lines):
        end = len(lines) if len(lines) - start <= batch_bytes else lines.rfind(b"\n", start, start + batch_bytes) + 1
        batches.append(lines[start:end])
        start = end
    return batches


def measure_core(seconds: float, seed: int) -> list[Figure]:
    """Measures each form on one thread."""
    figures: list[Figure] = []
    for form in FORMS:
        batches = make_batches(form, seed, CORPUS_BYTES, BATCH_BYTES)
        size = sum(map(len, batches))
        lines = sum(batch.count(b"\n") for batch in batches)
        stream = STREAM_OF.get(form, "flows")
        walked = Figure(f"{form} no rules", lines, size)
        filtered = Figure(f"{form} filter", lines, size, base=walked.name)
        no_rules, documented = compile("", stream=stream), compile(DOCUMENTED_FILTERS, stream=stream)
        run_rounds([(walked, _filter(no_rules, batches)), (filtered, _filter(documented, batches))], seconds / 2)
        figures += [walked, filtered]
    return figures


def _filter(filters: FilterSet, batches: list[bytes]) -> Callable[[], float]:
    def measure() -> float:
        began_s = perf_counter()
        for batch in batches:
            filters.apply(batch)
        return perf_counter() - began_s

    return measure
