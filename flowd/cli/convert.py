"""`flowd convert`: the same filter in another language, or why it cannot be said there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from flowd.archives.lines import Input, read_batches
from flowd.cli.command import Command, compose, filter_options, format_option, option, output_option, stream_option
from flowd.cli.output import write_json, write_text
from flowd.cli.table import show_number
from flowd.cli.talk import say, say_error
from flowd.errors import EXIT_DONE, EXIT_NO

if TYPE_CHECKING:
    from flowd.conversion.converting import Conversion

EXAMPLES = (
    "flowd convert -f filters/ --to flowd > own.conf",
    "flowd convert -f filters/ --to fluentbit-yaml --sample flows.log -O filters.yaml",
)
TARGETS = ("fluentd", "fluentbit-yaml", "fluentbit-classic", "fluentbit-configmap", "flowd")


@click.command(cls=Command, name="convert", examples=EXAMPLES)
@compose(filter_options())
@option("--to", "target", is_shared=False, type=click.Choice(TARGETS), required=True, help="The language to write.")
@option("--sample", metavar="FILE", help="Compare both on the lines of FILE, too.")
@option("--approximate", is_flag=True, help="Write also what means something else there, with a comment.")
@option("-O", "--out", "out", metavar="FILE", help="Where to write; standard output if not given.")
@compose(stream_option(), format_option(), output_option("text", "json"))
def command(
    path: str,
    dialect: str | None,
    skip_unsupported: bool,
    target: str,
    sample: str | None,
    approximate: bool,
    out: str | None,
    stream: str,
    form: str,
    output: str,
) -> int:
    """Write the filters of PATH in another language, where their meaning can be kept.

    Both texts are run on generated lines, and on a sample's, before anything is written: they must drop the same. Where
    the meaning cannot be kept, says exactly why and exits with 1. --stream and --format speak of the sample's
    lines.
    """
    from time import time_ns

    from flowd.conversion.converting import convert_path

    conversion = convert_path(
        path,
        target,
        dialect=dialect,
        skip_unsupported=skip_unsupported,
        approximate=approximate,
        sample=read_lines(sample) if sample else (),
        sample_stream=stream,
        sample_format=form,  # type: ignore[arg-type]
        now_ns=time_ns(),
    )
    if output == "json":
        write_json(describe_conversion(conversion, approximate))
        if out is not None and (conversion.is_exact or approximate):
            write_out(conversion.text, out)
    else:
        say_conversion(conversion)
        if conversion.is_exact or approximate:
            write_out(conversion.text, out)
    return EXIT_DONE if conversion.is_exact else EXIT_NO


def read_lines(file: str) -> Iterator[bytes]:
    """The lines of a file, opened if it is compressed. Raises OSError and BadArchive."""
    with Input(file) as source:
        for batch in read_batches(source):
            yield from bytes(batch.lines).removesuffix(b"\n").split(b"\n")
            batch.release()


def write_out(text: str, out: str | None) -> None:
    """To a file or to standard output."""
    if out is None:
        write_text(text)
        return
    with open(out, "w", encoding="utf-8") as file:
        file.write(text)


def say_conversion(conversion: Conversion) -> None:
    """What is to be known of it, on standard error."""
    for note in conversion.notes:
        say(f"flowd: note: {note}")
    for reason in conversion.reasons:
        say_error(f"{reason.file}:{reason.line}: {reason.rule} cannot be kept: {reason.text}")
    if conversion.counterexample is not None:
        example = conversion.counterexample
        hint = "this is a fault of flowd's: please report it with the filter"
        if example.is_sampled:
            hint = "the line holds another kind of value than such lines are known to hold, or it is a fault of flowd's"
        say_error(
            f"they do not mean the same: one drops this line of {example.stream}, the other keeps it: {example.line}",
            hint,
        )
    if conversion.is_exact:
        say(f"flowd: both drop the same of {show_number(conversion.compared_lines, 'line')}")


def describe_conversion(conversion: Conversion, approximate: bool) -> dict[str, object]:
    """As plain data; without a text that does not mean the same, unless that was asked for."""
    example = conversion.counterexample
    return {
        "to": conversion.target,
        "is_exact": conversion.is_exact,
        "text": conversion.text if conversion.is_exact or approximate else "",
        "notes": conversion.notes,
        "presumed": conversion.presumed,
        "reasons": [reason._asdict() for reason in conversion.reasons],
        "counterexample": None if example is None else example._asdict(),
        "compared_lines": conversion.compared_lines,
    }
