"""The streams that flowd knows and the fields that their lines have.

Serves warnings, did-you-mean and conversions only: a filter may name any field of any stream.
"""

from __future__ import annotations

from typing import Any

STREAMS = ("flows", "dns", "l7", "audit.tsee", "audit.kube", "waf", "runtime", "ids.events", "bird")

# The columns of the 24-column text form, in their order, with the field's canonical (JSON) name.
TEXT_NAMES: dict[str, str] = {
    "startTime": "start_time",
    "endTime": "end_time",
    "srcType": "source_type",
    "srcNamespace": "source_namespace",
    "srcName": "source_name",
    "srcLabels": "source_labels",
    "dstType": "dest_type",
    "dstNamespace": "dest_namespace",
    "dstName": "dest_name",
    "dstLabels": "dest_labels",
    "srcIP": "source_ip",
    "dstIP": "dest_ip",
    "proto": "proto",
    "srcPort": "source_port",
    "dstPort": "dest_port",
    "numFlows": "num_flows",
    "numFlowsStarted": "num_flows_started",
    "numFlowsCompleted": "num_flows_completed",
    "reporter": "reporter",
    "packetsIn": "packets_in",
    "packetsOut": "packets_out",
    "bytesIn": "bytes_in",
    "bytesOut": "bytes_out",
    "action": "action",
}
# The 27-column form has three columns more.
TEXT27_NAMES: dict[str, str] = {
    "srcNameAggr": "source_name_aggr",
    "dstNameAggr": "dest_name_aggr",
    "policies": "policies",
}

_FLOW_FIELDS = """
start_time end_time source_ip source_name source_name_aggr source_namespace nat_outgoing_ports source_port source_type
source_labels dest_ip dest_name dest_name_aggr dest_namespace dest_port dest_type dest_labels dest_service_namespace
dest_service_name dest_service_port dest_service_port_num dest_domains proto action reporter policies bytes_in bytes_out
num_flows num_flows_started num_flows_completed packets_in packets_out transit_bytes_in transit_bytes_out
transit_packets_in transit_packets_out http_requests_allowed_in http_requests_denied_in process_name num_process_names
process_id num_process_ids process_args num_process_args original_source_ips num_original_source_ips
tcp_mean_send_congestion_window tcp_min_send_congestion_window tcp_mean_smooth_rtt tcp_max_smooth_rtt tcp_mean_min_rtt
tcp_max_min_rtt tcp_mean_mss tcp_min_mss tcp_total_retransmissions tcp_lost_packets tcp_unrecovered_to
"""
_DNS_FIELDS = """
start_time end_time type count client_name client_name_aggr client_namespace client_ip client_labels servers qname
qclass qtype rcode rrsets latency latency_count latency_mean latency_max
"""

FIELDS: dict[str, frozenset[str]] = {
    "flows": frozenset(_FLOW_FIELDS.split()) | TEXT_NAMES.keys() | TEXT27_NAMES.keys(),
    "dns": frozenset(_DNS_FIELDS.split()),
}

# What collectors add after reading the file: a filter that runs on the file's own lines never sees it.
FIELDS_ADDED_LATER = frozenset(("host", "@timestamp"))

# What the fields' values are in the logs; all others are strings. Any of them may be null.
_FLOW_NUMBERS = """
start_time end_time source_port dest_port dest_service_port_num bytes_in bytes_out num_flows num_flows_started
num_flows_completed packets_in packets_out transit_bytes_in transit_bytes_out transit_packets_in transit_packets_out
http_requests_allowed_in http_requests_denied_in num_process_names num_process_ids num_process_args
num_original_source_ips tcp_mean_send_congestion_window tcp_min_send_congestion_window tcp_mean_smooth_rtt
tcp_max_smooth_rtt tcp_mean_min_rtt tcp_max_min_rtt tcp_mean_mss tcp_min_mss tcp_total_retransmissions
tcp_lost_packets tcp_unrecovered_to startTime endTime srcPort dstPort numFlows numFlowsStarted numFlowsCompleted
packetsIn packetsOut bytesIn bytesOut
"""
_FLOW_LISTS = "nat_outgoing_ports dest_domains process_args original_source_ips"
_FLOW_OBJECTS = "source_labels dest_labels policies srcLabels dstLabels"
_DNS_NUMBERS = "count latency_count latency_mean latency_max"
_DNS_LISTS = "servers rrsets"
_DNS_OBJECTS = "client_labels latency"
NUMBERS = {"flows": frozenset(_FLOW_NUMBERS.split()), "dns": frozenset(_DNS_NUMBERS.split())}
LISTS = {"flows": frozenset(_FLOW_LISTS.split()), "dns": frozenset(_DNS_LISTS.split())}
OBJECTS = {"flows": frozenset(_FLOW_OBJECTS.split()), "dns": frozenset(_DNS_OBJECTS.split())}
# Strings that are null where there is none.
NULLABLE = {"flows": frozenset(("source_ip", "dest_ip", "srcIP", "dstIP")), "dns": frozenset(("client_ip",))}

# Strings that are in every line of every form and layout, and never null.
ALWAYS_THERE: dict[str, frozenset[str]] = {
    "flows": frozenset((
        "source_type", "source_name", "source_name_aggr", "source_namespace", "dest_type", "dest_name",
        "dest_name_aggr", "dest_namespace", "proto", "action", "reporter",
    )),
    "dns": frozenset((
        "type", "client_name", "client_name_aggr", "client_namespace", "qname", "qclass", "qtype", "rcode",
    )),
}  # fmt: skip

STRING, NUMBER = "a string", "a number"
Shape = str | list[Any] | dict[str, Any]
"""What is inside of a value: a map's parts by name (`*` any name), a list's element, or what a plain value is."""

_LABEL_LIST: Shape = {"labels": [STRING]}
_POLICIES: Shape = {f"{which}_policies": [STRING] for which in ("all", "enforced", "pending", "transit")}
_SERVER: Shape = {"name": STRING, "name_aggr": STRING, "namespace": STRING, "ip": STRING, "labels": {"*": STRING}}
_RECORDS: Shape = {"name": STRING, "class": STRING, "type": STRING, "rdata": [STRING]}
SHAPES: dict[str, dict[str, Shape]] = {
    "flows": {
        "nat_outgoing_ports": [NUMBER], "dest_domains": [STRING], "process_args": [STRING],
        "original_source_ips": [STRING], "policies": _POLICIES,
        **dict.fromkeys(("source_labels", "dest_labels", "srcLabels", "dstLabels"), _LABEL_LIST),
    },
    "dns": {
        "servers": [_SERVER], "rrsets": [_RECORDS], "client_labels": {"*": STRING},
        "latency": {"count": NUMBER, "mean": NUMBER, "max": NUMBER},
    },
}  # fmt: skip

# Names of things in a cluster, of which one can be a part of another: `dev` and `devops`.
_NAMES = """
source_name source_name_aggr source_namespace dest_name dest_name_aggr dest_namespace dest_service_name
dest_service_namespace client_name client_name_aggr client_namespace qname srcName srcNameAggr srcNamespace dstName
dstNameAggr dstNamespace process_name
"""
NAME_FIELDS = frozenset(_NAMES.split())
# What Kubernetes and Calico always write in small letters.
LOWER_CASE_FIELDS = (NAME_FIELDS - {"process_name", "qname"}) | {
    "action", "reporter", "proto", "source_type", "dest_type", "srcType", "dstType",
}  # fmt: skip
HOST_NAME_FIELDS = frozenset(("qname", "dest_domains"))
ADDRESS_FIELDS = frozenset(("source_ip", "dest_ip", "srcIP", "dstIP", "client_ip"))

_TYPES = ("wep", "hep", "ns", "net", "pub", "pvt")
KNOWN_VALUES: dict[str, tuple[str, ...]] = {
    "action": ("allow", "deny"),
    "reporter": ("src", "dst", "fwd"),
    "source_type": _TYPES,
    "dest_type": _TYPES,
    "srcType": _TYPES,
    "dstType": _TYPES,
    "proto": ("tcp", "udp", "icmp", "icmp6", "sctp", "ipip", "esp"),
    "qtype": ("A", "AAAA", "CNAME", "MX", "NS", "PTR", "SOA", "SRV", "TXT", "CAA", "NAPTR", "DNSKEY", "HTTPS", "SVCB"),
}
# Of these there are other values, too: protocols that are numbers, rare record types.
OPEN_VALUES = frozenset(("proto", "qtype"))
