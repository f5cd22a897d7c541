"""The gateway file (``--gateway FILE``): listeners, and how their connection manager treats requests.

`FIELDS` is the only table of keys: how each is read, its defaults in both profiles, its meaning, and what a
change does to open connections. docs/gateway.md is generated from it. An empty file is the transparent
profile: requests arrive as they were sent.

No I/O here; `gateway_file` reads the file.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from xds_server.base.errors import XdsShadowError
from xds_server.base.text import shown, suggestion
from xds_server.translate import gateway_values as values
from xds_server.translate.gateway_values import ValueProblem
from xds_server.translate.names import GATEWAY


class GatewayError(XdsShadowError):
    """The gateway file is invalid. The message has the key and what to write instead."""


class Profile(StrEnum):
    """The set of defaults."""

    TRANSPARENT = "transparent"
    HARDENED = "hardened"


class Underscores(StrEnum):
    """What happens to a request with an underscore in a header name."""

    ALLOW = "allow"
    DROP = "drop"
    REJECT = "reject"


class OtherMethods(StrEnum):
    """What happens to a request with a method that Envoy does not know."""

    ALLOW = "allow"
    REJECT = "reject"


class OtherUpgrades(StrEnum):
    """What happens to a request for an upgrade that is not in `upgrades`."""

    IGNORE = "ignore"
    REJECT = "reject"


class AccessLog(StrEnum):
    """Where the access log goes."""

    OFF = "off"
    JSON = "json"


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayListener:
    """A listener, and the route configuration of the same name. If `port` is None, the port is that of
    ``--gateway-port``. `addresses` are canonical IP addresses; there is at least one."""

    name: str = GATEWAY
    port: int | None = None
    addresses: tuple[str, ...] = (values.EVERY_IPV4,)


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayConfig:
    """A parsed gateway file. Timeouts are in seconds; None means no timeout. The gateway trusts
    `trusted_hops` entries of forwarded headers from peers in `trusted_cidrs`; without `trusted_cidrs`, from
    all peers."""

    profile: Profile
    normalize_paths: bool
    header_underscores: Underscores
    keep_request_id: bool
    http10: bool
    http1_trailers: bool
    other_methods: OtherMethods
    upgrades: tuple[str, ...]
    other_upgrades: OtherUpgrades
    stream_idle_timeout: float | None
    connection_idle_timeout: float | None
    request_headers_timeout: float | None
    trusted_hops: int
    trusted_cidrs: tuple[values.Cidr, ...]
    access_log: AccessLog
    listeners: tuple[GatewayListener, ...]

    def check_ports(self, port: int) -> None:
        """Check that no other listener has `port`, the port of listeners that name none.

        Raises:
            GatewayError: another listener has it.
        """
        names = [each.name for each in self.listeners if (each.port or port) == port]
        if len(names) > 1:
            raise GatewayError(
                f"listeners: {' and '.join(names)} have the port {port}, that of --gateway-port where none is"
                " written; give each its own"
            )

    def check_change(self, before: "GatewayConfig", port: int) -> None:
        """Check that no listener takes the port of another listener in `before`. Envoy rejects the new
        listener because the old one still listens, and then removes the old one.

        Raises:
            GatewayError: a listener does.
        """
        held = {each.port or port: each.name for each in before.listeners}
        for each in self.listeners:
            other = held.get(each.port or port, each.name)
            if other != each.name:
                raise GatewayError(
                    f"listeners: {each.name} has port {each.port or port}, at which {other} listens; keep the"
                    " name, or change the port first"
                )

    def gateways(self, route_configs: Iterable[str] = ()) -> tuple[str, ...]:
        """The names of all gateways: those of the listeners, and `route_configs`, sorted."""
        return tuple(sorted({*route_configs, *(each.name for each in self.listeners)}))


class Effect(StrEnum):
    """What a change of a field does to open connections: Envoy drains them, and accepts new ones on the same
    sockets or on others."""

    DRAIN = "drained"
    SOCKETS = "drained, sockets reopened"


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One key of the file. `read` parses its YAML value (strings, lists and mappings) and raises
    `ValueProblem`. `transparent` and `hardened` are the defaults as one would write them; `page` is the
    default in the documentation where it differs."""

    key: str
    read: Callable[[object], Any]
    write: str
    transparent: object
    hardened: object
    page: str = ""
    meaning: str
    effect: Effect = Effect.DRAIN

    def default(self, profile: Profile) -> object:
        """The default as one would write it."""
        return self.transparent if profile is Profile.TRANSPARENT else self.hardened


def _listener(found: object) -> GatewayListener:
    """One entry of `listeners`."""
    entry = values.mapping(found, "name, port and addresses")
    _only_known(entry, ("name", "port", "addresses"))
    name = _read("name", values.name, entry.get("name", GATEWAY))
    if "port" not in entry and name != GATEWAY:
        raise ValueProblem(f"port: listener {name} needs one; write port: 8081")
    return GatewayListener(
        name=name,
        port=_read("port", values.port, entry["port"]) if "port" in entry else None,
        addresses=_read("addresses", values.addresses, entry.get("addresses", [values.EVERY_IPV4])),
    )


def _listeners(found: object) -> tuple[GatewayListener, ...]:
    listed = values.entries(found, "- name: gateway", _listener)
    if not listed:
        raise ValueProblem(f"is empty; write at least one, such as - name: {GATEWAY}")
    for key in ("name", "port"):
        taken = [getattr(each, key) for each in listed]
        again = next((each for each in taken if taken.count(each) > 1), None)
        if again is not None:
            raise ValueProblem(f"two have the {key} {again}; give each its own")
    if GATEWAY not in [each.name for each in listed]:
        raise ValueProblem(
            f"none is named {GATEWAY}, so the port of --gateway-port would close; name one so, with any port"
        )
    return tuple(listed)


def _other_upgrades(found: object) -> OtherUpgrades:
    """`refuse` is the former name of `reject`."""
    return OtherUpgrades.REJECT if found == "refuse" else values.one_of(OtherUpgrades)(found)


FIELDS: Final = (
    Field(
        key="profile",
        read=values.one_of(Profile),
        write="`transparent` or `hardened`",
        transparent="transparent",
        hardened="hardened",
        page="`transparent`",
        meaning="The defaults of the other fields. `transparent` forwards a request as it was sent."
        " `hardened` follows Envoy's best practices for an edge proxy.",
    ),
    Field(
        key="normalize-paths",
        read=values.yes_or_no,
        write="`true` or `false`",
        transparent="false",
        hardened="true",
        meaning="`false`: the path is forwarded as it was sent. `true`: `.` and `..` are resolved, `//`"
        " becomes `/`, and a path with an escaped slash (`%2F`, `%5C`) is redirected (307) to the unescaped"
        " path.",
    ),
    Field(
        key="header-underscores",
        read=values.one_of(Underscores),
        write="`allow`, `drop` or `reject`",
        transparent="allow",
        hardened="reject",
        meaning="A header with `_` in its name, gRPC metadata included, is forwarded, dropped, or its request"
        " is rejected with 400 (HTTP/2: the stream is reset).",
    ),
    Field(
        key="keep-request-id",
        read=values.yes_or_no,
        write="`true` or `false`",
        transparent="true",
        hardened="false",
        meaning="Whether the client's `x-request-id` is kept. A request without one always gets a new one.",
    ),
    Field(
        key="http10",
        read=values.yes_or_no,
        write="`true` or `false`",
        transparent="true",
        hardened="false",
        meaning="Whether HTTP/1.0 is accepted, or rejected with 426. HTTP/1.1 and HTTP/2 (with prior"
        " knowledge) are always accepted.",
    ),
    Field(
        key="http1-trailers",
        read=values.yes_or_no,
        write="`true` or `false`",
        transparent="true",
        hardened="false",
        meaning="Whether trailers after a chunked body (HTTP/1.1) are forwarded, in both directions."
        " Trailers of HTTP/2 are always forwarded.",
    ),
    Field(
        key="other-methods",
        read=values.one_of(OtherMethods),
        write="`allow` or `reject`",
        transparent="allow",
        hardened="reject",
        meaning="An HTTP/1 request with a custom method, such as `INVALIDATE`, is forwarded, or rejected"
        " with 400. Registered methods are always forwarded. (Envoy logs a warning that its field for this,"
        " `allow_custom_methods`, is work in progress.)",
    ),
    Field(
        key="upgrades",
        read=values.upgrades,
        write="a list of tokens, such as `[websocket, spdy/3.1]`",
        transparent=["websocket"],
        hardened=["websocket"],
        meaning="The protocols to which a connection may be upgraded (`Upgrade:`), case-insensitive."
        " Requests for these upgrades are never mirrored. A request with a body is served without the"
        " upgrade.",
    ),
    Field(
        key="other-upgrades",
        read=_other_upgrades,
        write="`ignore` or `reject`",
        transparent="ignore",
        hardened="reject",
        meaning="A request for another upgrade, such as `TLS/1.2`, is served and mirrored without the"
        " upgrade, or rejected with 403. `h2c` is always ignored.",
    ),
    Field(
        key="stream-idle-timeout",
        read=values.duration,
        write="`none`, or a duration such as `5m`",
        transparent="none",
        hardened="5m",
        meaning="The time without a byte in either direction after which a request, a stream or an upgraded"
        " connection ends: with 408 or 504, or with a reset if the response has begun.",
    ),
    Field(
        key="connection-idle-timeout",
        read=values.duration,
        write="`none`, or a duration such as `1h`",
        transparent="1h",
        hardened="1h",
        meaning="The time after which a connection without requests is closed.",
    ),
    Field(
        key="request-headers-timeout",
        read=values.duration,
        write="`none`, or a duration such as `10s`",
        transparent="10s",
        hardened="10s",
        meaning="The time in which a client must send all headers of a request, from their first byte."
        " After it, the response is 408.",
    ),
    Field(
        key="trusted-hops",
        read=values.hops,
        write="a number from 0 to 10",
        transparent="",
        hardened="",
        page="1 with `trusted-cidrs`, else 0",
        meaning="How many proxies in front of the gateway are trusted. With 1 or more, `X-Forwarded-Proto`"
        " is kept, and the client's address is the one that the outermost trusted proxy added to"
        " `X-Forwarded-For`. With 0, the gateway sets `X-Forwarded-Proto`. `X-Forwarded-For` is always"
        " forwarded, with the peer's address appended.",
    ),
    Field(
        key="trusted-cidrs",
        read=values.cidrs,
        write="a list of networks, such as `[10.0.0.0/8, fd00::/8]`",
        transparent=[],
        hardened=[],
        page="none; with `trusted-hops`, every peer",
        meaning="Only peers in these networks are trusted, up to `trusted-hops`.",
    ),
    Field(
        key="access-log",
        read=values.one_of(AccessLog),
        write="`off` or `json`",
        transparent="off",
        hardened="off",
        meaning="`json`: one JSON line for each request on Envoy's standard output.",
    ),
    Field(
        key="listeners",
        read=_listeners,
        write="a list of `name`, `port` and `addresses`",
        transparent=[{}],
        hardened=[{}],
        page="one: `gateway`, on the port of `--gateway-port`, at `0.0.0.0`",
        meaning="The gateway's listeners; one is named `gateway`. The address `::` accepts IPv6 and IPv4."
        " Each listener has a route configuration of the same name. A Service is in all of them unless its"
        " annotation `gateways` names some.",
        effect=Effect.SOCKETS,
    ),
)
"""Every key, in the order of the page."""


def gateway_config(document: object = None) -> GatewayConfig:
    """Parse a gateway file. `document` is its YAML with every scalar as the string that was written; None is
    an empty file.

    Raises:
        GatewayError: the file is invalid; the message begins with the key.
    """
    try:
        found = values.mapping({} if document is None else document, "profile: transparent")
        _only_known(found, [field.key for field in FIELDS])
        profile = _read("profile", values.one_of(Profile), found.get("profile", Profile.TRANSPARENT.value))
        read = {
            field.key: _read(field.key, field.read, found.get(field.key, field.default(profile)))
            for field in FIELDS
        }
        read["trusted-hops"] = _hops(read["trusted-hops"], read["trusted-cidrs"])
    except ValueProblem as problem:
        raise GatewayError(str(problem)) from None
    return GatewayConfig(**{key.replace("-", "_"): value for key, value in read.items()})


def _hops(wanted: int | None, cidrs: tuple[values.Cidr, ...]) -> int:
    if wanted == 0 and cidrs:
        raise ValueProblem("trusted-hops: 0 trusts no peer, but trusted-cidrs names peers; leave one out")
    return wanted if wanted is not None else int(bool(cidrs))


def _read(key: str, read: Callable[[object], Any], found: object) -> Any:
    try:
        return read(found)
    except ValueProblem as problem:
        between = "" if str(problem).startswith("[") else ": "
        raise ValueProblem(f"{key}{between}{problem}") from None


def _only_known(found: Mapping[str, object], known: list[str] | tuple[str, ...]) -> None:
    for key in found:
        if key not in known:
            raise ValueProblem(f"{shown(key)} is not a key of a gateway file; {suggestion(key, known)}")


TRANSPARENT: Final = gateway_config()
"""The gateway without a file."""

HARDENED: Final = gateway_config({"profile": Profile.HARDENED.value})
