"""flowd.relay.consume over real sockets: what consumers say, what they are sent, and that no word disturbs others."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from relay_bed import DEADLINE_S, DROPPED, KEPT, DaemonProcess, Peer, batch, counters, running, wait_until

from flowd.client import request
from flowd.relay.config import Config
from flowd.relay.consume import consumers, dispatch
from flowd.wire import (
    Attach,
    Attached,
    Batch,
    Bye,
    CaughtUp,
    Commit,
    Committed,
    Credit,
    Data,
    Err,
    Fenced,
    Gone,
    GoneOk,
    Message,
    View,
    ViewOk,
    checksum,
    parse,
)
from flowd.wire.limits import SEQUENCE_MAX

PLENTY = {"cb": 1 << 30, "cm": 1 << 20}
KEEP_N1 = "<filter flows>\n  @type grep\n  <regexp>\n    key n\n    pattern /^1$/\n  </regexp>\n</filter>\n"


@pytest.fixture
def config(tmp_path: Path) -> Iterator[Config]:
    with running(tmp_path) as (_, config):
        yield config


def feed(config: Config, *batches: bytes, stream: str = "flows") -> bytes:
    """Has these batches stored; returns the epoch."""
    with Peer(config.endpoint("ingest")) as peer:
        epoch: bytes = peer.hello().epoch
        for sequence, lines in enumerate(batches, start=1):
            peer.say(batch(sequence, lines, stream), lines)
        peer.hear_ack(len(batches))
        return epoch


def numbered(n: int) -> bytes:
    return b'{"n":%d}\n' % n


class Reader(Peer):
    """A bare DEALER at the consume lane."""

    def __init__(self, config: Config) -> None:
        super().__init__(config.endpoint("consume"))

    def attach(self, stream: str = "flows", **wanted: Any) -> Any:
        self.say(Attach(stream, **{**PLENTY, **wanted}))
        return self.hear()

    def hear_batch(self) -> Message[Any]:
        """The next batch or loss; what else is said before is passed over."""
        while True:
            message = self.hear_message()
            if isinstance(message.header, Batch | Gone):
                return message

    def hear_message(self) -> Message[Any]:
        assert self.socket.poll(DEADLINE_S * 1000), "nothing was heard"
        return parse(self.socket.recv_multipart())

    def is_silent(self) -> bool:
        """Whether nothing more comes, as far as a question and its answer can tell."""
        self.say(View("flows", "<filter"))
        heard = self.hear()
        return isinstance(heard, Err) and heard.code == "filter"


def test_stream_that_does_not_exist_is_waited_for(config: Config) -> None:
    with Reader(config) as reader:
        attached = reader.attach("audit", c="siem")
        assert attached == Attached(attached.e, 1, 1, 0, 1)
        assert reader.hear() == CaughtUp(1)
        epoch = feed(config, numbered(1), stream="audit")
        got = reader.hear_message()
        assert bytes(got.payload) == numbered(1)
        assert got.header == Batch(epoch, 1, 1, got.header.t, checksum(numbered(1)), 1, 1)
        assert reader.hear() == CaughtUp(2)


def test_batches_come_in_order_with_those_that_are_empty(config: Config) -> None:
    feed(config, numbered(1), DROPPED, KEPT * 3)
    with Reader(config) as reader:
        attached = reader.attach(start="oldest")
        assert (attached.next, attached.oldest, attached.newest, attached.gen) == (1, 1, 3, 0)
        heard = [reader.hear_message() for _ in range(3)]
        assert [(m.header.q, m.header.n, m.header.k, bytes(m.payload)) for m in heard] == [
            (1, 1, 0, numbered(1)),
            (2, 0, 1, b""),
            (3, 3, 1, KEPT * 3),
        ]
        assert reader.hear() == CaughtUp(4)


def test_nothing_is_sent_beyond_the_credit(config: Config) -> None:
    feed(config, *(numbered(n) for n in range(6)))
    with Reader(config) as reader:
        reader.attach(start="oldest", cm=2, cb=1000)
        assert [reader.hear().q for _ in range(2)] == [1, 2]
        assert reader.is_silent()
        reader.say(Credit(0, 1))
        assert reader.hear().q == 3
        assert reader.is_silent()
        reader.say(Credit(0, 10))
        assert [reader.hear().q for _ in range(3)] == [4, 5, 6]


def test_credit_counts_bytes_and_a_larger_batch_goes_alone(config: Config) -> None:
    large = b"x" * 9_999 + b"\n"
    feed(config, large, large, large)
    with Reader(config) as reader:
        reader.attach(start="oldest", cm=10, cb=15_000)
        assert reader.hear().q == 1
        assert reader.is_silent()
        reader.say(Credit(5_000, 0))
        assert reader.hear().q == 2
    with Reader(config) as reader:
        reader.attach(start="oldest", cm=10, cb=100)
        assert reader.hear().q == 1
        assert reader.is_silent()
        reader.say(Credit(99, 0))
        assert reader.is_silent()
        reader.say(Credit(1, 0))
        assert reader.hear().q == 2


def test_no_credit_at_first_is_no_credit(config: Config) -> None:
    feed(config, KEPT)
    with Reader(config) as reader:
        reader.attach(start="oldest", cm=0, cb=0)
        assert reader.is_silent()
        reader.say(Credit(1000, 1))
        assert reader.hear().q == 1


def test_cursor_is_kept_over_a_kill(tmp_path: Path) -> None:
    with DaemonProcess(tmp_path) as daemon:
        lines = [numbered(n) for n in range(5)]
        with Peer(daemon.endpoint("ingest")) as peer:
            peer.hello()
            for sequence, one in enumerate(lines, start=1):
                peer.say(batch(sequence, one), one)
            peer.hear_ack(5)
        with Peer(daemon.endpoint("consume")) as reader:
            reader.say(Attach("flows", **PLENTY, c="siem"))
            first = reader.hear()
            assert [reader.hear().q for _ in range(5)] == [1, 2, 3, 4, 5]
            reader.hear()
            reader.say(Commit(3, first.gen))
            assert reader.hear() == Committed(3)
        daemon.kill()
        daemon.start()
        with Peer(daemon.endpoint("consume")) as reader:
            reader.say(Attach("flows", **PLENTY, c="siem"))
            assert reader.hear() == Attached(first.e, 4, 1, 5, first.gen + 1)
            assert [reader.hear().q for _ in range(2)] == [4, 5]
        with Peer(daemon.endpoint("consume")) as other:
            other.say(Attach("flows", **PLENTY, c="other"))
            assert other.hear() == Attached(first.e, 1, 1, 5, 1)


def test_newer_consumer_of_a_name_fences_the_older(config: Config) -> None:
    feed(config, numbered(1), numbered(2))
    with Reader(config) as old, Reader(config) as new:
        gen = old.attach(c="siem", cm=1).gen
        assert old.hear().q == 1
        assert new.attach(c="siem", cm=2).gen == gen + 1
        assert old.hear() == Fenced()
        old.say(Commit(1, gen))
        assert old.hear() == Err("attach", "say ATTACH first")
        assert [new.hear().q, new.hear().q] == [1, 2]
        new.hear()
        new.say(Commit(2, gen + 1))
        assert new.hear() == Committed(2)
        assert counters(config)["flowd_fenced_attachments_total"] == 1


def test_names_are_apart_by_stream(config: Config) -> None:
    feed(config, KEPT, stream="dns")
    with Reader(config) as one, Reader(config) as other:
        assert one.attach(c="siem").gen == 1
        assert other.attach("dns", c="siem").gen == 1
        assert other.hear().q == 1
        assert one.hear() == CaughtUp(1)


def test_attaching_again_is_refused_where_another_has_attached_since(config: Config) -> None:
    with Reader(config) as one, Reader(config) as same, Reader(config) as other, Reader(config) as again:
        one.attach(c="siem", inc=7)
        assert isinstance(same.attach(c="siem", inc=7, again=True), Attached)
        assert isinstance(other.attach(c="siem", inc=8), Attached)
        assert again.attach(c="siem", inc=7, again=True) == Fenced()
        assert isinstance(again.attach(c="siem", inc=7), Attached), "as a new one it takes over"


def test_commit_of_an_older_attachment_is_fenced(config: Config) -> None:
    feed(config, numbered(1))
    with Reader(config) as reader:
        gen = reader.attach(c="siem").gen
        reader.hear()
        reader.hear()
        request(config.endpoint("admin"), "consumers", do="delete", consumer="siem", stream="flows")
        assert reader.hear() == Fenced()
        reader.say(Commit(1, gen))
        assert reader.hear().code == "attach"


def test_starts_are_found(config: Config) -> None:
    epoch = feed(config, numbered(1) * 10, numbered(2) * 10, DROPPED, numbered(3) * 10)
    between_ns = time.time_ns()
    with Peer(config.endpoint("ingest")) as peer:
        peer.hello()
        peer.send(1, numbered(4))

    def begin(**wanted: Any) -> int:
        with Reader(config) as reader:
            found: int = reader.attach(**wanted).next
            return found

    assert begin(start="oldest") == 1
    assert begin(start="newest") == 6
    assert begin(start=(epoch, 3)) == 3
    assert begin(start=(epoch, 0)) == 1
    assert begin(last=1) == 5
    assert begin(last=2) == 4
    assert begin(last=11) == 4
    assert begin(last=12) == 2
    assert begin(last=1000) == 1
    assert begin(since=between_ns) == 5
    assert begin(since=0) == 1
    assert begin(since=time.time_ns() + 10**12) == 6
    assert begin(c="new", since=between_ns) == 5, "a new consumer begins there"


def test_who_begins_behind_the_newest_batch_lags_by_none_and_breaks_no_answer(config: Config) -> None:
    epoch = feed(config, numbered(1))
    admin = config.endpoint("admin")
    with Reader(config) as reader:
        assert reader.attach(c="far", start=(epoch, SEQUENCE_MAX)).next == SEQUENCE_MAX
        (attached,) = request(admin, "status")["consumers"]
        assert (attached["next"], attached["lag_batches"]) == (SEQUENCE_MAX, 0)
        (found,) = request(admin, "consumers")["consumers"]
        assert found["attached"]["lag_batches"] == 0


def test_cursor_goes_before_since(config: Config) -> None:
    feed(config, numbered(1), numbered(2))
    with Reader(config) as reader:
        gen = reader.attach(c="siem", cm=1).gen
        reader.hear()
        reader.say(Commit(1, gen))
        assert reader.hear() == Committed(1)
    with Reader(config) as reader:
        assert reader.attach(c="siem", since=time.time_ns()).next == 2
        assert Reader(config).attach(c="siem", start="oldest").next == 1


def test_replay_ends_at_its_end(config: Config) -> None:
    epoch = feed(config, *(numbered(n) for n in range(5)))
    with Reader(config) as reader:
        reader.attach(start=(epoch, 2), until=(epoch, 3))
        assert [reader.hear().q, reader.hear().q, reader.hear()] == [2, 3, CaughtUp(4)]
        feed(config, KEPT)
        assert reader.is_silent()
    with Reader(config) as reader:
        reader.attach(until="newest")
        assert [reader.hear() for _ in range(7)][-1] == CaughtUp(7)
        feed(config, KEPT)
        assert reader.is_silent()


def test_what_retention_took_is_told_with_its_count(tmp_path: Path) -> None:
    with running(tmp_path, journal__max_bytes=1 << 20) as (_, config):
        with Reader(config) as stalled:
            stalled.attach(c="siem", cm=1)
            stalled.hear()
            batches = [b'{"n":%d,"x":"%s"}\n' % (n, b"y" * 200) * (500 + n) for n in range(40)]
            epoch = feed(config, *batches)
            assert stalled.hear_batch().header.q == 1
            stalled.say(Credit(0, 1))
            gone = stalled.hear_batch().header
            oldest = gone.oldest
            assert 20 < oldest <= 40
            lost = sum(one.count(b"\n") for one in batches[1 : oldest - 1])
            assert gone == Gone(2, oldest, (oldest - 2, lost), "retention")
            assert stalled.is_silent(), "first it has to take note"
            stalled.say(GoneOk())
            got = stalled.hear_batch()
            assert (got.header.q, bytes(got.payload)) == (oldest, batches[oldest - 1])
            found = counters(config)
            assert found['flowd_gone_batches_total{reason="retention"}'] == oldest - 2
            assert found['flowd_gone_lines_total{reason="retention"}'] == lost
            assert found["flowd_retired_batches_total"] >= oldest - 1
        with Reader(config) as late:
            late.attach(start=(epoch, 5), cm=1)
            gone = late.hear()
            lost = sum(one.count(b"\n") for one in batches[4 : oldest - 1])
            assert gone == Gone(5, oldest, (oldest - 5, lost), "retention")
            late.say(GoneOk())
            assert late.hear().q == oldest


def test_what_was_retired_before_a_consumers_first_commit_is_told(tmp_path: Path) -> None:
    with running(tmp_path, journal__max_bytes=1 << 20) as (_, config):
        feed(config, numbered(1), numbered(2))
        with Reader(config) as killed:
            killed.attach(c="siem", cm=1)
            assert killed.hear().q == 1
        batches = [b'{"n":%d,"x":"%s"}\n' % (n, b"y" * 200) * (500 + n) for n in range(40)]
        feed(config, *batches)
        with Reader(config) as again:
            attached = again.attach(c="siem")
            assert (attached.next, attached.newest) == (1, 42)
            gone = again.hear_batch().header
            lost = 2 + sum(one.count(b"\n") for one in batches[: gone.oldest - 3])
            assert gone == Gone(1, attached.oldest, (attached.oldest - 1, lost), "retention")
        found = counters(config)
        assert found['flowd_gone_batches_total{reason="retention"}'] == attached.oldest - 1


def test_uncommitted_batches_come_again_from_where_the_consumer_began(config: Config) -> None:
    epoch = feed(config, numbered(1), numbered(2))
    wanted: list[tuple[str, dict[str, Any], int, int]] = [
        ("all", {}, 1, 1),
        ("last", {"last": 1}, 2, 2),
        ("newest", {"start": "newest"}, 3, 1),  # what ignores the cursor does not place it
        ("named", {"start": (epoch, 2)}, 2, 1),
    ]
    for name, start, first, _ in wanted:
        with Reader(config) as reader:
            assert reader.attach(c=name, **start).next == first
    feed(config, numbered(3), numbered(4))
    for name, _, _, again in wanted:
        with Reader(config) as reader:
            assert reader.attach(c=name).next == again
            assert reader.hear().q == again
    wanted_cursors = {"all": (1, 4, 0), "last": (2, 3, 0), "newest": (1, 4, 0), "named": (1, 4, 0)}

    def cursors() -> dict[str, tuple[int, int, int]]:
        found = request(config.endpoint("admin"), "consumers")["consumers"]
        return {one["consumer"]: (one["next"], one["lag_lines"], one["committed_ns"]) for one in found}

    # The last consumer's cursor is placed while its batches are already under way.
    wait_until(lambda: cursors() == wanted_cursors, f"the cursors {wanted_cursors}")


def test_other_epoch_is_gone(config: Config) -> None:
    feed(config, numbered(1), numbered(2))
    with Reader(config) as reader:
        assert reader.attach(start=(bytes(16), 77)).next == 1
        assert reader.hear() == Gone(77, 1, (0, 0), "epoch", True)
        reader.say(GoneOk())
        assert [reader.hear().q, reader.hear().q] == [1, 2]


def test_view_of_ones_own_is_filtered_and_shared(config: Config) -> None:
    feed(config, numbered(1) + numbered(2), numbered(2), numbered(1) * 3)
    with Reader(config) as one, Reader(config) as other:
        for reader in (one, other):
            assert isinstance(reader.attach(flt=KEEP_N1, dl="fluentd"), Attached)
            heard = [reader.hear_message() for _ in range(3)]
            assert [(m.header.q, m.header.n, m.header.k, m.header.m, bytes(m.payload)) for m in heard] == [
                (1, 1, 0, 2, numbered(1)),
                (2, 0, 2, 1, b""),
                (3, 3, 3, 3, numbered(1) * 3),
            ]
            assert all(not m.payload or checksum(m.payload) == m.header.crc for m in heard)
        views = request(config.endpoint("admin"), "status")["views"]
        assert [(view["stream"], view["rules"]) for view in views.values()] == [("flows", 1)]


def test_configured_view_has_a_name(tmp_path: Path) -> None:
    (tmp_path / "view").write_text(KEEP_N1)
    views = {"ones": {"stream": "flows", "path": str(tmp_path / "view")}}
    with running(tmp_path, views=views) as (_, config):
        feed(config, numbered(1) + numbered(2))
        for wanted in ({"vw": "ones"}, {"stream": "ones"}):
            with Reader(config) as reader:
                assert isinstance(reader.attach(**wanted), Attached)
                assert bytes(reader.hear_message().payload) == numbered(1)
        with Reader(config) as reader:
            assert reader.attach(vw="twos").code == "view"
            assert reader.attach("dns", vw="ones").code == "view"
            assert reader.attach(vw="ones", flt=KEEP_N1).code == "view"
        with Peer(config.endpoint("ingest")) as peer:
            peer.hello()
            assert peer.send(1, KEPT, stream="ones").code == "stream", "a view's name is taken"


def test_view_for_the_live_lane_is_registered_under_one_name(config: Config) -> None:
    with Reader(config) as one, Reader(config) as other:
        one.say(View("flows", KEEP_N1))
        other.say(View("flows", KEEP_N1))
        found, same = one.hear(), other.hear()
        assert isinstance(found, ViewOk)
        assert found == same
        one.say(View("dns", KEEP_N1))
        assert one.hear().vw != found.vw


def test_bad_filter_is_refused_with_its_problems(config: Config) -> None:
    broken = KEEP_N1.replace("/^1$/", "/(/")
    with Reader(config) as reader:
        refused = reader.attach(flt=broken)
        assert refused.code == "filter"
        assert refused.text.startswith("<filter>:5:13: end pattern with unmatched parenthesis")
        reader.say(View("flows", "<filter x>\n" * 2000))
        refused = reader.hear()
        assert refused.code == "filter"
        assert len(refused.text) < 4000


@pytest.mark.parametrize(
    "text",
    ["@include /etc/passwd\n", "<filter flows>\n  @include x\n</filter>\n", "include x\n", KEEP_N1 + '#{ENV["HOME"]}'],
)
def test_filter_that_is_sent_reads_nothing_of_the_machine(config: Config, text: str) -> None:
    with Reader(config) as reader:
        refused = reader.attach(flt=text)
        assert refused.code == "filter"
        assert "cannot read files or variables" in refused.text


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        ({"stream": "a b"}, "stream"),
        ({"stream": ""}, "stream"),
        ({"c": "a/b"}, "name"),
        ({"c": "x" * 129}, "name"),
        ({"start": "now"}, "from"),
        ({"until": "later"}, "until"),
        ({"vw": "nobody's"}, "view"),
    ],
)
def test_attach_that_makes_no_sense_is_refused(config: Config, wanted: dict[str, Any], code: str) -> None:
    with Reader(config) as reader:
        assert reader.attach(**wanted).code == code
        assert counters(config)[f'flowd_refused_attachments_total{{reason="{code}"}}'] == 1


def test_words_out_of_place_are_counted_and_change_nothing(config: Config) -> None:
    feed(config, numbered(1), numbered(2))
    name = 'flowd_malformed_messages_total{{lane="consume",reason="{}"}}'
    with Reader(config) as reader:
        for word in (Credit(1, 1), Commit(1, 1), GoneOk()):
            reader.say(word)
            assert reader.hear() == Err("attach", "say ATTACH first")
        gen = reader.attach(c="siem", cm=1).gen
        assert reader.hear().q == 1
        reader.say(Commit(2, gen))
        reader.say(Commit(SEQUENCE_MAX, gen))
        reader.say(GoneOk())
        reader.say(Credit(SEQUENCE_MAX, 0))
        reader.say(Data(1, "flows", 1, checksum(KEPT)), KEPT)
        reader.say(CaughtUp(1))
        reader.socket.send_multipart([b"x"])
        reader.say(Credit(0, 1))
        assert reader.hear().q == 2
        found = counters(config)
        assert {
            reason: found.get(name.format(reason)) for reason in ("commit", "gone_ok", "credit", "type", "frames")
        } == {
            "commit": 2,
            "gone_ok": 1,
            "credit": 1,
            "type": 2,
            "frames": 1,
        }
        reader.say(Commit(2, gen))
        assert [reader.hear(), reader.hear()] == [CaughtUp(3), Committed(2)]


def test_nameless_consumer_has_nothing_to_commit(config: Config) -> None:
    feed(config, numbered(1))
    with Reader(config) as reader:
        reader.attach(start="oldest")
        reader.hear()
        reader.hear()
        reader.say(Commit(1, 0))
        assert reader.is_silent()
    assert request(config.endpoint("admin"), "consumers")["consumers"] == []


def test_who_sends_nonsense_is_ignored_and_others_are_served(config: Config) -> None:
    feed(config, numbered(1))
    with Reader(config) as noisy, Reader(config) as other:
        for _ in range(20):
            noisy.socket.send(b"nonsense")
        noisy.say(Attach("flows", **PLENTY))
        assert isinstance(other.attach(start="oldest"), Attached)
        assert other.hear().q == 1
        wait_until(lambda: counters(config).get('flowd_ignored_messages_total{lane="consume"}'), "the count")


def test_consumers_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumers, "ATTACHMENTS_MAX", 2)
    with running(tmp_path) as (_, config), Reader(config) as one, Reader(config) as two, Reader(config) as three:
        assert isinstance(one.attach(), Attached)
        assert isinstance(two.attach(), Attached)
        assert three.attach().code == "busy"
        one.say(Bye())
        wait_until(lambda: isinstance(three.attach(), Attached), "the place that became free")


def test_consumer_that_is_gone_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "TOLD_S", 0.01)
    with running(tmp_path) as (_, config):
        with Reader(config) as reader:
            reader.attach(c="siem")
            assert len(request(config.endpoint("admin"), "status")["consumers"]) == 1

        def is_gone() -> bool:
            feed(config, KEPT)
            return not request(config.endpoint("admin"), "status")["consumers"]

        wait_until(is_gone, "the consumer's end to be noticed")


def test_stalled_consumer_keeps_nobody_waiting(config: Config) -> None:
    lines = KEPT * 9000
    with Reader(config) as stalled, Reader(config) as reader:
        stalled.attach(start="oldest")
        reader.attach(start="oldest")
        feed(config, *[lines] * 100)
        got = 0
        while got < 100:
            message = reader.hear_message()
            got += isinstance(message.header, Batch)
        assert bytes(message.payload) == lines


def test_administrator_lists_moves_and_deletes_cursors(config: Config) -> None:
    admin = config.endpoint("admin")
    feed(config, numbered(1) * 2, numbered(2) * 3)
    with Reader(config) as reader:
        gen = reader.attach(c="siem").gen
        [reader.hear() for _ in range(3)]
        reader.say(Commit(1, gen))
        assert reader.hear() == Committed(1)
        (found,) = request(admin, "consumers")["consumers"]
        attached = found.pop("attached")
        assert found.pop("committed_ns") > 0
        assert 0 < found.pop("lag_s") < DEADLINE_S
        assert found == {
            "consumer": "siem",
            "stream": "flows",
            "next": 2,
            "lag_batches": 1,
            "lag_lines": 3,
            "gone_batches": 0,
            "generation": gen,
        }
        assert (attached["next"], attached["sent_batches"], attached["lost_lines"]) == (3, 2, 0)
        answer = request(admin, "consumers", do="reset", consumer="siem", stream="flows", to="oldest")
        assert answer["next"] == 1
        assert reader.hear() == Fenced()
    with Reader(config) as reader:
        assert reader.attach(c="siem").next == 1
    for wrong in ({"do": "move"}, {"do": "reset", "consumer": "siem", "stream": "flows", "to": 99}, {"do": "delete"}):
        with pytest.raises(Exception, match="consumers: "):
            request(admin, "consumers", **wrong)


def test_journal_can_be_measured_and_trimmed(config: Config) -> None:
    admin = config.endpoint("admin")
    feed(config, *[KEPT * 2000] * 20)
    before = request(admin, "journal")
    assert (before["batches"], before["producers"], before["streams"]["flows"]["next"]) == (20, 1, 21)
    assert 20 * 2000 * len(KEPT) < before["used_bytes"] <= before["file_bytes"]
    after = request(admin, "journal", do="trim", bytes=before["used_bytes"] // 2)
    assert after["used_bytes"] <= before["used_bytes"] // 2
    assert after["retired_batches"] == after["streams"]["flows"]["oldest"] - 1 == 20 - after["batches"]
    assert after["retired_lines"] == 2000 * after["retired_batches"]
    with pytest.raises(Exception, match="bytes is -1"):
        request(admin, "journal", do="trim", bytes=-1)
