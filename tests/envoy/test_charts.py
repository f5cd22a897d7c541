"""Services as popular charts shape them, on real Envoys: a port is reached, or there is a notice."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml

from tests.envoy.direct import Fleet, fleet
from tests.support.backends import Recorder, recorder
from tests.support.waiting import eventually
from tests.unit.pure.kube import at, from_yaml, slice_of
from tests.unit.pure.test_charts import EXPECTED, SERVICES
from xds_server.base.address import Address
from xds_server.core.conditions import notices
from xds_server.core.objects import EndpointSlice, Service, SlicePort
from xds_server.local.demo.envoy import Envoy

pytestmark = pytest.mark.envoy

METHOD = "/charts.Anything/Ask"


class _Answering(grpc.GenericRpcHandler):
    def service(self, _details: Any) -> Any:
        async def answer(_request: bytes, _context: Any) -> bytes:
            return b"grpc"

        return grpc.unary_unary_rpc_method_handler(answer)


@pytest.fixture
async def grpc_backend() -> AsyncIterator[Address]:
    """Speaks HTTP/2 alone."""
    server = grpc.aio.server(handlers=[_Answering()])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield Address("127.0.0.1", port)
    finally:
        await server.stop(None)


async def call(envoy: Envoy, host: str) -> bytes:
    options = [("grpc.default_authority", host)]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{envoy.gateway_port}", options=options) as channel:
        ask: Any = channel.unary_unary(METHOD)
        found: bytes = await ask(b"")
        return found


def slices(services: Iterable[Service], http: Recorder, h2: Address) -> list[EndpointSlice]:
    outcomes = yaml.safe_load(EXPECTED.read_text())
    found = []
    for each in services:
        routed = outcomes[each.name]["routed"]
        ports = [
            SlicePort(name=p.name, port=(h2 if routed.get(p.port) == "http2" else http.address).port)
            for p in each.ports
            if (p.protocol or "TCP") == "TCP"
        ]
        found.append(slice_of(each.name, at("127.0.0.1"), namespace=each.namespace, ports=ports))
    return found


async def test_each_port_is_reached_or_there_is_a_notice(tmp_path: Path, grpc_backend: Address) -> None:
    outcomes = yaml.safe_load(EXPECTED.read_text())
    objects = from_yaml(SERVICES.read_text())
    services = [each for each in objects if isinstance(each, Service)]
    async with recorder("http") as http:
        before = [*objects, *slices(services, http, grpc_backend)]
        async with fleet(tmp_path, *before) as running:
            await asyncio.gather(*(_reached(running, envoy, outcomes) for envoy in running.envoys))
            noted = {str(each.subject) for each in notices(running.app.reporter.server_state().conditions)}
    reported = {name for name, found in outcomes.items() if "notices" in found}
    assert noted == {f"Service charts/{name}" for name in reported}


async def _reached(running: Fleet, envoy: Envoy, outcomes: dict[str, Any]) -> None:
    """Each port that is routed by its number, and a Service of which none is by nothing."""
    for name, found in outcomes.items():
        for number, protocol in found["routed"].items():
            host = f"{name}.charts:{number}"
            if protocol == "http2":
                assert await call(envoy, host) == b"grpc", host
            else:
                await eventually(partial(_is, running, envoy, host, (200, "http")), what=host)
        if not found["routed"]:
            assert await running.get(envoy, f"{name}.charts") == (404, ""), name


async def _is(running: Fleet, envoy: Envoy, host: str, answer: tuple[int, str]) -> bool:
    return await running.get(envoy, host) == answer
