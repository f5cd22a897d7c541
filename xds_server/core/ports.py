"""Determines which ports of a Service speak HTTP and are routed.

The protocol of a port is that of its ``appProtocol``, else that of its name in Istio's form ``PROTOCOL`` or
``PROTOCOL-SUFFIX``. The only TCP port of a Service speaks HTTP unless one of the two names another protocol.
The annotation `HTTP_PORTS` adds ports for which they name no protocol, or another one.

The number of a port does not determine its protocol, because HTTP is served on any port. If nothing but the
number is known, and the number is well known for another protocol, the port is routed and the Service has a
notice.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from xds_server.base.text import SOME, first_of, shown
from xds_server.core.conditions import Condition, Reason, about
from xds_server.core.objects import Service, ServicePort
from xds_server.core.plan import Protocol
from xds_server.core.service_annotations import HTTP_PORTS

TCP: Final = "TCP"
_UNKNOWN: Final = "with several TCP ports, only those whose name or appProtocol is HTTP are routed"
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
"""The values of Kubernetes (KEP-3726), of IANA's registry, and those that Istio and Contour use. TLS to the
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
        # Istio's protocol selection (istio.io, "Protocol Selection"), without HTTP.
        *("tcp", "udp", "tls", "https", "mongo", "mysql", "redis", "hbone"),
        # Names of services in IANA's registry (RFC 6335) that are not HTTP.
        *("amqp", "amqps", "domain", "epmd", "ftp", "ftps", "imap", "imaps", "irc", "kerberos", "ldap"),
        *("ldaps", "memcache", "mqtt", "nfs", "ntp", "pop3", "pop3s", "postgresql", "rsync", "rtsp", "sftp"),
        *("sip", "sips", "smtp", "smtps", "snmp", "ssh", "submission", "submissions", "syslog", "telnet"),
        # Other names that Helm charts use.
        *("bolt", "cassandra", "cql", "dns", "grpcs", "kafka", "mariadb", "memcached", "mongodb", "mqtts"),
        *("nats", "pgsql", "postgres", "ssl", "stomp", "thrift", "websecure", "wss", "xmpp", "zookeeper"),
    ]
)
"""Well-known names of ports that do not speak HTTP."""

SECURED: Final = ("https", "mtls", "ssl", "tls")
"""Words that mean TLS anywhere in a port's name, as in ``web-tls``."""

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
"""Well-known port numbers of protocols other than HTTP/1.1 without TLS."""


class HttpPort(msgspec.Struct, frozen=True):
    """A port of a Service that is routed."""

    port: ServicePort
    protocol: Protocol

    @property
    def name(self) -> str:
        """The name, which is unique in the Service. Empty if the Service has one port without a name."""
        return self.port.name or ""

    @property
    def grpc(self) -> bool:
        """Whether the port carries gRPC messages, by its appProtocol or name."""
        return _protocol(self.port) in ("grpc", "grpc-web")


class Ports(NamedTuple):
    """The ports of a Service that are `routed`; the first one has the Service's hosts without a port.
    `mistakes` are conditions of the annotation. Without the annotation, `unrouted` is a sentence about the
    ports that are not routed, and `assumed` one about the ports whose number is known for another
    protocol."""

    routed: tuple[HttpPort, ...]
    mistakes: tuple[Condition, ...] = ()
    unrouted: str = ""
    assumed: str = ""


def ports_of(service: Service) -> Ports:
    """Read the ports and the annotation. The ports that speak HTTP by appProtocol or name come first, in the
    Service's order, and those of the annotation follow. So an entry that is added to the annotation does not
    move the Service's hosts to another port."""
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
            routed.setdefault(found.name or "", HttpPort(found, _http_version(found) or Protocol.HTTP1))
        else:
            others.append((entry, found))
    return Ports(tuple(routed.values()), tuple(_mistakes(service, unknown, others)))


def http_ports(service: Service) -> tuple[HttpPort, ...]:
    """The ports that speak HTTP by appProtocol or name, in the Service's order. An API server rejects
    duplicate numbers and names."""
    found: dict[str, HttpPort] = {}
    ports = [port for port in service.ports if is_tcp(port)]
    only = len(ports) == 1
    for port in ports:
        protocol = _http_version(port)
        if protocol is None and only and not _is_other_protocol(port):
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
    """Whether the protocol is TCP, which is the default."""
    return (port.protocol or TCP) == TCP


def _http_version(port: ServicePort) -> Protocol | None:
    """The version of HTTP that a port speaks by appProtocol or name; None if they do not name one."""
    return (_BY_APP_PROTOCOL if port.app_protocol else _BY_NAME).get(_protocol(port))


def _protocol(port: ServicePort) -> str:
    """The protocol in lower case: ``appProtocol``, else the prefix of the name that is a protocol, else
    ""."""
    if port.app_protocol:
        return port.app_protocol.lower()
    name = port.name or ""
    return name if name in _BY_NAME else next((each for each in _prefixes(name) if each in _BY_NAME), "")


def _is_other_protocol(port: ServicePort) -> bool:
    name = port.name or ""
    return (
        bool(port.app_protocol)
        or any(each in OTHER_PROTOCOLS for each in _prefixes(name))
        or not set(SECURED).isdisjoint(name.split("-"))
    )


def _prefixes(name: str) -> Iterable[str]:
    """The possible protocol prefixes of a name, the longest first: of ``grpc-web-x`` these are ``grpc-web``
    and ``grpc``."""
    first, _, rest = name.partition("-")
    return (f"{first}-{rest.partition('-')[0]}", first)


def _by_name_and_number(service: Service) -> Mapping[str, ServicePort]:
    """The ports by the entries of the annotation that can name them. A TCP port comes before others."""
    found: dict[str, ServicePort] = {}
    for port in sorted(service.ports, key=is_tcp, reverse=True):
        for text in filter(None, (port.name, str(port.port))):
            found.setdefault(text, port)
    return found


def _mistakes(
    service: Service, unknown: Sequence[str], others: Sequence[tuple[str, ServicePort]]
) -> Iterator[Condition]:
    """At most one condition of each kind, so that a long annotation does not fill `status`."""
    if unknown:
        which = "which is not a port" if len(unknown) == 1 else "which are not ports"
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
    """A sentence for each port of which only the number is known, and the number is known for another
    protocol."""
    found = [http.port for http in ports if http.port.port in _BY_NUMBER and _http_version(http.port) is None]
    return " ".join(
        f"Port {called(port)} is routed as HTTP/1.1, but {port.port} is known for {_BY_NUMBER[port.port]}."
        " Set the port's appProtocol to its protocol, for example http."
        f" An annotation {HTTP_PORTS.key}, also an empty one, ends this notice."
        for port in found
    )


def _unrouted(ports: Iterable[ServicePort]) -> str:
    groups: dict[str, list[ServicePort]] = {}
    for port in ports:
        groups.setdefault(_why(port), []).append(port)
    sentences = [_not_routed(groups[why], why) for why in (_UNKNOWN, _OTHERWISE, _NOT_TCP) if why in groups]
    if unclear := groups.get(_UNKNOWN):
        names = ",".join(port.name or str(port.port) for port in unclear[:SOME])
        sentences.append(f"To route what speaks HTTP, annotate the Service {HTTP_PORTS.key}={names}.")
    return " ".join([*sentences, f"An annotation {HTTP_PORTS.key}, also an empty one, ends this notice."])


def _not_routed(ports: Sequence[ServicePort], why: str) -> str:
    what = "Port {} is" if len(ports) == 1 else "Ports {} are"
    return f"{what.format(_listed(map(called, ports)))} not routed: {why}."


def _why(port: ServicePort) -> str:
    if not is_tcp(port):
        return _NOT_TCP
    return _OTHERWISE if _is_other_protocol(port) else _UNKNOWN


def called(port: ServicePort) -> str:
    """The port's number, and its name if it has one."""
    return f"{port.port} ({port.name})" if port.name else str(port.port)


def _listed(texts: Iterable[str]) -> str:
    return first_of(list(texts))
