"""An invented cluster: its workloads, who talks to whom, and how one flow line's facts are drawn.

Everything here is plain data and seeded choice; it knows nothing of JSON or text (see forms). The shares are
assumptions about an ordinary cluster, not measurements: bench/README.md lists them.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate
from random import Random
from typing import Final, Generic, TypeVar

T = TypeVar("T")

HEX: Final = "0123456789abcdef"
SUFFIX_LETTERS: Final = "bcdfghjklmnpqrstvwxz2456789"  # what Kubernetes makes pod name suffixes of


class Weighted(Generic[T]):
    """A choice by weight that draws one `random()`: stable over Python versions, unlike `choices`."""

    def __init__(self, *shares: tuple[float, T]) -> None:
        self.values = [value for _, value in shares]
        self.bounds = list(accumulate(weight for weight, _ in shares))

    def draw(self, rng: Random) -> T:
        at = bisect_right(self.bounds, rng.random() * self.bounds[-1])
        return self.values[min(at, len(self.values) - 1)]


def draw_below(rng: Random, bound: int) -> int:
    """A whole number in 0 … bound-1 from one `random()`."""
    return int(rng.random() * bound)


def pick(rng: Random, values: list[T] | tuple[T, ...]) -> T:
    return values[draw_below(rng, len(values))]


def shuffled(rng: Random, values: tuple[T, ...]) -> tuple[T, ...]:
    """The values in a random order, by one draw each (`Random.shuffle` may change between versions)."""
    left = list(values)
    return tuple(left.pop(draw_below(rng, len(left))) for _ in range(len(values)))


def draw_text(rng: Random, letters: str, length: int) -> str:
    return "".join(letters[draw_below(rng, len(letters))] for _ in range(length))


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One end of flows: a workload's pods, a host, a network set, or the world outside.

    `suffix` is what a pod's name has after `base`: "random" (5 letters), "ordinal" (a number) or "" (nothing).
    """

    kind: str  # wep, hep, ns, net
    namespace: str
    name_aggr: str
    base: str = ""
    suffix: str = ""
    labels: tuple[str, ...] = ()
    service: str = "-"
    port: int = 443
    port_name: str = "-"


@dataclass(frozen=True, slots=True)
class Flow:
    """The facts of a flow line that recur from flush to flush (counters and times are drawn per line)."""

    source: Endpoint
    dest: Endpoint
    source_name: str
    dest_name: str
    source_ip: str | None
    dest_ip: str | None
    source_port: int | None
    dest_port: int | None
    source_labels: tuple[str, ...]
    dest_labels: tuple[str, ...]
    has_service: bool
    proto: str
    action: str
    reporter: str
    policies: tuple[str, ...]
    pending: tuple[str, ...]
    nat_port: int | None
    domains: tuple[str, ...]
    program: str  # "" where no process information is collected
    arguments: tuple[str, ...]
    client_ip: str  # the original source seen by an ingress, or ""


# name, kind, port, port name, service name ("" = the workload's own); D Deployment, S StatefulSet, A DaemonSet,
# C CronJob, B a bare pod, L the short aggregated name of a ReplicationController of 2018.
_WORKLOADS: Final[tuple[tuple[float, str, str], ...]] = (
    (
        18.0,
        "hipstershop",
        "frontend:D:8080:http cartservice:D:7070:grpc checkoutservice:D:5050:grpc "
        "recommendationservice:D:8080:grpc productcatalogservice:D:3550:grpc currencyservice:D:7000:grpc "
        "paymentservice:D:50051:grpc shippingservice:D:50051:grpc emailservice:D:5000:grpc adservice:D:9555:grpc "
        "redis-cart:D:6379:redis loadgenerator:D:8089:-",
    ),
    (
        14.0,
        "kube-system",
        "coredns:D:53:dns:kube-dns metrics-server:D:10250:https konnectivity-agent:A:8134:- "
        "kube-proxy:A:10256:- csi-node:A:9808:-",
    ),
    (9.5, "dev", "rails:D:3000:http memcached:D:11211:- busybox:B:80:- api:D:9000:http rails-81531:L:3000:http"),
    (
        8.0,
        "monitoring",
        "prometheus-k8s:S:9090:web grafana:D:3000:http node-exporter:A:9100:https "
        "alertmanager-main:S:9093:web kube-state-metrics:D:8443:https-main",
    ),
    (8.0, "payments", "payments-api:D:8443:https postgres:S:5432:postgres ledger-batch:C:8080:- ledger:D:8080:http"),
    (7.0, "staging", "frontend:D:8080:http api:D:9000:http worker:D:8080:-"),
    (6.0, "web", "nginx-internal:D:80:http nginx-internet:D:80:http publisher:D:8080:http"),
    (5.0, "ingress-nginx", "ingress-nginx-controller:D:443:https"),
    (5.0, "calico-system", "calico-typha:D:5473:calico-typha calico-kube-controllers:D:9094:- calico-node:A:9091:-"),
    (4.0, "data", "kafka:S:9092:broker zookeeper:S:2181:- clickhouse:S:9000:native"),
    (3.5, "tigera-elasticsearch", "tigera-secure-es:S:9200:https tigera-linseed:D:8444:tigera-linseed"),
    (3.4, "logging", "loki:S:3100:http-metrics vector:A:8686:-"),
    (3.0, "tigera-prometheus", "prometheus-calico-node-prometheus:S:9090:web"),
    (1.5, "devops", "argocd-server:D:8080:http argocd-repo-server:D:8081:-"),
    (1.0, "dev-team-a", "sandbox:D:8080:http"),
    (0.6, "my-dev", "notebook:D:8888:http"),
    (3.0, "default", "multitool:B:1180:- kubernetes-bootcamp:D:8080:http"),
)
_DOMAINS: Final = ("pool.ntp.org", "www.bbc.co.uk", "telemetry.vendor.io", "update.example.co.uk",
                   "registry-1.docker.io", "s3.us-east-1.amazonaws.com", "api.github.com")  # fmt: skip
_PUBLIC_NETS: Final = ("52.216.8.", "147.75.40.", "198.51.100.", "203.0.113.", "1.1.1.", "140.82.121.")
_PRIVATE_NETS: Final = ("192.168.10.", "172.16.4.", "10.0.1.")
_ARGUMENTS: Final = (
    ("--config=/etc/app/config.yaml",),
    ("-Xms512m", "-Xmx512m", "-jar", "/srv/app.jar"),
    ("-c", 'exec "$0" --listen 0.0.0.0:8080'),  # a quote: such lines need the exact JSON reader
    ("--dsn=postgres://app@db/app?sslmode=off&pool=8",),  # Go's writer escapes the ampersand
)
PROTO_NUMBERS: Final = {"tcp": 6, "udp": 17, "icmp": 1, "icmp6": 58, "sctp": 132, "ipip": 4, "esp": 50}


def _make_workload(rng: Random, namespace: str, spec: str) -> Endpoint:
    name, kind, port, port_name, *service = spec.split(":")
    labels = [f"app={name}"]
    version = draw_text(rng, HEX, 9 + draw_below(rng, 2))
    base, name_aggr, suffix = f"{name}-", f"{name}-*", "random"
    if kind == "D":
        base, name_aggr = f"{name}-{version}-", f"{name}-{version}-*"
        labels.append(f"pod-template-hash={version}")
    elif kind == "S":
        suffix = "ordinal"
        labels.append(f"statefulset.kubernetes.io/pod-name={name}-0")
    elif kind == "A":
        labels += [f"controller-revision-hash={version}", "pod-template-generation=1"]
    elif kind == "C":
        run = 27_860_000 + draw_below(rng, 1_000)
        base, name_aggr = f"{name}-{run}-", f"{name}-{run}-*"
        labels.append(f"job-name={name}-{run}")
    elif kind == "L":
        base, name_aggr = f"{name}-", f"{name}*"
    else:
        base, name_aggr, suffix = name, name, ""
    if rng.random() < 0.5:
        labels.append(f"app.kubernetes.io/name={name}")
    if rng.random() < 0.3:
        labels.append(f"version=v{1 + draw_below(rng, 4)}.{draw_below(rng, 17)}.{draw_below(rng, 7)}")
    if rng.random() < 0.2:
        labels.append(f"tier={pick(rng, ('web', 'db', 'backend'))}")
    return Endpoint("wep", namespace, name_aggr, base, suffix, tuple(labels[:5]),
                    service[0] if service else name, int(port), port_name)  # fmt: skip


class Cluster:
    """The workloads of one seed, and flows drawn between them."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        shares: list[tuple[float, Endpoint]] = []
        for weight, namespace, specs in _WORKLOADS:
            made = [_make_workload(rng, namespace, spec) for spec in specs.split()]
            zipf = [1.0 / (rank + 1.5) for rank in range(len(made))]
            shares += [(weight * share / sum(zipf), pod) for share, pod in zip(zipf, made, strict=True)]
        self.pods = Weighted(*shares)
        by_app = {(pod.namespace, pod.service): pod for pod in self.pods.values}
        self.dns = by_app["kube-system", "kube-dns"]
        outside = ("net", "-")
        self.public = Endpoint(*outside, "pub")
        self.private = Endpoint(*outside, "pvt")
        self.netsets = (
            Endpoint("ns", "payments", "partner-banks", "partner-banks", "", ("kind=netset",)),
            Endpoint("ns", "-", "threatfeed.feodo-tracker", "threatfeed.feodo-tracker", "", ("kind=netset",)),
            Endpoint("ns", "-", "gns-cloud-metadata", "gns-cloud-metadata", "", ("kind=netset",), port=80),
        )
        hosts = [f"ip-10-0-1-{number}.ca-central-1.compute.internal" for number in (20, 21, 30, 31, 44)]
        self.hosts = tuple(Endpoint("hep", "-", host, host, "", (f"kubernetes.io/hostname={host}",)) for host in hosts)
        self.exposed = Weighted(
            (45.0, by_app["ingress-nginx", "ingress-nginx-controller"]),
            (25.0, by_app["web", "nginx-internet"]),
            (20.0, by_app["hipstershop", "frontend"]),
            (10.0, by_app["staging", "frontend"]),
        )
        self.shapes = Weighted(
            (16.0, "dns"), (46.0, "pod-pod"), (10.0, "pod-pub"), (8.0, "pod-pvt"), (6.0, "pub-pod"),
            (6.0, "pvt-pod"), (3.5, "pod-netset"), (3.0, "host-pod"), (1.5, "other"),
        )  # fmt: skip
        self.pod_ips: dict[str, str] = {}

    def draw_ends(self) -> tuple[str, Endpoint, Endpoint]:
        """The shape of a flow and its two ends."""
        rng = self.rng
        shape = self.shapes.draw(rng)
        pod = self.pods.draw(rng)
        match shape:
            case "dns":
                return shape, pod, self.dns
            case "pod-pub":
                return shape, pod, self.public
            case "pod-pvt":
                return shape, pod, self.private
            case "pub-pod":
                return shape, self.public, self.exposed.draw(rng)
            case "pvt-pod":
                return shape, self.private, pod
            case "pod-netset":
                return shape, pod, pick(rng, self.netsets)
            case "host-pod":
                return shape, pick(rng, self.hosts), pod
            case "other":
                return shape, pod, pick(rng, self.hosts)
        return shape, pod, self.pods.draw(rng)

    def draw_pod_name(self, end: Endpoint) -> str:
        """A pod's full name; `-` for what has none (the world outside)."""
        if not end.base:
            return "-"
        if end.suffix == "random":
            return end.base + draw_text(self.rng, SUFFIX_LETTERS, 5)
        return end.base + (str(draw_below(self.rng, 3)) if end.suffix else "")

    def draw_ip(self, end: Endpoint, name: str) -> str:
        """An address of this end; a pod keeps its address for the life of its name."""
        rng = self.rng
        if end.kind in ("wep", "hep"):
            if name not in self.pod_ips:
                self.pod_ips[name] = f"10.{48 + draw_below(rng, 4)}.{draw_below(rng, 256)}.{draw_below(rng, 256)}"
            return self.pod_ips[name]
        nets = _PRIVATE_NETS if end.name_aggr == "pvt" else _PUBLIC_NETS
        return pick(rng, nets) + str(1 + draw_below(rng, 254))

    def draw_proto(self, shape: str) -> str:
        draw = self.rng.random()
        if shape == "dns":
            return "udp" if draw < 0.88 else "tcp"
        for bound, proto in ((0.942, "tcp"), (0.977, "udp"), (0.988, "icmp"), (0.991, "icmp6"), (0.996, "sctp")):
            if draw < bound:
                return proto
        return "ipip" if draw < 0.9995 else "esp"

    def draw_policies(self, namespace: str, peer: Endpoint, *, denied: bool) -> tuple[str, ...]:
        rng = self.rng
        draw = rng.random()
        if denied:
            return (f"0|default|np:{namespace}/default-deny|deny|-1",)
        if draw < 0.45:
            return (f"0|__PROFILE__|pro:kns.{namespace}|allow|0",)
        rule = draw_below(rng, 5)
        if draw < 0.75:
            first_word = peer.name_aggr.split("-")[0]
            return (f"0|default|knp:{namespace}/allow-{first_word}|allow|{rule}",)
        return ("0|security|gnp:tenant-isolation|pass|0", f"1|app|np:{namespace}/app-allow|allow|{rule}")

    def draw_flow(self, *, detailed: bool = False) -> Flow:
        """A flow's facts: aggregated as Felix does by default, or in full (`detailed`: aggregation 0).

        By default 6 % are denied (aggregation 1: names and addresses, no source port), 1 % are kept in full, and the
        rest is aggregation 2 (names `-`, no addresses).
        """
        rng = self.rng
        shape, source, dest = self.draw_ends()
        draw = rng.random()
        denied = draw < 0.06
        level = 0 if detailed or draw >= 0.99 else 1 if denied else 2
        proto = self.draw_proto(shape)
        source_name = self.draw_pod_name(source) if level < 2 else "-"
        dest_name = self.draw_pod_name(dest) if level < 2 else "-"
        dest_port: int | None = dest.port
        if proto not in ("tcp", "udp", "sctp"):
            dest_port = None if proto == "icmp" else 0
        elif dest.kind == "wep" and dest is not self.dns and rng.random() < 0.1:
            dest_port = pick(rng, (8080, 9090, 443))
        if dest.kind != "wep":
            reporter = "src"
        elif source.kind != "wep":
            reporter = "dst"
        else:
            reporter = "src" if rng.random() < 0.56 else "dst"
        if rng.random() < 0.002:
            reporter = "fwd"
        seen = source if reporter == "src" else dest
        policies = self.draw_policies(seen.namespace, dest, denied=denied)
        staged = (f"0|default|snp:{seen.namespace}/staged-deny|deny|1",)
        has_program = rng.random() < 0.12
        return Flow(
            source, dest, source_name, dest_name,
            self.draw_ip(source, source_name) if level < 2 else None,
            self.draw_ip(dest, dest_name) if level < 2 else None,
            32768 + draw_below(rng, 28232) if level == 0 and dest_port else None,
            dest_port, shuffled(rng, source.labels), shuffled(rng, dest.labels),
            dest.service != "-" and dest_port == dest.port and (dest is self.dns or rng.random() < 0.68),
            proto, "deny" if denied else "allow", reporter, policies,
            staged if rng.random() < 0.07 else policies,
            1024 + draw_below(rng, 64512) if shape == "pod-pub" and rng.random() < 0.2 else None,
            shuffled(rng, _DOMAINS)[: 1 + draw_below(rng, 2)] if shape == "pod-pub" and rng.random() < 0.4 else (),
            (seen.base or seen.name_aggr).split("-")[0] if has_program else "",
            pick(rng, _ARGUMENTS) if has_program and rng.random() < 0.2 else (),
            self.draw_ip(self.public, "") if shape == "pub-pod" and dest.port == 443 and rng.random() < 0.3 else "",
        )  # fmt: skip
