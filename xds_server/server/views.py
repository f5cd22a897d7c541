"""The view of a node: the part of the snapshot that it is served.

In ``node.metadata`` an Envoy can request its own gateway port and address, and limit itself to namespaces.
"""

from collections.abc import Collection, Mapping
from typing import Final, NamedTuple

from xds_server.base.address import MAX_PORT, ip_text
from xds_server.base.errors import RequestDeniedError, RequestError
from xds_server.base.text import plain
from xds_server.translate.listeners import logging, moved
from xds_server.translate.names import LISTENER_KEY
from xds_server.translate.node_metadata import ACCESS_LOGS, GATEWAY_ADDRESS, GATEWAY_PORT, NAMESPACES
from xds_server.translate.upstream_log import CEL_EXTENSION
from xds_server.xds.cache import Derived
from xds_server.xds.resource import Resource
from xds_server.xds.snapshot import EMPTY, Snapshot, TypeSnapshot

_LONGEST_LIST: Final = 16 * 1024
_NAMED: Final = 3
_SHOWN: Final = 100


class View(NamedTuple):
    """The gateway port and address, None for those of the installation, and the namespaces, None for all.
    `logs` is whether its listeners log requests to the control plane."""

    gateway_port: int | None = None
    namespaces: frozenset[str] | None = None
    gateway_address: str | None = None
    logs: bool = False


def view_of(
    metadata: Mapping[str, object],
    allowed: frozenset[str] | None = None,
    log_filters: Collection[str] = (),
) -> View:
    """The view that a node requests, within the namespaces that it is `allowed` to see (None: all), and with
    what its `log_filters` (see `Node`) can do.

    Raises:
        RequestError: the metadata is invalid. The message is for the operator of the Envoy.
        RequestDeniedError: it requests a namespace that it may not see.
    """
    wanted = _namespaces(metadata.get(NAMESPACES))
    if allowed is not None and wanted is not None and not wanted <= allowed:
        more = ", ".join(plain(each, _SHOWN) for each in sorted(wanted - allowed)[:_NAMED])
        raise RequestDeniedError(f"node.metadata {NAMESPACES} requests {more}, which this client may not see")
    return View(
        _port(metadata.get(GATEWAY_PORT)),
        allowed if wanted is None else wanted,
        _address(metadata.get(GATEWAY_ADDRESS)),
        # A listener that names an extension or a cluster that the Envoy does not have is rejected.
        metadata.get(ACCESS_LOGS) == "true" and CEL_EXTENSION in log_filters,
    )


def _port(wanted: object) -> int | None:
    if wanted is None:
        return None
    # The port is a number or a string. Numbers of a Struct are floats, including NaN and infinities.
    text = str(wanted).removesuffix(".0")
    if text.isdecimal() and len(text) <= len(str(MAX_PORT)) and 1 <= int(text) <= MAX_PORT:
        return int(text)
    shown = plain(repr(wanted), _SHOWN)
    raise RequestError(f"node.metadata {GATEWAY_PORT} is {shown}, not a port from 1 to {MAX_PORT}")


def _address(wanted: object) -> str | None:
    if wanted is None:
        return None
    found = ip_text(wanted) if isinstance(wanted, str) else None
    if found is None:
        shown = plain(str(wanted), _SHOWN)
        raise RequestError(f"node.metadata {GATEWAY_ADDRESS} is {shown!r}, not an IP address")
    return found


def _namespaces(wanted: object) -> frozenset[str] | None:
    if wanted is None:
        return None
    found = frozenset(wanted.replace(" ", "").split(",")) if isinstance(wanted, str) else frozenset({""})
    if "" in found or len(str(wanted)) > _LONGEST_LIST:
        # It must not mean all namespaces: the operator wants to limit this Envoy.
        raise RequestError(f"node.metadata {NAMESPACES} must be a string of namespaces separated by commas")
    return found


def derive(base: Snapshot, view: View, before: Derived | None) -> Snapshot:
    """The view of a snapshot. The cost depends on what changed since `before`."""
    found = base if view.namespaces is None else _limited(base, view.namespaces, before)
    if (view.gateway_port, view.gateway_address, view.logs) == (None, None, False):
        return found
    listeners = base.of(LISTENER_KEY.type_url).resources
    old = before.snapshot.of(LISTENER_KEY.type_url) if before else EMPTY
    gone = [name for name in old.resources if name not in listeners]
    shown = old.updated([_seen(each, view) for each in listeners.values()], gone)
    return found.with_types({LISTENER_KEY.type_url: shown})


def _seen(listener: Resource, view: View) -> Resource:
    """A listener as a view has it. The port and address of a node apply to the default gateway only."""
    if listener.key == LISTENER_KEY and (view.gateway_port, view.gateway_address) != (None, None):
        listener = moved(listener, port=view.gateway_port, address=view.gateway_address)
    return logging(listener) if view.logs else listener


def _limited(base: Snapshot, namespaces: frozenset[str], before: Derived | None) -> Snapshot:
    types = {}
    for type_url, new in base.types.items():
        old = before.base.of(type_url) if before else EMPTY
        shown = before.snapshot.of(type_url) if before else EMPTY
        types[type_url] = shown if new is old else _limited_type(new, old, shown, namespaces)
    return Snapshot().with_types(types)


def _limited_type(
    new: TypeSnapshot, old: TypeSnapshot, shown: TypeSnapshot, namespaces: frozenset[str]
) -> TypeSnapshot:
    def visible(resource: Resource) -> bool:
        return not resource.scope or resource.scope in namespaces

    changes = new.changes_since(old)
    return shown.updated(
        (resource for resource in changes.upserts.resources if visible(resource)),
        [resource.name for resource in changes.gone],
    )
