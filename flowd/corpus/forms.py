"""How a flow's facts are written: JSON of two ages, 24 and 27 columns of text, and DNS lines.

A form renders what recurs once, as a template with holes; lines.py fills the holes line by line. The holes are marks
that no value can hold, in the order in which they stand in the line.
"""

from __future__ import annotations

import json
from random import Random
from typing import Final

from flowd.corpus.cluster import (
    HEX,
    PROTO_NUMBERS,
    Cluster,
    Endpoint,
    Flow,
    Weighted,
    draw_below,
    draw_text,
    pick,
)

JSON_FORMS: Final = ("json", "json2022")
TEXT_FORMS: Final = ("text24", "text24-labels", "text24-srcdst", "text27")
FORMS: Final = (*JSON_FORMS, *TEXT_FORMS, "dns")

# Holes. Counters come as one run in JSON and as two in text; the others are filled in high cardinality only.
COUNTS, COUNTS_MORE = "\x01", "\x02"
SOURCE_IP, SOURCE_NAME, SOURCE_PORT, DEST_IP, DEST_NAME = "\x03", "\x04", "\x05", "\x06", "\x07"
HOLES: Final = COUNTS + COUNTS_MORE + SOURCE_IP + SOURCE_NAME + SOURCE_PORT + DEST_IP + DEST_NAME

_NO_TCP: Final = (0,) * 8


def dump(value: object) -> str:
    """JSON as Go's encoder writes it: no blanks, and `<`, `>` and `&` escaped."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _quote_ip(ip: str | None) -> str:
    return "null" if ip is None else f'"{ip}"'


def _number(value: int | str | None) -> str:
    return "null" if value is None else str(value)


def _draw_tcp(rng: Random, flow: Flow) -> tuple[int, ...]:
    if flow.proto != "tcp" or flow.action == "deny" or rng.random() >= 0.17:
        return _NO_TCP
    rtt = 150 + draw_below(rng, 3_100)
    return (10, 10, rtt, 2 * rtt, rtt // 2, rtt // 2, 1388, 1388)


def render_json(rng: Random, flow: Flow, *, newest: bool) -> str:
    """A JSON flow line from `"source_ip"` on, with the counters left as a hole."""
    domains = dump(list(flow.domains)) if flow.domains else "null"
    service = flow.dest.service if flow.has_service else "-"
    port_name, port_number = (flow.dest.port_name, str(flow.dest_port)) if flow.has_service else ("-", "null")
    if flow.has_service and flow.dest.service == "kube-dns" and flow.proto == "tcp":
        port_name = "dns-tcp"
    if newest:
        policies = {"enforced_policies": flow.policies, "pending_policies": flow.pending, "transit_policies": ()}
    else:
        policies = {"all_policies": flow.policies}
    transit = '"transit_bytes_in":0,"transit_bytes_out":0,"transit_packets_in":0,"transit_packets_out":0,'
    program = flow.program if newest else ""
    arguments = flow.arguments if program else ()
    tcp = _draw_tcp(rng, flow)
    return (
        f'"source_ip":{_quote_ip(flow.source_ip)},"source_name":"{flow.source_name}",'
        f'"source_name_aggr":"{flow.source.name_aggr}","source_namespace":"{flow.source.namespace}",'
        f'"nat_outgoing_ports":{"null" if flow.nat_port is None else f"[{flow.nat_port}]"},'
        f'"source_port":{SOURCE_PORT if flow.source_port == -1 else _number(flow.source_port)},'
        f'"source_type":"{flow.source.kind}","source_labels":{dump({"labels": flow.source_labels})},'
        f'"dest_ip":{_quote_ip(flow.dest_ip)},"dest_name":"{flow.dest_name}",'
        f'"dest_name_aggr":"{flow.dest.name_aggr}","dest_namespace":"{flow.dest.namespace}",'
        f'"dest_port":{_number(flow.dest_port)},"dest_type":"{flow.dest.kind}",'
        f'"dest_labels":{dump({"labels": flow.dest_labels})},'
        f'"dest_service_namespace":"{flow.dest.namespace if flow.has_service else "-"}",'
        f'"dest_service_name":"{service}","dest_service_port":"{port_name}","dest_service_port_num":{port_number},'
        f'"dest_domains":{domains},"proto":"{flow.proto}","action":"{flow.action}","reporter":"{flow.reporter}",'
        f'"policies":{dump(policies)},{COUNTS},{transit if newest else ""}'
        f'"http_requests_allowed_in":0,"http_requests_denied_in":0,'
        f'"process_name":"{f"/usr/local/bin/{program}" if program else "-"}","num_process_names":{int(bool(program))},'
        f'"process_id":"{str(20_000 + draw_below(rng, 45_000)) if program else "-"}",'
        f'"num_process_ids":{int(bool(program))},'
        f'"process_args":{dump(arguments or ("-",))},"num_process_args":{int(bool(arguments))},'
        f'"original_source_ips":{dump([flow.client_ip]) if flow.client_ip else "null"},'
        f'"num_original_source_ips":{int(bool(flow.client_ip))},'
        f'"tcp_mean_send_congestion_window":{tcp[0]},"tcp_min_send_congestion_window":{tcp[1]},'
        f'"tcp_mean_smooth_rtt":{tcp[2]},"tcp_max_smooth_rtt":{tcp[3]},"tcp_mean_min_rtt":{tcp[4]},'
        f'"tcp_max_min_rtt":{tcp[5]},"tcp_mean_mss":{tcp[6]},"tcp_min_mss":{tcp[7]},'
        '"tcp_total_retransmissions":0,"tcp_lost_packets":0,"tcp_unrecovered_to":0}\n'
    )


def _text_name(end: Endpoint, name: str, form: str) -> tuple[str, str]:
    """The type and name columns: before 27 columns one name stood for both, and 2018's type said `pub` and `pvt`."""
    if form == "text27":
        return end.kind, f"{name} {end.name_aggr}"
    if end.kind == "net" and form != "text24-srcdst":
        return end.name_aggr, "-"
    return end.kind, end.name_aggr if name == "-" else name


def render_text(flow: Flow, form: str) -> str:
    """A text flow line from the third column on, with both runs of counters left as holes."""

    def labels(values: tuple[str, ...]) -> str:
        return f"[{','.join(values)}]" if form in ("text24-labels", "text27") else "-"

    source_kind, source_name = _text_name(flow.source, flow.source_name, form)
    dest_kind, dest_name = _text_name(flow.dest, flow.dest_name, form)
    reporter = flow.reporter
    if form in ("text24", "text24-labels"):
        reporter = {"src": "out", "dst": "in"}.get(reporter, reporter)
    policies = f" [{' '.join(flow.policies)}]" if form == "text27" else ""
    source_port = SOURCE_PORT if flow.source_port == -1 else flow.source_port or "-"
    return (
        f"{source_kind} {flow.source.namespace} {source_name} {labels(flow.source_labels)} "
        f"{dest_kind} {flow.dest.namespace} {dest_name} {labels(flow.dest_labels)} "
        f"{flow.source_ip or '-'} {flow.dest_ip or '-'} {PROTO_NUMBERS[flow.proto]} "
        f"{source_port} {'-' if flow.dest_port is None else flow.dest_port} "
        f"{COUNTS} {reporter} {COUNTS_MORE} {flow.action}{policies}\n"
    )


_EXTERNAL: Final = ("telemetry.vendor.io", "pool.ntp.org", "www.bbc.co.uk", "update.example.co.uk",
                    "registry-1.docker.io", "s3.us-east-1.amazonaws.com", "api.github.com")  # fmt: skip


class DnsDraw:
    """Draws DNS lines: lookups of services, of outside names, and of outside names with a search suffix appended."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.kinds = Weighted((52.0, "service"), (26.0, "searched"), (18.0, "external"), (3.0, "random"), (1.0, "trap"))
        server = cluster.dns
        name = cluster.draw_pod_name(server)
        self.server_ip = cluster.draw_ip(server, name)
        self.servers = dump([{
            "name": name, "name_aggr": server.name_aggr, "namespace": server.namespace, "ip": self.server_ip,
            "labels": dict(label.split("=", 1) for label in server.labels),
        }])  # fmt: skip

    def draw_name(self, client: Endpoint) -> tuple[str, str]:
        """A looked-up name and its return code."""
        rng = self.cluster.rng
        external = pick(rng, _EXTERNAL)
        match self.kinds.draw(rng):
            case "service":
                target = self.cluster.pods.draw(rng)
                return f"{target.service}.{target.namespace}.svc.cluster.local", "NoError"
            case "searched":
                suffix = pick(rng, (f"{client.namespace}.svc.cluster.local", "svc.cluster.local", "cluster.local"))
                return f"{external}.{suffix}", "NXDomain"
            case "random":
                return f"{draw_text(rng, 'abcdefghijklmnopqrstuvwxyz', 15)}.biz", "NXDomain"
            case "trap":  # holds the suffix that the documented filter looks for, but not at its end
                return f"api.cluster.local.{external}", "NXDomain"
        return external, "NoError"

    def render(self, *, detailed: bool) -> tuple[str, Endpoint]:
        """A DNS line from `"type"` on with holes for its counters, and the client that asked."""
        rng = self.cluster.rng
        client = self.cluster.pods.draw(rng)
        qname, rcode = self.draw_name(client)
        qtype = "A" if rng.random() < 0.78 else "AAAA"
        answer = f"10.49.{draw_below(rng, 256)}.{1 + draw_below(rng, 254)}"
        if qtype == "AAAA":
            answer = f"2001:db8::{draw_text(rng, HEX[1:], 4)}"
        answers = [{"name": qname, "class": "IN", "type": qtype, "rdata": [answer]}] if rcode == "NoError" else None
        name, ip = (f"{client.base}{SOURCE_NAME}", f'"{SOURCE_IP}"') if detailed else ("-", "null")
        labels = dict(label.split("=", 1) for label in client.labels)
        return (
            f'"type":"log",{COUNTS},"client_name":"{name}","client_name_aggr":"{client.name_aggr}",'
            f'"client_namespace":"{client.namespace}","client_ip":{ip},"client_labels":{dump(labels)},'
            f'"servers":{self.servers},"qname":"{qname}","qclass":"IN","qtype":"{qtype}","rcode":"{rcode}",'
            f'"rrsets":{dump(answers)},{COUNTS_MORE}}}\n'
        ), client
