"""compare: which fields of a canary's responses differ, by real Envoys, and what it costs nobody."""

import asyncio
import contextlib
import gzip
import itertools
import json
import os
import signal
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import brotli
import pytest
from aiohttp import web

from tests.envoy.scenarios.stage import BINARIES
from tests.support import objects
from tests.support.backends import serving
from tests.support.own_listener import OwnEnvoy, surroundings
from tests.support.rig import HOST, Rig, rig
from tests.support.waiting import eventually
from xds_server.base.address import Address
from xds_server.base.sizes import MIB
from xds_server.local.demo.envoy import Envoy
from xds_server.pb import status_pb2
from xds_server.server.status_client import get_verdicts
from xds_server.translate.bootstrap import BootstrapOptions

pytestmark = pytest.mark.envoy

_TIMES = itertools.count()
_PAD = "x" * (MIB - 200)
_HUGE = b"x" * (3 * MIB)


@dataclass
class Application:
    """Answers with JSON in every encoding. The new version renames a field, makes a number a string, and
    reorders a list."""

    new: bool
    delay_s: float = 0.0
    marks: set[str | None] = field(default_factory=set)
    methods: dict[str | None, set[str]] = field(default_factory=dict)
    headers: set[str] = field(default_factory=set)

    async def handle(self, request: web.Request) -> web.Response:
        await asyncio.sleep(self.delay_s)
        mark = request.headers.get("x-xds-shadow")
        self.marks.add(mark)
        self.methods.setdefault(mark, set()).add(request.method)
        self.headers |= {name.lower() for name in request.headers}
        return _ANSWERS[request.path](self._json(request.path))

    def _json(self, path: str) -> bytes:
        found: dict[str, object] = {"id": 7, "time": next(_TIMES)}
        if path == "/large":
            found["pad"] = _PAD
        if self.new:
            found |= {"title": "x", "price": "12", "tags": ["c", "a", "b"]}
        else:
            found |= {"name": "x", "price": 12, "tags": ["a", "b", "c"]}
        return json.dumps(found).encode()


def _encoded(name: str, compress: Callable[[bytes], bytes]) -> Callable[[bytes], web.Response]:
    return lambda body: web.Response(
        body=compress(body), content_type="application/json", headers={"Content-Encoding": name}
    )


def _plain(body: bytes) -> web.Response:
    return web.Response(body=body, content_type="application/json")


_ANSWERS: dict[str, Callable[[bytes], web.Response]] = {
    "/plain": _plain,
    "/large": _plain,
    "/gzip": _encoded("gzip", gzip.compress),
    "/brotli": _encoded("br", brotli.compress),
    "/huge": lambda _: web.Response(body=_HUGE),
    "/text": lambda body: web.Response(text="new" if b"title" in body else "old"),
    "/broken": lambda body: _plain(body[:20] if b"title" in body else body[:10]),
}
_COMPARED = _ANSWERS.keys() - {"/huge"}
_JSON = {"$.name missing", "$.title extra", "$.price type", "$.tags order"}
_EXPECTED = {f"GET {path}": {"$ value"} if path in ("/text", "/broken") else _JSON for path in _COMPARED}


@contextlib.asynccontextmanager
async def running(application: Application) -> AsyncIterator[Address]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", application.handle)
    async with serving(web.AppRunner(app, access_log=None)) as address:
        yield address


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[Rig]:
    async with rig(tmp_path, versions=BINARIES) as found:
        yield found


def shadowed(
    fleet: Rig, stable: Address, canary: Address, *, compare: str = "bodies", timeout: str = "10s"
) -> None:
    deployment = objects.canary(compare=compare, baseline="true", timeout=timeout)
    fleet.write("base.yaml", [objects.namespace(), objects.service()])
    fleet.write("addresses.yaml", objects.endpoint_slice("myapp", [("stable-1", stable)]))
    fleet.write("canary.yaml", [deployment, objects.pod("canary-1", canary)])


async def verdict(fleet: Rig) -> status_pb2.Verdict:
    found = await asyncio.to_thread(get_verdicts, fleet.control_plane.admin_address)
    return found.verdicts[0] if found.verdicts else status_pb2.Verdict()


def fields(found: status_pb2.Verdict, *, differs: bool) -> dict[str, set[str]]:
    by_group: dict[str, set[str]] = {}
    for each in found.fields:
        if each.HasField("differs") and each.differs is differs:
            by_group.setdefault(each.group, set()).add(f"{each.path} {each.kind}")
    return by_group


async def test_fields_that_the_canary_changed_are_named_and_others_are_not(fleet: Rig) -> None:
    old, new = Application(new=False), Application(new=True)
    async with running(old) as stable, running(new) as canary:
        shadowed(fleet, stable, canary)
        await fleet.until_shadow("Active")

        async def found() -> bool:
            for path in _COMPARED:
                answers = await asyncio.gather(
                    *(fleet.send(envoy, path=path) for envoy in fleet.envoys for _ in range(8))
                )
                assert {answer.status for answer in answers} == {200}
            return fields(await verdict(fleet), differs=True) == _EXPECTED

        await eventually(found, what="the fields of every kind of body", within=120)
        for envoy in fleet.envoys:
            await fleet.send(envoy, path="/plain", method="POST")
        seen = await verdict(fleet)
    noise = {group: {"$.time value"} for group, paths in _EXPECTED.items() if paths is _JSON}
    assert fields(seen, differs=False) == noise
    assert not seen.noise_unknown
    assert not {*seen.skipped} - {"busy", "incomplete"}
    assert old.methods == {None: {"GET", "POST"}, "staging/myapp-canary/baseline": {"GET"}}
    assert new.marks == {"staging/myapp-canary"}
    assert not {name for name in old.headers | new.headers if name.startswith("x-xds-shadow-")}


async def test_a_control_plane_that_is_stopped_or_dead_costs_nobody_anything(fleet: Rig) -> None:
    old, new = Application(new=False), Application(new=True)
    process = fleet.control_plane.process
    async with running(old) as stable, running(new) as canary:
        shadowed(fleet, stable, canary)
        await fleet.until_shadow("Active")

        async def sampled() -> bool:
            await _callers(fleet, "/plain")
            return (await verdict(fleet)).compared > 0

        await eventually(sampled, what="a compared body")
        os.kill(process.pid, signal.SIGSTOP)
        try:
            for path in ("/huge", "/plain"):
                await _callers(fleet, path)
            # Mirrored requests end, too: what an Envoy holds of a response would keep one in flight.
            for envoy in fleet.envoys:
                await eventually(partial(_none_mirrored, envoy), what="the end of all mirrored requests")
                assert int((await envoy.admin("/memory"))["allocated"]) < 80 * MIB
        finally:
            os.kill(process.pid, signal.SIGCONT)
        await process.stop(signal.SIGKILL)
        for path in ("/huge", "/plain"):
            await _callers(fleet, path)


async def _callers(fleet: Rig, path: str) -> None:
    """Requests that are answered as a Service without a shadow answers them."""

    async def one(envoy: Envoy) -> None:
        headers = {"Host": HOST}
        async with fleet.session.get(f"http://{envoy.gateway}{path}", headers=headers) as response:
            body = await response.read()
        assert (response.status, b'"name"' in body) == (200, path != "/huge")
        assert path != "/huge" or body == _HUGE

    await asyncio.wait_for(asyncio.gather(*(one(each) for each in fleet.envoys for _ in range(4))), 60)


async def _none_mirrored(envoy: Envoy) -> bool:
    return not any((await envoy.stats("/(shadow|baseline)/.*upstream_rq_active$")).values())


async def test_an_envoy_with_a_listener_of_its_own_sends_bodies(tmp_path: Path) -> None:
    async with (
        surroundings(tmp_path) as around,
        running(Application(new=False)) as stable,
        running(Application(new=True)) as canary,
        rig(tmp_path) as fleet,
    ):
        shadowed(fleet, stable, canary)
        await fleet.until_shadow("Active")
        control_plane = fleet.control_plane.xds_address
        options = BootstrapOptions(node_id="own", xds_address=control_plane, admin_port=0)
        envoy = OwnEnvoy(around.example(), options, tmp_path)
        try:
            await envoy.start()
            await eventually(envoy.listening, what="the listener")
            headers = {"Host": HOST, "Authorization": "Bearer somebody"}

            async def compared() -> bool:
                url = f"https://{await envoy.listening()}/plain"
                async with fleet.session.get(url, headers=headers, ssl=False) as response:
                    assert response.status == 200
                return (await verdict(fleet)).compared > 0

            await eventually(compared, what="a comparison")
        finally:
            await envoy.stop()


async def test_a_canary_that_is_slower_than_its_baseline_is_found(fleet: Rig) -> None:
    old, new = Application(new=False), Application(new=True, delay_s=0.05)
    async with running(old) as stable, running(new) as canary:
        shadowed(fleet, stable, canary, compare="none", timeout="2s")
        await fleet.until_shadow("Active")

        async def found() -> bool:
            await _callers(fleet, "/plain")
            return (await verdict(fleet)).slower

        await eventually(found, what="a slower canary")
        seen = await verdict(fleet)
    assert (seen.compared, dict(seen.skipped)) == (0, {})
    # The baseline makes no pair: no pair of responses of the stable version is among those of the canary.
    assert seen.total.canary_failed == seen.total.stable_failed == 0
    assert old.marks == {None, "staging/myapp-canary/baseline"}
    assert new.marks == {"staging/myapp-canary"}
