"""The report's pictures: well-formed whatever they say, a bar for each ratio, a line for each series."""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree

BENCH = Path(__file__).parents[1] / "bench"
sys.path.insert(0, str(BENCH))

from measure import Row, Spread, Target, spread  # noqa: E402
from plots import draw_lines, draw_plots, draw_ratios  # noqa: E402
from report import paste_report  # noqa: E402
from svg import Picture  # noqa: E402

SVG = "{http://www.w3.org/2000/svg}"


def parts(picture: str, name: str) -> list[ElementTree.Element]:
    return list(ElementTree.fromstring(picture).iter(SVG + name))


def texts(picture: str) -> list[str]:
    return [element.text or "" for element in parts(picture, "text")]


def ratio_row(what: str, *values: float, target: float | None = None, is_own: bool = False) -> Row:
    ratio = spread(values)
    wanted = Target(ratio=target) if target else None
    return Row("p", what, "GB/s", ratio, "rg -v '<dev>' & more", ratio, ratio, wanted, is_own_peer=is_own)


def test_words_are_escaped() -> None:
    picture = Picture(100, 50, 'a "title" & <more>')
    picture.text(1, 2, "$4!~/dev/&&$8 <b>")
    assert texts(picture.render()) == ["$4!~/dev/&&$8 <b>"]
    assert [title.text for title in parts(picture.render(), "title")] == ['a "title" & <more>']


def test_a_bar_goes_from_one_to_its_ratio() -> None:
    picture = draw_ratios("ratios", [ratio_row("faster", 8.0, 10.0, 12.0, target=8.0), ratio_row("slower", 0.1)])
    _, faster, slower = parts(picture, "rect")  # the first one is the paper
    starts, widths = ([float(bar.get(name, "")) for bar in (faster, slower)] for name in ("x", "width"))
    assert starts[0] > starts[1]
    assert abs(widths[0] - widths[1]) < 0.2  # ten times as fast, and a tenth
    assert abs(starts[1] + widths[1] - starts[0]) < 0.2
    assert {"faster", "slower", "beside rg -v '<dev>' & more", "10 ×", "0.1 ×"} <= set(texts(picture))
    assert len([line for line in parts(picture, "line") if line.get("stroke-dasharray")]) == 1


def test_a_line_goes_through_its_medians() -> None:
    series = {"few": [(1.0, spread([4.0, 5.0, 6.0])), (1_000.0, spread([2.0]))], "many": [(1.0, spread([3.0]))]}
    picture = draw_lines("speed", "GB/s", series)
    few, many = parts(picture, "polyline")
    assert (len(few.get("points", "").split()), len(many.get("points", "").split())) == (2, 1)
    assert len(parts(picture, "circle")) == 3
    assert {"1", "10", "100", "1,000", "few", "many", "GB/s"} <= set(texts(picture))


def test_there_is_a_picture_of_what_there_are_rows_of() -> None:
    plain = Row("memory", "peak", "MiB", spread([5.0]))
    own = ratio_row("threads", 1.8, is_own=True)
    placed = [
        Row("rules", f"{count} rules", "GB/s", Spread(2.0, 1.0, 3.0, (1.0, 2.0, 3.0)), point=("low", count))
        for count in (1, 10)
    ]
    assert draw_plots([plain, own]).keys() == set()
    assert draw_plots([plain, own, ratio_row("peer", 2.0), *placed]).keys() == {"ratios.svg", "rules.svg"}


def test_what_the_daemon_carries_is_drawn_in_one_unit_with_its_peers() -> None:
    rows = [
        Row("relay", "in and out", "GB/s", spread([1.0]), "a bare forwarder", spread([2.0])),
        Row("jetstream", "to a server", "MB/s", spread([500.0]), target=Target(figure=250.0)),
        Row("durable", "how long", "ms", spread([5.0])),
    ]
    picture = draw_plots(rows)["carried.svg"]
    _, ours, its_peer, sink = parts(picture, "rect")
    widths = [float(bar.get("width", "")) for bar in (ours, its_peer, sink)]
    assert abs(widths[1] - 2 * widths[0]) < 0.2
    assert abs(widths[0] - 2 * widths[2]) < 0.2
    assert {"relay", "1,000", "beside a bare forwarder", "jetstream", "500"} <= set(texts(picture))
    assert "how long" not in texts(picture)


def test_a_line_is_drawn_against_what_its_rows_count() -> None:
    rows = [Row("views", "v", "GB/s", spread([1.0]), point=("all", count), axis="views") for count in (1, 10)]
    assert "views" in texts(draw_plots(rows)["views.svg"])


def test_a_report_is_pasted_with_its_pictures(tmp_path: Path) -> None:
    page, report = tmp_path / "page" / "README.md", tmp_path / "results" / "report.md"
    for folder in (page.parent / "plots", report.parent / "plots"):
        folder.mkdir(parents=True)
    (page.parent / "plots" / "old.svg").write_text("old")
    (report.parent / "plots" / "new.svg").write_text("new")
    page.write_text("before\n<!-- report -->\nold\n<!-- /report -->\nafter\n")
    report.write_text("![new](plots/new.svg)\n")
    paste_report(page, report)
    assert page.read_text() == "before\n<!-- report -->\n\n![new](plots/new.svg)\n\n<!-- /report -->\nafter\n"
    assert {path.name: path.read_text() for path in (page.parent / "plots").iterdir()} == {"new.svg": "new"}
