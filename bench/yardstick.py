"""What any program that does this work in Python would need: to decode the same lists, and to build and
serialize the same messages once.

Messages are nested as protobuf's own documentation nests them, from the decoded slices where they hold
endpoints, which are most of the work. Faster is to hand over all fields as plain values; what that takes with
values that are at hand beforehand is a bound that no program can reach. What comes out is compared with what
the control plane serves, so that it is the same work.
"""

import gc
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, Self, TypeVar

import aiohttp
import msgspec
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.core.v3 import address_pb2
from envoy.config.endpoint.v3 import endpoint_components_pb2, endpoint_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_components_pb2, route_pb2
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from xds_server.base.errors import XdsShadowError
from xds_server.base.ids import TypeUrl
from xds_server.core.objects import Deployment, EndpointSlice, Kind, Namespace, Service
from xds_server.xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE, VIRTUAL_HOST

_PATHS: Final = {
    Kind.NAMESPACE: "/api/v1/namespaces",
    Kind.SERVICE: "/api/v1/services",
    Kind.DEPLOYMENT: "/apis/apps/v1/deployments",
    Kind.ENDPOINT_SLICE: "/apis/discovery.k8s.io/v1/endpointslices",
}
_MESSAGES: Final[Mapping[TypeUrl, type[Message]]] = {
    CLUSTER: cluster_pb2.Cluster,
    ENDPOINT: endpoint_pb2.ClusterLoadAssignment,
    LISTENER: listener_pb2.Listener,
    ROUTE: route_pb2.RouteConfiguration,
    VIRTUAL_HOST: route_components_pb2.VirtualHost,
}

T = TypeVar("T")


class _Page(msgspec.Struct, Generic[T]):
    metadata: dict[str, Any]
    items: list[T]


_DECODERS: Final[dict[Kind, Any]] = {
    Kind.NAMESPACE: msgspec.json.Decoder(_Page[Namespace]),
    Kind.SERVICE: msgspec.json.Decoder(_Page[Service]),
    Kind.DEPLOYMENT: msgspec.json.Decoder(_Page[Deployment]),
    Kind.ENDPOINT_SLICE: msgspec.json.Decoder(_Page[EndpointSlice]),
}


@dataclass(frozen=True)
class Yardstick:
    """Seconds: to fetch the lists, which the control plane must too; to decode them; to build and serialize
    the messages, and at the very least."""

    fetch_s: float
    decode_s: float
    build_s: float
    least_build_s: float

    @property
    def needed_s(self) -> float:
        """Decoding and building, without fetching."""
        return self.decode_s + self.build_s

    @property
    def least_s(self) -> float:
        """The same at the very least."""
        return self.decode_s + self.least_build_s


async def measure(url: str, held: Mapping[TypeUrl, Mapping[str, bytes]]) -> Yardstick:
    """Of the cluster at `url`, and of what the control plane serves for it.

    Raises:
        XdsShadowError: what was built is not what is served.
    """
    gc.disable()  # as good as the control plane does
    try:
        lists = await _Lists.of(url)
        work = _Work(lists, held)
        return Yardstick(lists.fetch_s, lists.decode_s, work.nested(), work.plain())
    finally:
        gc.enable()


class _Lists:
    """Everything that the API has, by kind."""

    def __init__(self) -> None:
        self.fetch_s = self.decode_s = 0.0
        self.objects: dict[Kind, list[Any]] = {}

    @classmethod
    async def of(cls, url: str) -> Self:
        """Page by page."""
        lists = cls()
        async with aiohttp.ClientSession(url) as session:
            for kind, path in _PATHS.items():
                found = lists.objects[kind] = []
                token: str | None = ""
                while token is not None:
                    query = {"limit": "500"} | ({"continue": token} if token else {})
                    page = await lists.page(session, kind, path, query)
                    found += page.items
                    token = page.metadata.get("continue") or None
        return lists

    async def page(
        self, session: aiohttp.ClientSession, kind: Kind, path: str, query: Mapping[str, str]
    ) -> _Page[Any]:
        """One page, timed."""
        began = time.perf_counter()
        async with session.get(path, params=query) as response:
            body = await response.read()
        fetched = time.perf_counter()
        page: _Page[Any] = _DECODERS[kind].decode(body)
        self.fetch_s += fetched - began
        self.decode_s += time.perf_counter() - fetched
        return page


class _Work:
    """All messages that are `held`, to be built anew."""

    def __init__(self, lists: _Lists, held: Mapping[TypeUrl, Mapping[str, bytes]]) -> None:
        slices = {(each.namespace, each.service): each for each in lists.objects[Kind.ENDPOINT_SLICE]}
        self._assignments: list[tuple[str, EndpointSlice]] = []
        self._messages: list[Message] = []
        for type_url, bodies in held.items():
            for name, body in bodies.items():
                namespace, service, _, *shadow = name.split("/") if type_url == ENDPOINT else ("", "", "")
                if not shadow and (namespace, service) in slices:
                    self._assignments.append((name, slices[namespace, service]))
                self._messages.append(_MESSAGES[type_url].FromString(body))

    def nested(self) -> float:
        """Seconds with constructors."""
        known = {name for name, _ in self._assignments}
        others = [
            _Plan.of(message)
            for message in self._messages
            if getattr(message, "cluster_name", "") not in known
        ]
        began = time.perf_counter()
        built = [_assignment(name, of) for name, of in self._assignments]
        built += [plan.build().SerializeToString(deterministic=True) for plan in others]
        took = time.perf_counter() - began
        self._same(built)
        return took

    def plain(self) -> float:
        """Seconds with nothing but values that are at hand."""
        work = [(type(message), _arguments(message)) for message in self._messages]
        began = time.perf_counter()
        built = [make(**arguments).SerializeToString(deterministic=True) for make, arguments in work]
        took = time.perf_counter() - began
        self._same(built)
        return took

    def _same(self, built: Iterable[bytes]) -> None:
        served = (message.SerializeToString(deterministic=True) for message in self._messages)
        if sorted(built) != sorted(served):
            raise XdsShadowError("what the yardstick built is not what is served")


def _assignment(name: str, of: EndpointSlice) -> bytes:
    [port] = of.ports or ()
    hosts = [
        endpoint_components_pb2.LbEndpoint(
            endpoint=endpoint_components_pb2.Endpoint(
                address=address_pb2.Address(
                    socket_address=address_pb2.SocketAddress(address=address, port_value=port.port)
                )
            )
        )
        for address in sorted(each.addresses[0] for each in of.endpoints or ())
    ]
    locality = endpoint_components_pb2.LocalityLbEndpoints(lb_endpoints=hosts)
    message = endpoint_pb2.ClusterLoadAssignment(cluster_name=name, endpoints=[locality])
    body: bytes = message.SerializeToString(deterministic=True)
    return body


@dataclass(frozen=True, slots=True)
class _Plan:
    """How to nest a message: its scalars, and the plans of what is in it."""

    make: type[Message]
    scalars: Mapping[str, Any]
    one: Sequence[tuple[str, "_Plan"]]
    many: Sequence[tuple[str, Sequence["_Plan"]]]

    @classmethod
    def of(cls, message: Message) -> "_Plan":
        scalars, one, many = {}, [], []
        for field, value in message.ListFields():
            if field.message_type is None or field.message_type.GetOptions().map_entry:
                scalars[field.name] = _argument(field, value)
            elif _repeats(field):
                many.append((field.name, [cls.of(each) for each in value]))
            else:
                one.append((field.name, cls.of(value)))
        return cls(type(message), scalars, one, many)

    def build(self) -> Message:
        """The message."""
        nested: dict[str, Any] = {name: plan.build() for name, plan in self.one}
        for name, plans in self.many:
            nested[name] = [plan.build() for plan in plans]
        return self.make(**self.scalars, **nested)


def _arguments(message: Message) -> dict[str, Any]:
    return {field.name: _argument(field, value) for field, value in message.ListFields()}


def _argument(field: FieldDescriptor, value: Any) -> Any:
    if field.message_type is None:
        return list(value) if _repeats(field) else value
    if field.message_type.GetOptions().map_entry:
        return {key: _arguments(each) if isinstance(each, Message) else each for key, each in value.items()}
    return [_arguments(each) for each in value] if _repeats(field) else _arguments(value)


def _repeats(field: FieldDescriptor) -> bool:
    return bool(field.is_repeated)
