"""Every metric of the daemon: its name, what it means, and its labels. The one place that says so.

Whoever adds a counter adds one line here, in the section of its kind, and has docs/metrics.md written anew by
`tools/metrics_page.py`; a test finds what is missing. Names follow one rule: a counter is `flowd_<name>_<unit>_total`,
anything else is a gauge; a loss has its reason as a label.

The texts are those of docs/metrics.md, in Markdown. Nothing here counts.
"""

# ruff: noqa: E501 - a metric is a line

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import product
from typing import NamedTuple

from flowd.relay.metrics import Labels

_LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")


class Metric(NamedTuple):
    """A metric. `labels` has the values that are known before anything was counted, none where they are names of the
    user's; others may come."""

    name: str
    text: str
    labels: Mapping[str, tuple[str, ...]]

    @property
    def is_counter(self) -> bool:
        """Whether it only grows; a gauge otherwise."""
        return self.name.endswith("_total")

    @property
    def help(self) -> str:
        """The text as plain words."""
        return _LINK.sub(r"\1", self.text).replace("`", "").replace(" (below)", "")

    def known_series(self, **named: tuple[str, ...]) -> Iterator[Labels]:
        """The labels of what is there from the start: a counter that begins with its first loss would hide it, since
        what grows is seen only from the second value on. `named` has the values of labels that are the user's."""
        known = {label: named.get(label, values) for label, values in self.labels.items()}
        if self.is_counter and all(known.values()):
            for values in product(*known.values()):
                yield tuple(zip(known, values, strict=True))


def _metric(name: str, text: str, **labels: str) -> Metric:
    return Metric(name, text, {label: tuple(values.split()) for label, values in labels.items()})


SECTIONS: Mapping[str, tuple[Metric, ...]] = {
    "The daemon": (
        _metric("flowd_up", "1 while lines are carried, 0 when the thread that does so has ended"),
        _metric("flowd_build_info", "1, with what runs here as labels", version="", simd=""),
        _metric("flowd_state", "1 for the state that [health](operations.md#health) tells, 0 for the others", state="ok degraded draining ended"),
        _metric("flowd_degraded", "1 where something of this concern is not served as configured; `sink NAME` while that sink is down", concern="bypass filters journal tail forward consumers tcp"),
        _metric("flowd_producers", "producers that speak with the daemon"),
    ),
    "Streams": (
        _metric("flowd_lines_total", "lines that came", stream=""),
        _metric("flowd_bytes_total", "their bytes", stream=""),
        _metric("flowd_batches_total", "the batches in which they came", stream=""),
        _metric("flowd_kept_lines_total", "lines that were kept", stream=""),
        _metric("flowd_kept_bytes_total", "their bytes", stream=""),
        _metric("flowd_dropped_lines_total", "lines that the filters dropped", stream=""),
        _metric("flowd_malformed_lines_total", "lines that could not be read, and were kept", stream=""),
        _metric("flowd_error_lines_total", "lines on which a pattern met an error or its limit", stream=""),
        _metric("flowd_subscribers", "subscribers of the live lane", stream=""),
        _metric("flowd_view_subscribers", "those of a configured view; those of views that clients registered are together as `registered`", stream="", view=""),
    ),
    "Filters": (
        _metric("flowd_reloads_total", "attempts to load filters", result="loaded unchanged failed refused"),
        _metric("flowd_last_reload_success", "0 where the last attempt failed or was refused, so that the filters before it decide, else 1"),
        _metric("flowd_last_reload_time_seconds", "when that attempt was, in seconds since 1970"),
        _metric("flowd_generation", "the generation of the filters that decide"),
        _metric("flowd_bypass", "1 while `flowd bypass on` keeps every line"),
        _metric("flowd_rules", "rules and groups that can decide, `default` among them", stream=""),
        _metric("flowd_rule_lines_total", "lines that a rule decided; `id` is what the rule says, `file` where it stands ([below](#rules))", stream="", rule="", file="", id=""),
        _metric("flowd_other_rules_lines_total", "lines that rules without a series of their own decided ([below](#rules))", stream=""),
    ),
    "Ingest": (
        _metric("flowd_conversations_total", "HELLOs of producers: `first` of a connection, or `again`", kind="first again"),
        _metric("flowd_refused_conversations_total", "conversations answered with ERR", reason="no_hello version fenced"),
        _metric("flowd_refused_batches_total", "batches answered with NAK; `no_space` is the journal's, `busy` the end's", reason="no_space busy gap crc zstd partial_line payload_size too_big stream_name stream_key too_many_streams filters"),
        _metric("flowd_duplicate_batches_total", "batches acknowledged again and not stored again. Some after each restart are in order"),
        _metric("flowd_miscounted_batches_total", "batches whose header named another number of lines than they have; they are taken"),
        _metric("flowd_corrupt_marks_total", "producers' marks that were damaged in the journal and count as none: such a producer's batches may be stored twice"),
        _metric("flowd_raw_frames_total", "raw frames whose lines were carried"),
        _metric("flowd_raw_refused_messages_total", "raw messages that were dropped", reason="empty too_big multipart"),
    ),
    "Forward": (
        _metric("flowd_forward_connections_total", "connections, whoever made them"),
        _metric("flowd_forward_refused_connections_total", "those that were closed at once: `limit` is `max_connections`, `descriptors` ran out", reason="limit descriptors"),
        _metric("flowd_forward_refused_handshakes_total", "senders that were not let in", reason="shared_key user tls timeout malformed"),
        _metric("flowd_forward_closed_connections_total", "connections that were ended: `malformed`, what came is no message; `memory`, an unfinished message took the last room; `error`, a mistake of flowd's own: the log has it", reason="malformed memory error"),
        _metric("flowd_forward_received_bytes_total", "bytes of messages, as they came"),
        _metric("flowd_forward_messages_total", "messages", mode="message forward packed compressed"),
        _metric("flowd_forward_heartbeats_total", "`nil` in a message's place"),
        _metric("flowd_forward_malformed_messages_total", "what is no message. Its connection ends", reason="invalid too_large shape"),
        _metric("flowd_forward_dropped_messages_total", "messages that were dropped and not acknowledged: `tag`, it has no stream; `stream`, there are too many, a view has its name, or its filters do not compile; `too_large` when decompressed; `signal`, metrics and traces of Fluent Bit", reason="tag stream option chunk compression too_large signal"),
        _metric("flowd_forward_malformed_entries_total", "entries that are no record, by [their problem](forward.md#malformed-entries); `line_size`, a record whose line no payload holds", reason="line_size"),
        _metric("flowd_forward_unread_bytes_total", "bytes of entries behind one after which nobody knows where the next begins", reason="malformed"),
        _metric("flowd_forward_group_markers_total", "Fluent Bit's marks of groups of records, which are no records and no mistakes"),
        _metric("flowd_forward_acks_total", "acknowledgements that were sent"),
        _metric("flowd_forward_repeated_chunks_total", "chunks that came again and were not stored again"),
    ),
    "Followed files": (
        _metric("flowd_tail_bytes_total", "bytes of lines that were read"),
        _metric("flowd_tail_rotations_total", "rotations; `vanished` is deleted, or replaced", kind="renamed truncated vanished"),
        _metric("flowd_tail_lost_bytes_total", "bytes that were there and went before they were read"),
        _metric("flowd_tail_skipped_lines_total", "lines that were passed over. The log has file and offset", reason="too_long"),
        _metric("flowd_tail_errors_total", "what could not be read, each once until it changes. `not_regular`: a folder or a pipe; `loop` of links; `descriptors` ran out; `compressed`: a glob matches a compressed file; `gzip`: one is damaged or cut off; `place`: a stored place is damaged; `stream`: the stream cannot be carried, and its files wait", reason="permission not_regular loop io descriptors compressed gzip place stream other"),
        _metric("flowd_tail_files", "files that are followed"),
        _metric("flowd_tail_lag_bytes", "what they have that is not stored yet, together"),
        _metric("flowd_tail_lag_seconds", "for how long the one that is furthest behind has had that"),
    ),
    "The journal": (
        _metric("flowd_journal_bytes", "bytes that are in use"),
        _metric("flowd_journal_max_bytes", "`max_bytes` of the configuration: the oldest batches make room at this size"),
        _metric("flowd_journal_file_bytes", "the file's size"),
        _metric("flowd_journal_batches", "batches that are stored"),
        _metric("flowd_journal_reach_seconds", "the age of a stream's oldest stored batch: for so long a consumer may have been away", stream=""),
        _metric("flowd_journal_is_full", "1 while there is no room: nothing is taken"),
        _metric("flowd_journal_commits_total", "commits that stored anything"),
        _metric("flowd_retired_batches_total", "batches that went for size or age, read or not"),
        _metric("flowd_retired_lines_total", "their lines"),
        _metric("flowd_journal_full_total", "times that there began to be no room"),
        _metric("flowd_journal_failures_total", "errors that ended the daemon: `io`, or the error's name", reason="io"),
        _metric("flowd_lost_journals_total", "1 where this start found the journal so, and began a new one", reason="missing truncated damaged"),
        _metric("flowd_missing_batches_total", "what this start knows to be missing at the journal's end, after a loss of power without `sync = \"commit\"`: so much at least"),
        _metric("flowd_missing_lines_total", "the lines of these batches"),
        _metric("flowd_corrupt_batches_total", "stored batches that are not what was written, counted when they are read"),
    ),
    "Consumers and subscribers": (
        _metric("flowd_consumer_attached", "1 while a consumer that has a cursor is attached, else 0", consumer="", stream=""),
        _metric("flowd_consumer_lag_batches", "batches that a consumer has not committed, stored or gone", consumer="", stream=""),
        _metric("flowd_consumer_lag_lines", "their lines; missing before its first commit", consumer="", stream=""),
        _metric("flowd_consumer_lag_bytes", "the bytes of those that are stored: counted of up to 16 batches, of more estimated from 16 of them", consumer="", stream=""),
        _metric("flowd_consumer_lag_seconds", "the age of the oldest stored batch that it has not committed", consumer="", stream=""),
        _metric("flowd_consumer_gone_batches", "batches before that one that it can get no more", consumer="", stream=""),
        _metric("flowd_consumers_left_off", "consumers with cursors that have no series here: of more than 500 those furthest behind have some"),
        _metric("flowd_attachments_total", "consumers that attached, again after each break"),
        _metric("flowd_fenced_attachments_total", "those that ended because another has the name, or their cursor was reset or deleted"),
        _metric("flowd_refused_attachments_total", "ATTACH and VIEW answered with ERR; `attach`: the daemon was restarted, they attach again", reason="attach stream name from until view filter busy no_space"),
        _metric("flowd_gone_batches_total", "what consumers were told is lost to them. Two consumers that miss one batch make two", reason="retention epoch corrupt"),
        _metric("flowd_gone_lines_total", "the lines of these batches", reason="retention epoch corrupt"),
        _metric("flowd_decided_view_batches_total", "batches that views with subscribers decided, each view its own: `together` in one pass over the lines, or `alone`", way="together alone"),
        _metric("flowd_unusual_subscriptions_total", "subscriptions to what is no view's name", change="new gone"),
    ),
    "Sinks": (
        _metric("flowd_sink_up", "1 while a sink delivers, 0 while it cannot", sink="", type=""),
        _metric("flowd_sink_batches_total", "batches that the far end has, with all before them", sink=""),
        _metric("flowd_sink_lines_total", "their lines", sink=""),
        _metric("flowd_sink_bytes_total", "their bytes, as lines (`nats`)", sink=""),
        _metric("flowd_sink_missed_lines_total", "lines that were lost to the sink before it could read them", sink="", reason="retention epoch corrupt unknown"),
        _metric("flowd_sink_failures_total", "attempts of a sink that ended: `refused` by the daemon or the far end's set-up, or `failed`, for which the log has more. It is run again", sink="", reason="refused failed"),
        _metric("flowd_sink_acks_total", "chunks that were acknowledged (`forward`)", sink=""),
        _metric("flowd_sink_repeated_chunks_total", "chunks that were sent again, or to a second server: some may have arrived twice (`forward`)", sink=""),
        _metric("flowd_sink_sent_bytes_total", "bytes of chunks that were sent, those sent again included (`forward`)", sink=""),
        _metric("flowd_sink_plain_lines_total", "lines that were sent as messages, since they are [no records](forward-sink.md#what-a-line-becomes) (`forward`)", sink=""),
        _metric("flowd_sink_connection_failures_total", "connections that were not made or broke: `refused` by the server, or the server did not prove itself; `files` that cannot be read; `protocol`: nonsense instead of an acknowledgement (`forward`)", sink="", reason="connect tls refused files ack_timeout closed protocol"),
        _metric("flowd_sink_repeated_messages_total", "messages that were sent again, their acknowledgement being late or lost: the server stores none twice (`nats`)", sink=""),
        _metric("flowd_sink_refused_messages_total", "messages that the server refused, and that are sent again (`nats`)", sink="", reason="no_leader no_stream limit resources too_big other"),
        _metric("flowd_sink_disconnects_total", "times that the connection broke (`nats`)", sink=""),
    ),
    "Messages and connections": (
        _metric("flowd_malformed_messages_total", "what was no message of the protocol, or had no place in its lane; on consume also `credit`, `gone_ok`, `commit`; on live `subscription`; on admin `id` (too long to come back)", lane="ingest consume admin", reason="frames magic version type flags header_size header payload"),
        _metric("flowd_oversized_answers_total", "answers of the admin lane that would have been larger than 1 MiB, and were refused as `too_big`: nothing is lost, but somebody did not hear what they asked for", op=""),
        _metric("flowd_ignored_messages_total", "messages of peers that sent ten malformed ones in a minute", lane="ingest consume admin"),
        _metric("flowd_undelivered_replies_total", "answers to peers that were `gone`, or did not read (`full`)", lane="ingest consume admin", reason="gone full"),
        _metric("flowd_scarce_descriptors_total", "how often four fifths of the file descriptors were in use; the log says it, too"),
        _metric("flowd_accepted_connections_total", "TCP connections, whoever made them", lane="ingest live consume"),
        _metric("flowd_authenticated_connections_total", "those of them whose key was let in", lane="ingest live consume"),
        _metric("flowd_refused_handshakes_total", "those that were not: `protocol` is a wrong server key, mostly; `handshake` no key at all, or silence. What is accepted and neither of these spoke no ZMTP", lane="ingest live consume", reason="key protocol handshake"),
        _metric("flowd_refused_keys_total", "keys that the gate refused", lane="ingest live consume", reason="unknown role mechanism"),
        _metric("flowd_refused_messages_total", "messages of connections whose key is no longer allowed; `gate`: the gate is dead", lane="ingest live consume", reason="revoked role gate"),
        _metric("flowd_refused_subscriptions_total", "subscriptions over TCP to what is not the key's", lane="live"),
        _metric("flowd_revocations_total", "times that the live endpoints were bound again because a key lost its right", lane="live"),
        _metric("flowd_failed_accepts_total", "connections that could not be accepted: descriptors ran out", lane="ingest live consume"),
    ),
    "HTTP": (
        _metric("flowd_http_requests_total", "requests that were answered; those for anything else are refused as `path`", path="/metrics /healthz /readyz"),
        _metric("flowd_http_refused_requests_total", "requests that were not: `slow` ones took too long to ask or to read, `crowd` made room for newer ones", reason="malformed too_large method path slow crowd failed"),
    ),
}  # fmt: skip
"""All metrics, as docs/metrics.md has them: its headings, and below each a table."""

CATALOGUE: Mapping[str, Metric] = {metric.name: metric for metrics in SECTIONS.values() for metric in metrics}
"""The same by their names."""
