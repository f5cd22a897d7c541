"""What status says of the requests of a shadow, by the load reports of a real Envoy: of each version and
variant, with a listener of ours and with its own."""

import asyncio
import contextlib
import itertools
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
from aiohttp import web

from tests.envoy.scenarios.stage import BINARIES
from tests.support import objects
from tests.support.backends import dead, serving
from tests.support.observed_fleet import control_plane, envoy_of
from tests.support.waiting import eventually
from tests.unit.test_app import ScriptedSource
from tests.unit.test_pipeline import _changes
from xds_server.base.address import Address
from xds_server.core.plan import ShadowStatus
from xds_server.local.demo.envoy import Envoy
from xds_server.server.app import App
from xds_server.xds.stream_events import Variant

pytestmark = pytest.mark.envoy

WAYS = [
    pytest.param(version, variant, own, id=f"{version}-{variant}-{'own' if own else 'gateway'}")
    for version in BINARIES
    for variant in Variant
    for own in (False, True)
]


@dataclass(frozen=True)
class Case:
    """A canary that does something, and what status is to say of it."""

    state: str
    words: str
    annotations: dict[str, str] = field(default_factory=dict)
    at_once: int = 1
    idle: bool = False


CASES = {
    "fine": Case("Mirroring", "requests were mirrored; 0 failed (0.0%)"),
    "missing": Case("Mirroring", "0 failed (0.0%)"),
    "slow": Case("Mirroring", "0 failed (0.0%)"),
    "errors": Case("Failing", " failed ("),
    "truncates": Case("Mirroring", "0 failed (0.0%)"),  # Envoy counts a response from its headers on
    "hangs": Case("Failing", " failed (100.0%)", {"timeout": "100ms"}),
    "refuses": Case("NotMirrored", "by outlier detection"),
    "full": Case("Dropped", "as many were in flight as max-concurrent allows", {"max_concurrent": "1"}, 8),
    "idle": Case("NoTraffic", "the Service received no requests", idle=True),
    "conditions": Case("NoTraffic", "none met the conditions", {"methods": "POST"}),
    "elsewhere": Case("NoEnvoy", "No Envoy that is connected to this replica", idle=True),
}


@dataclass
class Fleet:
    """A control plane in this process, an Envoy, and the Services of all cases."""

    app: App
    source: ScriptedSource
    envoy: Envoy
    base: str
    session: aiohttp.ClientSession

    def shadow(self, case: str) -> ShadowStatus | None:
        found = [each for each in self.app.reporter.shadows() if each.name == f"{case}-canary"]
        return found[0] if found else None

    def reasons(self) -> dict[str, str]:
        return {each.service: each.reason for each in self.app.reporter.shadows()}

    async def in_metrics(self) -> bool:
        """Whether the metrics count what the cases are to show."""
        async with self.session.get(f"http://{self.app.addresses.http}/metrics") as response:
            metrics = await response.text()
        counts = Counter(case.state for case in CASES.values())
        return all(
            f'xds_shadow_shadows_by_reason{{reason="{state}"}} {count}' in metrics
            for state, count in counts.items()
        )

    async def until_shown(self, name: str, case: Case) -> None:
        """Wait until `status` says it."""

        def shown() -> bool:
            found = self.shadow(name)
            return found is not None and found.reason == case.state and case.words in found.message

        await eventually(shown, what=f"{name}: {case}; {self.shadow(name)}")

    async def until_reported(self, name: str, case: Case) -> None:
        """Wait until it is reported, as to Kubernetes Events."""

        def reported() -> bool:
            return any(
                each.subject.name == f"{name}-canary" and each.reason == f"Shadow{case.state}"
                for each in self.app.reporter.server_state().changes
            )

        await eventually(reported, what=f"the report of {name}")

    async def send(self, case: str) -> int:
        """One request of a caller; its status."""
        headers = {"Host": f"{case}.staging"}
        async with self.session.get(self.base, headers=headers, ssl=False) as response:
            return response.status

    async def until_routed(self, case: str) -> None:
        async def routed() -> bool:
            return await self.send(case) == HTTPStatus.OK

        await eventually(routed, what=f"a route to {case}")

    @contextlib.asynccontextmanager
    async def callers(self) -> AsyncIterator[None]:
        async def call(case: str) -> None:
            while True:
                assert await self.send(case) == HTTPStatus.OK
                await asyncio.sleep(0.02)

        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(call(name))
                for name, case in CASES.items()
                for _ in range(0 if case.idle else case.at_once)
            ]
            yield
            for task in tasks:
                task.cancel()


class Backends:
    """Answers for the stable versions and the canaries; what a canary does follows from the host."""

    def __init__(self) -> None:
        self._turn = itertools.count()

    async def stable(self, _: web.Request) -> web.Response:
        return web.Response(text="stable")

    async def canary(self, request: web.Request) -> web.StreamResponse:
        match request.host.partition(".")[0]:
            case "missing":
                return web.Response(status=404)
            case "errors":
                return web.Response(status=500 if next(self._turn) % 2 else 200)
            case "slow" | "full":
                await asyncio.sleep(0.2)
            case "hangs":
                await asyncio.sleep(2.0)
            case "truncates":
                response = web.StreamResponse(headers={"Content-Length": "1000"})
                await response.prepare(request)
                await response.write(b"x")
                assert request.transport
                request.transport.abort()
                return response
        return web.Response(text="canary")


@contextlib.asynccontextmanager
async def backend(handler: object) -> AsyncIterator[Address]:
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", handler)  # type: ignore[arg-type]
    async with serving(web.AppRunner(application, access_log=None, shutdown_timeout=0.1)) as address:
        yield address


def documents(name: str, stable: Address, canary: Address) -> list[objects.Document]:
    gateways = {"xds-shadow.io/gateways": "elsewhere"} if name == "elsewhere" else {}
    annotations = CASES[name].annotations if name in CASES else {}
    return [
        objects.service(name, annotations=gateways),
        *objects.endpoint_slice(name, [(f"{name}-1", stable)]),
        objects.canary(f"{name}-canary", shadow_of=name, selects=None, **annotations),
        objects.pod(f"{name}-canary-1", canary, labels={"app": f"{name}-canary"}),
    ]


@pytest.mark.parametrize(("version", "variant", "own"), WAYS)
async def test_each_shadow_has_the_state_of_its_requests(
    tmp_path: Path, version: str, variant: Variant, own: bool
) -> None:
    async with contextlib.AsyncExitStack() as stack:
        app, source = await stack.enter_async_context(control_plane())
        backends = Backends()
        stable = await stack.enter_async_context(backend(backends.stable))
        canary = await stack.enter_async_context(backend(backends.canary))
        nobody = stack.enter_context(dead())
        envoy, base = await stack.enter_async_context(
            envoy_of(app.addresses.xds, tmp_path, version, variant, own=own)
        )
        session = await stack.enter_async_context(aiohttp.ClientSession())
        fleet = Fleet(app, source, envoy, base, session)
        sink = await source.opened()
        for name in CASES:
            sink.put(_changes(*documents(name, stable, nobody if name == "refuses" else canary)))
        await fleet.until_routed("idle")  # the last that has a route there
        async with fleet.callers():
            for name, case in CASES.items():
                await fleet.until_shown(name, case)
            for name, case in CASES.items():
                await fleet.until_reported(name, case)
            await eventually(fleet.in_metrics, what=f"the metrics of {fleet.reasons()}")


@pytest.mark.parametrize("version", BINARIES)
async def test_an_envoy_without_load_reports_is_named(tmp_path: Path, version: str) -> None:
    async with contextlib.AsyncExitStack() as stack:
        app, source = await stack.enter_async_context(control_plane())
        stable = await stack.enter_async_context(backend(Backends().stable))
        await stack.enter_async_context(
            envoy_of(app.addresses.xds, tmp_path, version, Variant.DELTA, reports=False)
        )
        sink = await source.opened()
        sink.put(_changes(*documents("fine", stable, Address("10.0.0.2", 80))))

        def named() -> bool:
            [shadow] = app.reporter.shadows()
            return (shadow.reason, shadow.message.partition(" (")[0]) == (
                "NoReports",
                "Envoy envoy-1 reports no loads",
            )

        await eventually(lambda: app.reporter.shadows() and named(), what="NoReports")


GRPC_CASES = {
    grpc.StatusCode.OK: "Mirroring",
    grpc.StatusCode.NOT_FOUND: "Mirroring",  # as a 404: the caller's mistake
    grpc.StatusCode.INTERNAL: "Failing",
    grpc.StatusCode.UNAVAILABLE: "Failing",
}
"""What Envoy counts: the status in the trailers, after a message."""


@contextlib.asynccontextmanager
async def grpc_backend(code: grpc.StatusCode) -> AsyncIterator[Address]:
    """Answers every call with one message and this status."""

    async def answer(
        _request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]
    ) -> AsyncIterator[bytes]:
        yield b"hello"
        context.set_code(code)

    class Handler(grpc.GenericRpcHandler):
        def service(self, _details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes]":
            return grpc.unary_stream_rpc_method_handler(answer)

    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Handler(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield Address("127.0.0.1", port)
    finally:
        await server.stop(None)


@pytest.mark.parametrize("version", BINARIES)
async def test_the_grpc_status_in_trailers_counts(tmp_path: Path, version: str) -> None:
    ports = [{"name": "http", "port": 80, "targetPort": "http", "appProtocol": "kubernetes.io/h2c"}]
    async with contextlib.AsyncExitStack() as stack:
        app, source = await stack.enter_async_context(control_plane())
        stable = await stack.enter_async_context(grpc_backend(grpc.StatusCode.OK))
        envoy, _ = await stack.enter_async_context(
            envoy_of(app.addresses.xds, tmp_path, version, Variant.DELTA)
        )
        sink = await source.opened()
        names = {code: code.name.lower().replace("_", "-") for code in GRPC_CASES}
        for code, name in names.items():
            canary = await stack.enter_async_context(grpc_backend(code))
            _service, *others = documents(name, stable, canary)
            sink.put(_changes(objects.service(name, ports=ports), *others))
        calls: list[Any] = [
            (
                await stack.enter_async_context(
                    grpc.aio.insecure_channel(
                        str(envoy.gateway), options=(("grpc.default_authority", f"{name}.staging"),)
                    )
                )
            ).unary_stream("/a.Service/Method")
            for name in names.values()
        ]

        async def told() -> bool:
            for call in calls:
                with contextlib.suppress(grpc.aio.AioRpcError):
                    assert [each async for each in call(b"hi")] == [b"hello"]
            return {each.service: each.reason for each in app.reporter.shadows()} == {
                names[code]: state for code, state in GRPC_CASES.items()
            }

        await eventually(told, what=f"the states; {app.reporter.shadows()}")
