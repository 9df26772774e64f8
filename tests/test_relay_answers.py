"""What fits into one answer of the admin lane: sizes, shares, pages, and what is said where nothing of it helped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgpack
import msgspec
import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st
from relay_bed import DEADLINE_S, Peer

from flowd.client import request
from flowd.client.pages import ATTEMPTS, request_consumers, request_rules
from flowd.errors import FlowdError, Refused
from flowd.relay.admin import AdminLane, Operation
from flowd.relay.answers import (
    ANSWER_BYTES,
    ID_MAX_BYTES,
    PAGE_ITEMS,
    cut_text,
    packed_bytes,
    share_room,
    take_fitting,
    take_page,
)
from flowd.relay.metrics import Counters
from flowd.wire import Request
from flowd.wire.limits import LARGE_HEADER_MAX_BYTES

SIZES = st.one_of(st.integers(0, 2_000), st.integers(0, 900_000))


@given(st.text(), st.integers(4, 40))
def test_a_text_is_cut_to_its_bytes_and_says_so(text: str, most_bytes: int) -> None:
    cut = cut_text(text, most_bytes)
    assert len(cut.encode()) <= max(most_bytes, 3)
    assert cut == text or (cut.endswith("…") and text.startswith(cut[:-1]))
    assert cut == text or len(text.encode()) > most_bytes


@given(st.lists(SIZES, max_size=20), st.integers(-10, 2_000_000))
def test_shares_are_within_the_room_and_nobody_who_wants_little_goes_without(wanted: list[int], room: int) -> None:
    shares = share_room(wanted, room)
    assert sum(shares) <= max(0, room)
    assert all(0 <= share <= want for share, want in zip(shares, wanted, strict=True))
    if sum(wanted) <= room:
        assert shares == wanted
    fair = max(0, room) // max(1, len(wanted))
    assert all(share >= min(want, fair) for share, want in zip(shares, wanted, strict=True))


@given(st.lists(SIZES, max_size=12), st.integers(0, 1_000_000))
def test_what_fits_is_as_much_as_fits(sizes: list[int], room: int) -> None:
    items = ["x" * size for size in sizes]
    taken = take_fitting(items, room)
    assert items[: len(taken)] == taken
    assert sum(map(packed_bytes, taken)) <= room
    assert taken == items or sum(map(packed_bytes, items[: len(taken) + 1])) > room


@given(st.lists(st.one_of(SIZES, st.integers(900_000, 3_000_000)), max_size=12))
def test_pages_have_everything_once_and_each_fits(sizes: list[int]) -> None:
    items = [{"name": f"rule{at}", "pattern": "é" * (size // 2), "line": at} for at, size in enumerate(sizes)]
    found: list[dict[str, Any]] = []
    while True:
        page = take_page(items.__getitem__, len(items), len(found))
        assert packed_bytes(page.items) <= ANSWER_BYTES + 5
        found += page.items
        if page.next is None:
            break
        assert page.items
        assert page.next == len(found)
    assert [(item["name"], item["line"]) for item in found] == [(item["name"], item["line"]) for item in items]
    for told, item in zip(found, items, strict=True):
        assert told == item or (told["pattern"][-1] == "…" and packed_bytes(item) > ANSWER_BYTES // 2)


def test_a_page_is_bounded_in_items_too() -> None:
    page = take_page(lambda at: {"at": at}, PAGE_ITEMS + 1, 0)
    assert (len(page.items), page.next) == (PAGE_ITEMS, PAGE_ITEMS)
    assert take_page(lambda at: {"at": at}, PAGE_ITEMS + 1, PAGE_ITEMS) == ([{"at": PAGE_ITEMS}], None)
    assert take_page(lambda at: {"at": at}, 3, 7) == ([], None)


@contextmanager
def answering(directory: Path, **operations: Operation) -> Iterator[tuple[str, Counters]]:
    """An admin lane with these operations."""
    endpoint = f"ipc://{directory}/admin.sock"
    counters = Counters()
    with zmq.Context() as context:
        socket = context.socket(zmq.ROUTER)
        socket.bind(endpoint)
        lane = AdminLane(socket, operations, counters)
        lane.start()
        try:
            yield endpoint, counters
        finally:
            lane.end({})


def test_an_answer_that_is_too_large_is_refused_with_its_size_counted_and_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    body = {"text": "x" * LARGE_HEADER_MAX_BYTES}
    with answering(tmp_path, status=lambda _: body, health=lambda _: {"state": "ok"}) as (endpoint, counters):
        with pytest.raises(Refused, match=r"status: the answer to status has \d+ bytes; .* at most 1048576") as refused:
            request(endpoint, "status", DEADLINE_S)
        assert (refused.value.code, "first" in refused.value.hint) == ("too_big", True)
        assert request(endpoint, "health", DEADLINE_S)["state"] == "ok"
    assert counters.get("flowd_oversized_answers_total", op="status") == 1
    assert "the answer to status has" in caplog.text


@pytest.mark.parametrize("size", [10, LARGE_HEADER_MAX_BYTES - 200, LARGE_HEADER_MAX_BYTES - 20])
def test_a_refusal_is_bounded_whatever_it_quotes(tmp_path: Path, size: int) -> None:
    def refuse(arguments: Mapping[str, Any]) -> dict[str, Any]:
        raise FlowdError(f"no {arguments}", hint="x" * size)

    with answering(tmp_path, ask=refuse) as (endpoint, _):
        with pytest.raises(Refused, match="ask: no "):
            request(endpoint, "ask", DEADLINE_S, quoted="é" * ((size - 100) // 2))
        with pytest.raises(Refused, match="no operation"):
            request(endpoint, "x" * (size - 20), DEADLINE_S)


@pytest.mark.parametrize("size", [ID_MAX_BYTES, LARGE_HEADER_MAX_BYTES - 30])
def test_an_id_that_leaves_no_room_for_an_answer_is_no_message_and_the_lane_goes_on(tmp_path: Path, size: int) -> None:
    with answering(tmp_path, health=lambda _: {"state": "ok"}) as (endpoint, counters), Peer(endpoint) as peer:
        peer.say(Request(b"x" * size, "health", {}))
        peer.say(Request(b"x" * (ID_MAX_BYTES - 3), "health", {}))
        assert peer.hear().body["state"] == "ok"
    assert counters.get("flowd_malformed_messages_total", lane="admin", reason="id") == 1


def test_pages_are_begun_again_when_other_filters_take_over_between_two_of_them(tmp_path: Path) -> None:
    generations = iter([1, 1, 2, 2, 2, 2])

    def tell(arguments: Mapping[str, Any]) -> dict[str, Any]:
        first, generation = arguments["first"], next(generations)
        page = {
            "generation": generation,
            "rules": [{"name": f"{generation}.{first}"}],
            "next": first + 1 if first < 2 else None,
        }
        return {"streams": {"flows": page}}

    with answering(tmp_path, decided=tell) as (endpoint, _):
        generation, rules = request_rules(endpoint, "decided", "flows", DEADLINE_S)
    assert (generation, [rule["name"] for rule in rules]) == (2, ["2.0", "2.1", "2.2"])


def test_filters_that_change_all_the_time_are_given_up(tmp_path: Path) -> None:
    asked: list[int] = []

    def tell(arguments: Mapping[str, Any]) -> dict[str, Any]:
        asked.append(arguments["first"])
        page = {"generation": len(asked), "rules": [{"name": "x"}], "next": arguments["first"] + 1}
        return {"streams": {}, "views": {"calm": page}}

    with (
        answering(tmp_path, filters=tell) as (endpoint, _),
        pytest.raises(FlowdError, match="filters: the filters of calm change while they are read"),
    ):
        request_rules(endpoint, "filters", "calm", DEADLINE_S)
    assert asked == [0, 1] * ATTEMPTS


def test_consumers_are_fetched_to_the_last_page(tmp_path: Path) -> None:
    names = [["agent", "dns"], ["agent", "flows"], ["siem", "flows"]]

    def tell(arguments: Mapping[str, Any]) -> dict[str, Any]:
        at = 0 if arguments["after"] is None else names.index(arguments["after"]) + 1
        return {"consumers": [{"name": names[at]}], "next": names[at] if at < 2 else None}

    with answering(tmp_path, consumers=tell) as (endpoint, _):
        assert request_consumers(endpoint, DEADLINE_S) == [{"name": name} for name in names]


def test_sizes_are_those_on_the_wire() -> None:
    value = {"a": [1, 2.5, None, True, "é", b"\0"], "b": {"c": "x" * 300}}
    assert packed_bytes(value) == len(msgpack.packb(value)) == len(msgspec.msgpack.encode(value))
