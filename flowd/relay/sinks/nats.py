"""From a section of type `nats` to its sink."""

from __future__ import annotations

from flowd.relay.config.defaults import node_name
from flowd.relay.config.model import NatsSink
from flowd.sinks.nats import sink
from flowd.sinks.nats.lane import Window
from flowd.sinks.nats.link import Login
from flowd.wire.jetstream import SubjectTemplate


def make_nats(section: NatsSink) -> sink.NatsSink:
    """The sink that a section describes."""
    plan = sink.StreamPlan(
        section.jetstream,
        section.provision,
        section.replicas,
        section.max_bytes,
        section.max_age,
        section.duplicate_window_s,
        section.storage,
        section.discard,
    )
    login = Login(
        section.creds_file,
        section.nkey_file,
        section.token_file,
        section.user,
        section.password_file,
        section.tls_ca_file,
        section.tls_cert_file,
        section.tls_key_file,
    )
    window = Window(section.window, section.window_bytes, section.ack_timeout_s)
    template = SubjectTemplate.parse(section.subject)
    return sink.NatsSink(section.servers, template, section.node or node_name(), plan, window, login)
