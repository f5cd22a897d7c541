"""Which ports of a Service speak HTTP, and which of its ports are not routed.

A port says so by ``appProtocol``, which alone decides where it stands, or by its name as Istio reads names:
``PROTOCOL`` or ``PROTOCOL-SUFFIX``. A Service's only TCP port speaks HTTP unless one of the two names another
protocol. The annotation `HTTP_PORTS` adds ports that say nothing, or something else.

The number of a port says nothing: HTTP is served on any. But where it is all there is to go by and is known
for another protocol, the port is routed and the Service has a notice.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from xds_server.base.text import SOME, first_of, shown
from xds_server.core.annotations import HTTP_PORTS
from xds_server.core.conditions import Condition, about
from xds_server.core.objects import Service, ServicePort
from xds_server.core.plan import Protocol, Reason

TCP: Final = "TCP"
_UNSAID: Final = "one of several TCP ports is, if its name or appProtocol says HTTP"
_OTHERWISE: Final = "not HTTP, by name or appProtocol"
_NOT_TCP: Final = "not TCP"

_BY_APP_PROTOCOL: Final[Mapping[str, Protocol]] = {
    "http": Protocol.HTTP1,
    "http/1.1": Protocol.HTTP1,
    "grpc-web": Protocol.HTTP1,
    "kubernetes.io/ws": Protocol.HTTP1,
    "http2": Protocol.HTTP2,
    "h2c": Protocol.HTTP2,
    "kubernetes.io/h2c": Protocol.HTTP2,
    "grpc": Protocol.HTTP2,
}
"""Kubernetes' own values (KEP-3726), IANA's, and those that Istio and Contour made customary. TLS to the
backend (https, tls) is not among them."""

_BY_NAME: Final[Mapping[str, Protocol]] = {
    "http": Protocol.HTTP1,
    "grpc-web": Protocol.HTTP1,
    "http2": Protocol.HTTP2,
    "h2c": Protocol.HTTP2,
    "grpc": Protocol.HTTP2,
}

OTHER_PROTOCOLS: Final = frozenset(
    [
        # Istio's protocol selection (istio.io, "Protocol Selection"): what its names declare besides HTTP.
        *("tcp", "udp", "tls", "https", "mongo", "mysql", "redis", "hbone"),
        # Names of services in IANA's registry (RFC 6335) that are not HTTP.
        *("amqp", "amqps", "domain", "epmd", "ftp", "ftps", "imap", "imaps", "irc", "kerberos", "ldap"),
        *("ldaps", "memcache", "mqtt", "nfs", "ntp", "pop3", "pop3s", "postgresql", "rsync", "rtsp", "sftp"),
        *("sip", "sips", "smtp", "smtps", "snmp", "ssh", "submission", "submissions", "syslog", "telnet"),
        # What charts call their ports besides.
        *("bolt", "cassandra", "cql", "dns", "grpcs", "kafka", "mariadb", "memcached", "mongodb", "mqtts"),
        *("nats", "pgsql", "postgres", "ssl", "stomp", "thrift", "websecure", "wss", "xmpp", "zookeeper"),
    ]
)
"""Well-known names of ports that say that a Service's only port is not HTTP."""

SECURED: Final = ("https", "mtls", "ssl", "tls")
"""What says so as any word of a name: ``web-tls``."""

_BY_NUMBER: Final[Mapping[int, str]] = {
    22: "SSH",
    25: "SMTP",
    53: "DNS",
    389: "LDAP",
    443: "HTTPS",
    636: "LDAP",
    1433: "SQL Server",
    1883: "MQTT",
    2181: "ZooKeeper",
    3306: "MySQL",
    4222: "NATS",
    5432: "PostgreSQL",
    5672: "AMQP",
    6379: "Redis",
    8443: "HTTPS",
    9042: "Cassandra",
    9092: "Kafka",
    11211: "memcached",
    27017: "MongoDB",
    50051: "gRPC",
}
"""What a number is known for that HTTP/1.1 without TLS does not reach."""


class HttpPort(msgspec.Struct, frozen=True):
    """A port of a Service that is routed."""

    port: ServicePort
    protocol: Protocol

    @property
    def name(self) -> str:
        """Which tells it from the Service's other ports; empty for the only one that has none."""
        return self.port.name or ""

    @property
    def grpc(self) -> bool:
        """Whether it says that what it carries are gRPC's messages."""
        return _said(self.port) in ("grpc", "grpc-web")


class Ports(NamedTuple):
    """A Service's ports: those that are `routed`, the first of which has the Service's bare hosts; what is
    wrong with the annotation; and if nobody has said that this is as it should be, a sentence on those that
    are not routed, and one on those whose number is known for something else."""

    routed: tuple[HttpPort, ...]
    mistakes: tuple[Condition, ...] = ()
    unrouted: str = ""
    assumed: str = ""


def ports_of(service: Service) -> Ports:
    """Read the ports and the annotation. Those that are HTTP by what they say themselves come first, as the
    Service lists them, then those of the annotation: to route one more port moves no host."""
    if service.spec.type == "ExternalName":
        return Ports((), unrouted="An ExternalName Service has no endpoints to route to.")
    routed = {http.name: http for http in http_ports(service)}
    text = service.annotations.get(HTTP_PORTS.key)
    if text is None:
        rest = [port for port in service.ports if (port.name or "") not in routed]
        unrouted, assumed = _unrouted(rest) if rest else "", _assumed(routed.values())
        return Ports(tuple(routed.values()), unrouted=unrouted, assumed=assumed)
    ports = _by_name_and_number(service)
    unknown: list[str] = []
    others: list[tuple[str, ServicePort]] = []
    for entry in dict.fromkeys(filter(None, HTTP_PORTS.read(text))):
        found = ports.get(entry)
        if found is None:
            unknown.append(entry)
        elif is_tcp(found):
            routed.setdefault(found.name or "", HttpPort(found, _spoken(found) or Protocol.HTTP1))
        else:
            others.append((entry, found))
    return Ports(tuple(routed.values()), tuple(_mistakes(service, unknown, others)))


def http_ports(service: Service) -> tuple[HttpPort, ...]:
    """The ports that carry HTTP by what they say themselves, as the Service lists them (an API server admits
    no number or name twice)."""
    found: dict[str, HttpPort] = {}
    ports = [port for port in service.ports if is_tcp(port)]
    only = len(ports) == 1
    for port in ports:
        protocol = _spoken(port)
        if protocol is None and only and not _says_otherwise(port):
            protocol = Protocol.HTTP1
        if protocol is not None:
            found.setdefault(port.name or "", HttpPort(port, protocol))
    return tuple(found.values())


def no_http_port(service: Service) -> str:
    """The sentence for a Service of which no port is routed."""
    if service.spec.type == "ExternalName":
        return "An ExternalName Service has no endpoints to route to."
    if not service.ports:
        return "It has no ports; add one to spec.ports."
    ports = _listed(map(called, service.ports))
    return (
        f"None of its ports ({ports}) is known to be HTTP; name one that is in the Service's annotation"
        f" {HTTP_PORTS.key}, or set its appProtocol to http."
    )


def is_tcp(port: ServicePort) -> bool:
    """As a port of which nothing is said is."""
    return (port.protocol or TCP) == TCP


def _spoken(port: ServicePort) -> Protocol | None:
    """The kind of HTTP that a port says it speaks, if it says so."""
    return (_BY_APP_PROTOCOL if port.app_protocol else _BY_NAME).get(_said(port))


def _said(port: ServicePort) -> str:
    """What it says, by ``appProtocol`` or by what its name begins with."""
    if port.app_protocol:
        return port.app_protocol.lower()
    name = port.name or ""
    return name if name in _BY_NAME else next((each for each in _prefixes(name) if each in _BY_NAME), "")


def _says_otherwise(port: ServicePort) -> bool:
    name = port.name or ""
    return (
        bool(port.app_protocol)
        or any(each in OTHER_PROTOCOLS for each in _prefixes(name))
        or not set(SECURED).isdisjoint(name.split("-"))
    )


def _prefixes(name: str) -> Iterable[str]:
    """``grpc-web``, then ``grpc``, of ``grpc-web-x``: the protocols that a name can begin with, the longest
    first."""
    first, _, rest = name.partition("-")
    return (f"{first}-{rest.partition('-')[0]}", first)


def _by_name_and_number(service: Service) -> Mapping[str, ServicePort]:
    """What an entry of the annotation can name, a TCP port before any other."""
    found: dict[str, ServicePort] = {}
    for port in sorted(service.ports, key=is_tcp, reverse=True):
        for text in filter(None, (port.name, str(port.port))):
            found.setdefault(text, port)
    return found


def _mistakes(
    service: Service, unknown: Sequence[str], others: Sequence[tuple[str, ServicePort]]
) -> Iterator[Condition]:
    """One of each kind, however many entries there are: whoever writes the annotation must not fill `status`
    with them."""
    if unknown:
        which = "which is no port" if len(unknown) == 1 else "which are no ports"
        known = _listed(map(called, service.ports)) or "none"
        yield _mistake(service, unknown, f"{which} of this Service; its ports are {known}.")
    if others:
        protocols = _listed(sorted({str(port.protocol) for _, port in others}))
        which = "which is" if len(others) == 1 else "which are"
        yield _mistake(
            service, [entry for entry, _ in others], f"{which} {protocols}; only TCP ports are routed."
        )


def _mistake(service: Service, entries: Sequence[str], what: str) -> Condition:
    message = f"Annotation {HTTP_PORTS.key} has {first_of(entries, shown)}, {what}"
    return Condition(about(service), Reason.INVALID_ANNOTATION, message)


def _assumed(ports: Iterable[HttpPort]) -> str:
    """On a port of which nothing but its number is known, and that number for something else."""
    found = [http.port for http in ports if http.port.port in _BY_NUMBER and _spoken(http.port) is None]
    return " ".join(
        f"Port {called(port)} is routed as HTTP/1.1, but {port.port} is known for {_BY_NUMBER[port.port]}."
        " Set its appProtocol to what it speaks, to http if that is so."
        f" An annotation {HTTP_PORTS.key}, also an empty one, ends this notice."
        for port in found
    )


def _unrouted(ports: Iterable[ServicePort]) -> str:
    groups: dict[str, list[ServicePort]] = {}
    for port in ports:
        groups.setdefault(_why(port), []).append(port)
    sentences = [_not_routed(groups[why], why) for why in (_UNSAID, _OTHERWISE, _NOT_TCP) if why in groups]
    if unsaid := groups.get(_UNSAID):
        names = ",".join(port.name or str(port.port) for port in unsaid[:SOME])
        sentences.append(f"To route what speaks HTTP, annotate the Service {HTTP_PORTS.key}={names}.")
    return " ".join([*sentences, f"An annotation {HTTP_PORTS.key}, also an empty one, ends this notice."])


def _not_routed(ports: Sequence[ServicePort], why: str) -> str:
    what = "Port {} is" if len(ports) == 1 else "Ports {} are"
    return f"{what.format(_listed(map(called, ports)))} not routed: {why}."


def _why(port: ServicePort) -> str:
    if not is_tcp(port):
        return _NOT_TCP
    return _OTHERWISE if _says_otherwise(port) else _UNSAID


def called(port: ServicePort) -> str:
    """By number, and by name if it has one."""
    return f"{port.port} ({port.name})" if port.name else str(port.port)


def _listed(texts: Iterable[str]) -> str:
    return first_of(list(texts))
