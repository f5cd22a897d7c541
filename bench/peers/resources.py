"""What both servers serve, and how it changes: the same bytes for both, by way of files.

A Service is a cluster, an assignment of ten endpoints and, for delta clients, a virtual host. Every change
carries a mark of its own, by which a client knows that it got this change and no other.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from envoy.config.cluster.v3 import circuit_breaker_pb2, cluster_pb2
from envoy.config.core.v3 import address_pb2, config_source_pb2
from envoy.config.endpoint.v3 import endpoint_components_pb2, endpoint_pb2
from envoy.config.route.v3 import route_components_pb2
from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf.any_pb2 import Any
from google.protobuf.message import Message
from google.protobuf.wrappers_pb2 import UInt32Value

from bench.peers.wire import varint
from xds_server.base.ids import TypeUrl
from xds_server.xds.types import CLUSTER, ENDPOINT, SHORT_NAMES

VIRTUAL_HOST: Final = TypeUrl("type.googleapis.com/envoy.config.route.v3.VirtualHost")
HAS_VIRTUAL_HOSTS: Final = VIRTUAL_HOST in SHORT_NAMES
"""Whether our server serves virtual hosts by themselves. If not, they are left out on both sides."""

_ENDPOINTS_EACH: Final = 10
_STRIDE: Final = 7919  # a prime: neighbours in time are no neighbours by name
_ROUTES: Final = "gateway"


@dataclass(frozen=True, slots=True)
class Record:
    """What becomes of one resource; an empty body takes it away."""

    type_url: TypeUrl
    name: str
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Change:
    """One commit. `mark` is in a response of each type of `marked`; `subscribe` and `unsubscribe` name
    clusters whose assignments an Envoy then asks for or gives up."""

    records: tuple[Record, ...]
    mark: bytes
    marked: tuple[TypeUrl, ...]
    subscribe: tuple[str, ...] = ()
    unsubscribe: tuple[str, ...] = ()


def initial(services: int, *, virtual_hosts: bool) -> Iterator[Record]:
    """All resources at the start."""
    for number in range(services):
        name = cluster_name(number)
        yield _cluster(name)
        yield _assignment(name, number)
        if virtual_hosts:
            yield _virtual_host(number)


def cluster_name(number: int) -> str:
    return f"team-{number % 200:03d}/service-{number:06d}/http"


def endpoint_changed(services: int, turn: int) -> Change:
    """One assignment's first address is another."""
    number = turn * _STRIDE % services
    # Three digits in each place: no mark is the beginning of another.
    address = f"172.{100 + turn // 10_000 % 100}.{100 + turn // 100 % 100}.{100 + turn % 100}"
    return Change((_assignment(cluster_name(number), number, address),), address.encode(), (ENDPOINT,))


def cluster_changed(services: int, turn: int) -> Change:
    """One cluster's statistics have another name."""
    mark = f"change-{turn:06d}"
    return Change((_cluster(cluster_name(turn * _STRIDE % services), mark),), mark.encode(), (CLUSTER,))


def label_added(services: int, turn: int, *, virtual_hosts: bool) -> Change:
    """A canary's cluster and assignment are there, and where they are served its Service's virtual host
    mirrors to it."""
    number, name = turn * _STRIDE % services, _canary(turn)
    records = [_cluster(name), _assignment(name, services + turn)]
    if virtual_hosts:
        records.append(_virtual_host(number, name))
    types = (CLUSTER, ENDPOINT, VIRTUAL_HOST) if virtual_hosts else (CLUSTER, ENDPOINT)
    return Change(tuple(records), name.encode(), types, subscribe=(name,))


def labels_removed(services: int, turns: Sequence[int], *, virtual_hosts: bool) -> Change:
    """What `label_added` did in these turns is undone. State of the world removes by leaving out, so there
    is no mark."""
    records = []
    for turn in turns:
        records += [Record(CLUSTER, _canary(turn)), Record(ENDPOINT, _canary(turn))]
        if virtual_hosts:
            records.append(_virtual_host(turn * _STRIDE % services))
    return Change(tuple(records), b"", (), unsubscribe=tuple(_canary(turn) for turn in turns))


def write(path: Path, records: Iterable[Record]) -> None:
    """A file of length-delimited discovery.v3.Resource messages."""
    with path.open("wb") as file:
        for record in records:
            message = discovery_pb2.Resource(
                name=record.name, resource=Any(type_url=record.type_url, value=record.body)
            )
            body = message.SerializeToString(deterministic=True)
            file.write(varint(len(body)) + body)


def _canary(turn: int) -> str:
    return f"canary-{turn:06d}/http"


def _cluster(name: str, stat_name: str = "") -> Record:
    unlimited = UInt32Value(value=2**32 - 1)
    limits = circuit_breaker_pb2.CircuitBreakers.Thresholds(
        max_connections=unlimited, max_pending_requests=unlimited, max_requests=unlimited
    )
    source = config_source_pb2.ConfigSource(
        ads=config_source_pb2.AggregatedConfigSource(), resource_api_version=config_source_pb2.V3
    )
    message = cluster_pb2.Cluster(
        name=name,
        alt_stat_name=stat_name,
        type=cluster_pb2.Cluster.EDS,
        eds_cluster_config=cluster_pb2.Cluster.EdsClusterConfig(eds_config=source),
        per_connection_buffer_limit_bytes=UInt32Value(value=32 * 1024),
        lb_policy=cluster_pb2.Cluster.LEAST_REQUEST,
        circuit_breakers=circuit_breaker_pb2.CircuitBreakers(thresholds=[limits]),
    )
    message.connect_timeout.FromSeconds(2)
    return _record(CLUSTER, name, message)


def _assignment(name: str, number: int, first: str = "") -> Record:
    numbers = range(number * _ENDPOINTS_EACH, (number + 1) * _ENDPOINTS_EACH)
    addresses = [f"10.{each >> 16 & 255}.{each >> 8 & 255}.{each & 255}" for each in numbers]
    hosts = [_endpoint(address) for address in [first or addresses[0], *addresses[1:]]]
    locality = endpoint_components_pb2.LocalityLbEndpoints(lb_endpoints=hosts)
    message = endpoint_pb2.ClusterLoadAssignment(cluster_name=name, endpoints=[locality])
    return _record(ENDPOINT, name, message)


def _endpoint(address: str) -> endpoint_components_pb2.LbEndpoint:
    socket = address_pb2.SocketAddress(address=address, port_value=8080)
    return endpoint_components_pb2.LbEndpoint(
        endpoint=endpoint_components_pb2.Endpoint(address=address_pb2.Address(socket_address=socket))
    )


def _virtual_host(number: int, canary: str = "") -> Record:
    host = f"service-{number:06d}.team-{number % 200:03d}"
    action = route_components_pb2.RouteAction(cluster=cluster_name(number))
    if canary:
        action.request_mirror_policies.add(cluster=canary)
    match = route_components_pb2.RouteMatch(prefix="/")
    # Its name is the resource's, or Envoy ignores a removal.
    name = f"{_ROUTES}/{cluster_name(number)}"
    message = route_components_pb2.VirtualHost(
        name=name,
        domains=[host, f"{host}.svc", f"{host}.svc.cluster.local"],
        routes=[route_components_pb2.Route(match=match, route=action)],
    )
    return _record(VIRTUAL_HOST, name, message)


def _record(type_url: TypeUrl, name: str, message: Message) -> Record:
    return Record(type_url, name, message.SerializeToString(deterministic=True))
