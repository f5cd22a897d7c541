"""What a mirrored request keeps, and what cannot be mirrored and is said, on real Envoys of both versions and
variants.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio

from tests.envoy.direct import Fleet, fleet
from tests.support.backends import TEST_ID, Recorder, recorder
from tests.support.waiting import eventually
from tests.unit.pure.kube import at, canary, namespace, pod, service, slice_of
from xds_server.base.address import Address
from xds_server.core.objects import Container, ContainerPort, Object, Pod, PodSpec, ServicePort, SlicePort
from xds_server.core.plan import ShadowStatus
from xds_server.local.demo.envoy import Envoy

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

HTTP, RPC = ServicePort(port=80, name="http"), ServicePort(port=81, name="grpc")
H2C = ServicePort(port=82, name="h2c")
SHADOW = "cluster.unsaid/app/h2c/shadow/canary.upstream_rq_"
CHUNKED = "transfer-encoding: chunked"
HELLO = b"5\r\nhello\r\n0\r\n\r\n"
HERE = "127.0.0.1"


@dataclass
class Calls(grpc.GenericRpcHandler):
    """A gRPC server that remembers the metadata of each call, by its id."""

    address: Address
    seen: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    def service(self, details: Any) -> Any:
        metadata = dict(details.invocation_metadata)

        async def answer(request: bytes, context: Any) -> bytes:
            self.seen[metadata[TEST_ID]] = metadata
            context.set_trailing_metadata((("x-checksum", "1"),))
            return request

        return grpc.unary_unary_rpc_method_handler(answer)


@contextlib.asynccontextmanager
async def grpc_server() -> AsyncIterator[Calls]:
    calls = Calls(Address(HERE, 0))
    server = grpc.aio.server(handlers=[calls])
    calls.address = Address(HERE, server.add_insecure_port(f"{HERE}:0"))
    await server.start()
    try:
        yield calls
    finally:
        await server.stop(None)


@dataclass
class World:
    """The fleet with its backends; `ids` numbers the requests."""

    fleet: Fleet
    stable: Recorder
    canary: Recorder
    live_calls: Calls
    calls: Calls
    ids: int = 0

    def new_id(self) -> str:
        self.ids += 1
        return f"w{self.ids}"

    def shadow(self, of: str) -> ShadowStatus | None:
        found = (s for s in self.fleet.app.reporter.server_state().shadows if s.namespace == of)
        return next(found, None)

    async def until(self, of: str, state: str, reason: str = "") -> ShadowStatus:
        """Wait for the only shadow of a namespace."""

        def there() -> bool:
            found = self.shadow(of)
            return found is not None and found.state == state and reason in ("", found.reason)

        await eventually(there, what=f"{state} {reason} in {of}")
        shadow = self.shadow(of)
        assert shadow is not None
        return shadow

    async def post(self, envoy: Envoy, host: str, *lines: str, body: bytes = b"") -> str:
        """A POST with just these header lines and this body as they stand; returns its id."""
        test_id = self.new_id()
        head = ["POST / HTTP/1.1", f"host: {host}", f"{TEST_ID}: {test_id}", "connection: close", *lines]
        reader, writer = await asyncio.open_connection(HERE, envoy.gateway_port)
        try:
            writer.write("\r\n".join([*head, "", ""]).encode() + body)
            assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
        finally:
            writer.close()
        return test_id

    async def call(self, envoy: Envoy, host: str) -> str:
        """A gRPC call, which the stable version answers; returns its id."""
        test_id = self.new_id()
        options = [("grpc.default_authority", host)]
        async with grpc.aio.insecure_channel(f"{HERE}:{envoy.gateway_port}", options=options) as channel:
            ask: Any = channel.unary_unary("/shop.Cart/Get")
            assert await ask(b"x", metadata=((TEST_ID, test_id),)) == b"x"
        assert test_id in self.live_calls.seen
        return test_id

    async def mirrored(self, send: Callable[[Envoy], Awaitable[str]], seen: Callable[[str], object]) -> None:
        """Wait until a request is mirrored by every Envoy: that the configuration has arrived."""
        for envoy in self.fleet.envoys:

            async def arrives(envoy: Envoy = envoy) -> bool:
                with contextlib.suppress(AssertionError, grpc.aio.AioRpcError):  # not there yet
                    test_id = await send(envoy)
                    await eventually(partial(seen, test_id), within=0.5)
                    return True
                return False

            await eventually(arrives, what=f"a mirrored request of {envoy.id}")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with (
        recorder("stable") as stable,
        recorder("canary") as other,
        grpc_server() as live_calls,
        grpc_server() as calls,
    ):
        directory: Path = tmp_path_factory.mktemp("mirrored")
        async with fleet(directory, namespace("first"), service("app", namespace="first")) as running:
            yield World(running, stable, other, live_calls, calls)


def stage(
    name: str, world: World, *objects: Object, ports: tuple[ServicePort, ...] = (HTTP,), **annotations: str
) -> list[Object]:
    """A namespace with the Service ``app``, whose HTTP/1 port leads to the recorders and whose others to the
    gRPC servers, and its canary."""

    def listed(http: Address, rpc: Address) -> dict[str, int]:
        return {str(each.name): (http if each is HTTP else rpc).port for each in ports}

    live, mirrored = (
        listed(world.stable.address, world.live_calls.address),
        listed(world.canary.address, world.calls.address),
    )
    named = tuple(
        ServicePort(port=each.port, name=each.name, target_port=each.name, app_protocol=each.app_protocol)
        for each in ports
    )
    found: list[Object] = [
        namespace(name),
        service("app", namespace=name, ports=named, selector={"app": "app"}),
        slice_of("app", at(HERE), namespace=name, ports=[SlicePort(name=n, port=p) for n, p in live.items()]),
        canary("canary", "app", namespace=name, **annotations),
    ]
    return [*found, *(objects or [pod("canary-1", "canary", HERE, namespace=name, ports=mirrored)])]


async def test_the_length_of_a_body_is_said_as_the_client_said_it(world: World) -> None:
    world.fleet.source.put(*stage("length", world))
    await world.until("length", "Active")
    spoofed = "x-xds-shadow-content-length: 9"
    await world.mirrored(lambda envoy: world.post(envoy, "app.length"), world.canary.of)
    for envoy in world.fleet.envoys:
        for lines, body in (
            ([CHUNKED, spoofed], HELLO),
            (["content-length: 5"], b"hello"),
            (["content-length: 0", spoofed], b""),
        ):
            test_id = await world.post(envoy, "app.length", *lines, body=body)
            await world.canary.until_seen(test_id)
            [live], [mirrored] = world.stable.of(test_id), world.canary.of(test_id)
            for name in ("content-length", "transfer-encoding"):
                assert mirrored.headers.get(name) == live.headers.get(name), (envoy.id, lines)
            assert mirrored.headers.get("content-length") == (None if CHUNKED in lines else str(len(body)))
            assert mirrored.body == live.body
            assert [name for name in mirrored.headers if name.startswith("x-xds-shadow")] == ["x-xds-shadow"]


async def test_a_grpc_call_gets_no_length(world: World) -> None:
    world.fleet.source.put(*stage("rpc", world, ports=(HTTP, RPC)))
    await world.until("rpc", "Active")
    await world.mirrored(lambda envoy: world.call(envoy, "app.rpc:81"), world.calls.seen.get)
    for envoy in world.fleet.envoys:
        test_id = await world.call(envoy, "app.rpc:81")
        await eventually(partial(world.calls.seen.get, test_id), what="the mirrored call")
        assert world.calls.seen[test_id]["x-xds-shadow"] == "rpc/canary"
        assert "content-length" not in world.calls.seen[test_id]


async def test_a_named_target_port_is_a_tcp_port(world: World) -> None:
    udp = ContainerPort(container_port=4433, name="http", protocol="UDP")
    tcp = ContainerPort(container_port=world.canary.address.port, name="http", protocol="TCP")
    template = pod("canary-1", "canary", HERE, namespace="names")
    spec = PodSpec(containers=(Container(ports=(udp,)), Container(ports=(tcp,))))
    world.fleet.source.put(*stage("names", world, Pod(template.metadata, spec=spec, status=template.status)))
    shadow = await world.until("names", "Active")
    assert [str(each) for each in shadow.endpoints] == [f"{HERE}:{world.canary.address.port}"]
    await world.mirrored(lambda envoy: world.post(envoy, "app.names", "content-length: 0"), world.canary.of)


async def test_redact_mirrors_no_grpc_call_and_that_is_said(world: World) -> None:
    world.fleet.source.put(*stage("masked", world, ports=(RPC,), redact="json:/a"))
    shadow = await world.until("masked", "Rejected", "CannotRedact")
    assert "Service masked/app speaks gRPC, whose messages it cannot read" in shadow.message
    # Two ports: what can be mirrored is.
    world.fleet.source.put(*stage("half", world, ports=(HTTP, RPC), redact="json:/a"))
    shadow = await world.until("half", "Active")
    assert shadow.message.endswith("Requests of port 81 are not: it speaks gRPC, which redact cannot read.")
    # Where a port does not say that it speaks gRPC, Envoy sends none of its calls: so the rejection is right.
    world.fleet.source.put(*stage("unsaid", world, ports=(HTTP, H2C), redact="json:/a"))
    await world.until("unsaid", "Active")
    await world.mirrored(lambda envoy: world.post(envoy, "app.unsaid"), world.canary.of)
    for envoy in world.fleet.envoys:
        calls = [await world.call(envoy, "app.unsaid:82") for _ in range(3)]
        await eventually(partial(_rejected, envoy, len(calls)), what="an end of each mirrored call")
        assert not world.calls.seen.keys() & set(calls)


async def _rejected(envoy: Envoy, count: int) -> bool:
    """Whether so many mirrored calls got to the shadow cluster, and all of them are over: before there was a
    connection, or after."""
    stats = await envoy.stats(f"^{SHADOW}(total|cancelled|active)$")
    *over, active = (stats.get(f"{SHADOW}{name}", 0) for name in ("total", "cancelled", "active"))
    return sum(over) == count and not active


async def test_endpoints_are_not_taken_from_where_there_are_none(world: World) -> None:
    green = "service/green"
    elsewhere = service("green", namespace="external", ports=None, kind="ExternalName")
    world.fleet.source.put(*stage("external", world, elsewhere, endpoints_from=green))
    shadow = await world.until("external", "Rejected", "NoEndpoints")
    assert "is an ExternalName and has none" in shadow.message
    names = slice_of("green", at("db.example.com"), namespace="fqdn", family="FQDN")
    world.fleet.source.put(
        *stage("fqdn", world, service("green", namespace="fqdn"), names, endpoints_from=green)
    )
    shadow = await world.until("fqdn", "Rejected", "NoEndpoints")
    assert "are of addressType FQDN, and only IP addresses get mirrored requests" in shadow.message
    others = service("green", namespace="ports", ports=(RPC, H2C))
    world.fleet.source.put(*stage("ports", world, others, endpoints_from=green))
    shadow = await world.until("ports", "Rejected", "NoEndpoints")
    assert "has the name or number of a routed port of Service ports/app (80 (http))" in shadow.message


async def test_a_service_whose_endpoints_are_names_has_a_problem(world: World) -> None:
    names = slice_of("app", at("db.example.com"), namespace="named", family="FQDN")
    world.fleet.source.put(namespace("named"), service("app", namespace="named"), names)
    await eventually(lambda: "EndpointSlice named/app-1" in world.fleet.problems(), what="the problem")
    assert "only IPv4 and IPv6 are routed" in world.fleet.problems()["EndpointSlice named/app-1"]
    await world.fleet.until("app.named", 503)
