"""Bodies of mirrored requests over a real connection: whose are taken, and what bounds them."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml

from tests.support import objects
from tests.support.waiting import eventually
from xds_server.base.address import Address
from xds_server.base.ids import NamespacedName
from xds_server.core.verdict.bodies import Bodies, Field, Kind
from xds_server.core.verdict.body_joining import RATE, Joined
from xds_server.core.verdict.body_pairs import compared
from xds_server.core.verdict.body_text import MOST_BYTES, Skipped
from xds_server.core.verdict.record import Record
from xds_server.manifests.source import read_once
from xds_server.server import bodies as module
from xds_server.server.bodies import Comparer
from xds_server.server.identity import Clients
from xds_server.server.pipeline import Pipeline, Published
from xds_server.translate.comparing import REPORT
from xds_server.xds.admission import Admission, StreamLimits
from xds_server.xds.server_options import server_options

CANARY = NamespacedName("staging", "myapp-canary")
NEW, OLD = "staging/myapp/http/shadow/myapp-canary", "staging/myapp/http/baseline/myapp-canary"


class Rig:
    """A server that compares the bodies of one canary."""

    def __init__(self, directory: Path, clients: Clients) -> None:
        self.record: Record | None = Record(canary=CANARY, service="myapp", since=0.0)
        self.directory = directory
        self.published: Published | None = None
        self.pipeline = Pipeline(gateway_port=8080, expose_all=False)
        self.comparer = Comparer(lambda canary: self.record if canary == CANARY else None, clients=clients)
        self.server = grpc.aio.server(options=server_options())
        self.comparer.register(self.server)
        self.port = self.server.add_insecure_port("127.0.0.1:0")
        self.channel = grpc.aio.insecure_channel(f"127.0.0.1:{self.port}")
        self.call: Any = self.channel.unary_unary(REPORT)

    def step(self, canary: objects.Document) -> None:
        documents = [
            objects.namespace(),
            objects.service(),
            *objects.endpoint_slice("myapp", [("stable-1", Address("10.0.0.1", 8080))]),
            canary,
            objects.pod("canary-1", Address("10.0.1.1", 8080)),
        ]
        (self.directory / "all.yaml").write_text(yaml.safe_dump_all(documents))
        before, self.published = self.published, self.pipeline.step(read_once([self.directory]), now=0.0)
        self.comparer.stepped(before, self.published)

    async def send(self, cluster: str, request: str, body: bytes, **more: str) -> None:
        said = {
            "cluster": cluster,
            "id": request,
            "path": "/a/17",
            "status": "200",
            "type": "application/json",
        }
        metadata = [(f"x-{key}", value) for key, value in {**said, **more}.items()]
        await self.call(body, metadata=metadata, timeout=10.0)

    @property
    def bodies(self) -> Bodies:
        assert self.record is not None
        return self.record.bodies


@contextlib.asynccontextmanager
async def running(directory: Path, clients: Clients | None = None) -> AsyncIterator[Rig]:
    rig = Rig(directory, clients or Clients())
    await rig.server.start()
    comparing = asyncio.create_task(rig.comparer.run())
    try:
        yield rig
    finally:
        comparing.cancel()
        await asyncio.gather(comparing, return_exceptions=True)
        await rig.channel.close()
        await rig.server.stop(0)


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with running(tmp_path) as found:
        found.step(objects.canary(compare="bodies", baseline="true"))
        yield found


async def test_the_bodies_of_a_request_are_compared(rig: Rig) -> None:
    await rig.send(OLD, "x", b'{"a": 1, "t": 1}', path="/elsewhere?q")
    await rig.send(NEW, "x", b'{"b": 1, "t": 2}')
    await rig.send(OLD, "x", b'{"a": 1, "t": 3}')
    await eventually(lambda: rig.bodies.compared.total() == 1, what="a comparison")
    group = "GET /elsewhere"
    missing, extra = Field(group, "$.a", Kind.MISSING), Field(group, "$.b", Kind.EXTRA)
    time = Field(group, "$.t", Kind.VALUE)
    one = Counter({group: 1})
    assert rig.bodies == Bodies(
        compared=one,
        differing=Counter([missing, extra, time]),
        baseline=one,
        noise=Counter([time]),
        alone=Counter([missing, extra]),
    )


async def test_a_body_that_is_too_large_is_counted(rig: Rig) -> None:
    for cluster in (OLD, OLD, NEW):
        await rig.send(cluster, "x", b"", size=str(MOST_BYTES + 1))
    await eventually(lambda: rig.bodies.skipped[Skipped.TOO_LARGE] == 1, what="the count")


@pytest.mark.parametrize(
    "canary",
    [
        objects.canary(shadow_of=None),
        objects.canary(),
        objects.canary(baseline="true"),
        objects.canary(compare="bodies", paused="true"),
    ],
)
async def test_bodies_of_others_are_not_taken(rig: Rig, canary: objects.Document) -> None:
    rig.step(canary)
    await rig.send(NEW, "", b"{}")
    await rig.send("nobody", "", b"{}")
    assert rig.bodies == Bodies()


async def test_a_canary_that_is_no_shadow_any_more_has_no_record(rig: Rig) -> None:
    rig.record = None
    await rig.send(NEW, "", b"{}")


@pytest.mark.parametrize("said", [{"status": "x"}, {"size": "9" * 30}, {"type": "?"}, {"path": "*"}])
async def test_metadata_that_means_nothing_harms_nobody(rig: Rig, said: dict[str, str]) -> None:
    for cluster in (NEW, OLD, OLD):
        await rig.send(cluster, "x", b"{}", **said)
    await eventually(lambda: rig.bodies.compared or rig.bodies.skipped, what="a count")


async def test_a_client_is_who_its_certificate_says(tmp_path: Path) -> None:
    async with running(tmp_path, Clients({"spiffe://gateway": frozenset({"staging"})})) as rig:
        rig.step(objects.canary(compare="bodies"))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await rig.send(NEW, "x", b"{}")
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED


@pytest.mark.parametrize(("namespaces", "taken"), [({"staging"}, 1), ({"prod"}, 0)])
async def test_an_envoy_sends_bodies_of_what_it_may_see(
    rig: Rig, namespaces: set[str], taken: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rig.comparer, "_clients", Clients({"gateway": frozenset(namespaces)}))
    monkeypatch.setattr(module, "names_of", lambda _: frozenset({"gateway"}))
    await rig.send(NEW, "", b"{}")
    assert rig.bodies.skipped.total() == taken


async def test_beyond_the_rate_of_a_canary_nothing_is_kept(rig: Rig) -> None:
    for number in range(60):
        await rig.send(NEW, str(number), b"{}")
    assert rig.bodies.skipped[Skipped.BUSY] >= 60 - 2 * RATE


async def test_a_full_queue_takes_no_more(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_QUEUED", 0)
    for cluster in (NEW, OLD, OLD):
        await rig.send(cluster, "x", b"{}")
    assert rig.bodies.skipped == Counter({Skipped.BUSY: 1})


async def test_too_many_calls_are_denied(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = StreamLimits(rate=0.001, burst=1)
    monkeypatch.setattr(rig.comparer, "_admission", Admission(limits))
    await rig.send(NEW, "x", b"{}")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await rig.send(NEW, "y", b"{}")
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_what_waits_for_too_long_is_counted(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_EXPIRY_S", 0.01)
    await rig.send(NEW, "x", b"{}")
    clock = asyncio.get_running_loop().time() + 3600.0
    monkeypatch.setattr(rig.comparer, "_clock", lambda: clock)
    await eventually(lambda: rig.bodies.skipped[Skipped.INCOMPLETE] == 1, what="the end of the window")


async def test_a_comparison_that_fails_ends_no_other(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    failures = iter([RuntimeError("a bug")])

    def once(joined: Joined) -> object:
        for error in failures:
            raise error
        return compared(joined)

    monkeypatch.setattr(module, "compared", once)
    for request in "xy":
        for cluster in (NEW, OLD, OLD):
            await rig.send(cluster, request, b"{}")
    await eventually(lambda: rig.bodies.compared.total() == 1, what="the second comparison")
