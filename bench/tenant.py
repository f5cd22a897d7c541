"""One tenant at every limit at once, and what another one notices: ``python -m bench.tenant``.

A real control plane on an embedded Kubernetes API, and a real Envoy of either variant. The other tenant's
changes are timed without the greedy one, while that one's 4 MB of objects arrive, and while these change
every 10 to 200 ms and its users upload as much as they can. The other's users ask all the time.
"""

import asyncio
import contextlib
import copy
import json
import re
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import Annotated, Any, Final

import aiohttp
import typer
from rich.console import Console
from rich.table import Table

from bench.greedy import NAMESPACE, Greedy, Mix
from bench.policy.users import Load, send
from bench.process import used
from xds_server.core.keys import PREFIX
from xds_server.local.demo.control_plane import ControlPlane
from xds_server.local.demo.envoy import Envoy
from xds_server.local.demo.fleet import reserved_ports
from xds_server.local.kubeapi.kubeconfig import write_kubeconfig
from xds_server.local.kubeapi.resources import of_kind
from xds_server.local.kubeapi.server import EmbeddedApi
from xds_server.local.kubeapi.store import Store, key_of
from xds_server.server.status_client import get_status
from xds_server.translate.bootstrap import BootstrapOptions
from xds_server.xds.stream_events import Variant

Document = dict[str, Any]
Answers = dict[str, Any]

_OTHER: Final = "modest"
_HOST: Final = f"web.{_OTHER}"
_BACKENDS: Final = ("127.0.75.1", "127.0.75.2")
_GREEDY_BACKEND: Final = "127.0.75.8"
_GREEDY_CANARY: Final = "127.0.75.9"
_PAUSE_S: Final = 0.3
_GIVEN_UP_S: Final = 30.0
_USERS_RATE: Final = 50.0
_UPLOADS_RATE: Final = 3.0
"""To each of some Services at each Envoy: what matters is how many are held, not how fast they are copied."""

_HELD_S: Final = 2.0
"""For how long the greedy tenant's canary holds a request."""

_APPLY_S: Final = 0.02
_UPLOAD: Final = 1 << 20
_SAMPLE_S: Final = 0.1
_HEAD_END: Final = b"\r\n\r\n"


@dataclass
class Changes:
    """Of the other tenant in one phase: how long they took, in milliseconds, endpoints and hosts apart."""

    endpoints_ms: list[float] = field(default_factory=list)
    hosts_ms: list[float] = field(default_factory=list)
    lost: int = 0


class Modest:
    """The other tenant. Its changes are seen by asking all Envoys until each answers as it should."""

    def __init__(self, store: Store, port: int, envoys: list[Envoy], session: aiohttp.ClientSession) -> None:
        self._store = store
        self._envoys = envoys
        self._session = session
        self._moves = self._claims = 0
        self._service = _object("v1", "Service", _OTHER, "web") | {
            "spec": {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "protocol": "TCP"}]}
        }
        labels = {"kubernetes.io/service-name": "web"}
        self._slice = _object("discovery.k8s.io/v1", "EndpointSlice", _OTHER, "web-0", labels) | {
            "addressType": "IPv4",
            "endpoints": [{"addresses": [_BACKENDS[0]], "conditions": {"ready": True}}],
            "ports": [{"name": "http", "port": port, "protocol": "TCP"}],
        }

    def documents(self) -> list[Document]:
        namespace = _object("v1", "Namespace", "", _OTHER, {f"{PREFIX}expose": "true"})
        return [namespace, self._service, self._slice]

    async def keep_changing(self, until: Callable[[], bool]) -> Changes:
        """One change after another, at least one of each kind."""
        found = Changes()
        while not (until() and found.endpoints_ms and found.hosts_ms) and found.lost < 2:  # noqa: PLR2004
            for took, change in ((found.endpoints_ms, self._move), (found.hosts_ms, self._claim)):
                began = time.perf_counter()
                try:
                    async with asyncio.timeout(_GIVEN_UP_S):
                        await change()
                    took.append((time.perf_counter() - began) * 1000)
                except TimeoutError:
                    found.lost += 1
                await asyncio.sleep(_PAUSE_S)
        return found

    async def _move(self) -> None:
        self._moves += 1
        address = _BACKENDS[self._moves % 2]
        self._slice["endpoints"][0]["addresses"] = [address]
        put(self._store, self._slice)
        await asyncio.gather(*(self._until(envoy, _HOST, address) for envoy in self._envoys))

    async def _claim(self) -> None:
        self._claims += 1
        host = f"h{self._claims}.{_OTHER}.example"
        self._service["metadata"]["annotations"] = {f"{PREFIX}hosts": host}
        put(self._store, self._service)
        await asyncio.gather(*(self._until(envoy, host, "") for envoy in self._envoys))

    async def _until(self, envoy: Envoy, host: str, backend: str) -> None:
        url, headers = f"http://127.0.0.1:{envoy.gateway_port}/", {"Host": host}
        while True:
            with contextlib.suppress(aiohttp.ClientError):
                async with self._session.get(url, headers=headers) as response:
                    text = await response.text()
                    if response.ok and backend in text:
                        return
            await asyncio.sleep(0.002)


def put(store: Store, document: Document) -> None:
    """Create it, or let it be so."""
    resource = of_kind(document["apiVersion"], document["kind"])
    assert resource
    fresh = copy.deepcopy(document)  # what is served is never changed in place
    if store.find(resource, key_of(resource, fresh)):
        store.update(resource, fresh)
    else:
        store.create(resource, fresh)


@dataclass
class Stage:
    """What runs. `processes` are the ids of those whose memory is looked at."""

    store: Store
    greedy: Greedy
    modest: Modest
    plane: ControlPlane
    envoys: list[Envoy]
    rng: Random

    @property
    def processes(self) -> dict[str, int]:
        return {
            "control plane": self.plane.process.pid,
            **{each.id: each.process.pid for each in self.envoys},
        }

    def users(self, seconds: float) -> "asyncio.Task[list[Answers]]":
        """Of the other tenant, at every Envoy."""
        loads = [Load(each.gateway_port, _HOST, seconds, rate=_USERS_RATE) for each in self.envoys]
        return asyncio.create_task(_all(loads), name="bench/users")

    def uploads(self, seconds: float) -> "asyncio.Task[list[Answers]]":
        """Of the greedy tenant's users, to some of its Services whose canaries take whole bodies."""
        loads = [
            Load(each.gateway_port, host, seconds, rate=_UPLOADS_RATE, method="POST", size=_UPLOAD)
            for each in self.envoys
            for host in self.greedy.uploads[:3]
        ]
        return asyncio.create_task(_all(loads), name="bench/uploads")


async def measure(mix: Mix, *, seconds: float, progress: Callable[[str], None]) -> dict[str, Any]:
    """In about twice as many seconds, and what the objects take to arrive."""
    with tempfile.TemporaryDirectory(prefix="xds-shadow-bench-") as name:
        async with contextlib.AsyncExitStack() as stack:
            directory, store, rng = Path(name), Store(), Random(1)  # noqa: S311
            port = await stack.enter_async_context(_backends((*_BACKENDS, _GREEDY_BACKEND, _GREEDY_CANARY)))
            api = await stack.enter_async_context(EmbeddedApi(store))
            write_kubeconfig(directory / "kubeconfig", api.url)
            session = await stack.enter_async_context(aiohttp.ClientSession())
            envoys: list[Envoy] = []
            modest = Modest(store, port, envoys, session)
            for document in modest.documents():
                put(store, document)
            plane = await stack.enter_async_context(_plane(directory))
            envoys += await stack.enter_async_context(_envoys(plane, directory))
            greedy = Greedy(mix, _GREEDY_BACKEND, _GREEDY_CANARY, port, rng)
            return await _story(Stage(store, greedy, modest, plane, envoys, rng), seconds, progress)


async def measure_all(*, seconds: float, progress: Callable[[str], None]) -> dict[str, Any]:
    """Every mix, on processes of its own."""
    found = {}
    for mix in Mix:

        def told(what: str, mix: Mix = mix) -> None:
            progress(f"{mix}: {what}")

        found[mix.value] = await measure(mix, seconds=seconds, progress=told)
    return found


async def _story(on: Stage, seconds: float, progress: Callable[[str], None]) -> dict[str, Any]:
    clock, peak = time.monotonic, dict[str, float]()
    watching = asyncio.create_task(_peaks(on.processes, peak), name="bench/peaks")
    progress("without the greedy tenant")
    ends = clock() + seconds / 2
    without = await on.modest.keep_changing(lambda: clock() >= ends)
    before = dict(peak)

    progress("its objects arrive")
    users = on.users(seconds * 1.5)
    arriving = asyncio.create_task(_arrive(on.store, on.greedy), name="bench/arriving")
    during = await on.modest.keep_changing(arriving.done)
    await arriving

    progress("its objects change, its users upload")
    ends = clock() + seconds
    uploads = on.uploads(seconds)
    changing = asyncio.create_task(_keep_changing(on), name="bench/changing")
    with_it = await on.modest.keep_changing(lambda: clock() >= ends)
    changing.cancel()
    answers, uploaded = await users, await uploads
    status = await asyncio.to_thread(get_status, on.plane.admin_address)
    watching.cancel()
    await asyncio.gather(changing, watching, return_exceptions=True)
    return {
        "objects": len(on.greedy.documents),
        "changes": {"without": _summary(without), "arriving": _summary(during), "with": _summary(with_it)},
        "peak_mib": peak,
        "empty_mib": before,
        "users": {
            "requests": sum(len(each["took_ms"]) + each["failed"] for each in answers),
            "failed": sum(each["failed"] for each in answers),
            "p99_ms": statistics.quantiles([ms for each in answers for ms in each["took_ms"]], n=100)[98],
        },
        "uploads": sum(len(each["took_ms"]) for each in uploaded),
        "active": sum(shadow.state == "Active" for shadow in status.shadows),
        "shadows": len(status.shadows),
        "problems": sum(each.severity == "Error" for each in status.conditions),
        "reasons": dict(Counter(shadow.reason for shadow in status.shadows)),
        "rejected": [
            kind.last_nack.message for n in status.nodes for kind in n.types if kind.sync == "ERROR"
        ],
    }


async def _all(loads: list[Load]) -> list[Answers]:
    return await asyncio.gather(*map(send, loads))


async def _arrive(store: Store, greedy: Greedy) -> None:
    for document in greedy.documents:
        put(store, document)
        await asyncio.sleep(_APPLY_S)
    await asyncio.sleep(1.0)


async def _keep_changing(on: Stage) -> None:
    while True:
        put(on.store, on.greedy.change())
        await asyncio.sleep(on.rng.uniform(0.01, 0.2))


async def _peaks(processes: dict[str, int], peak: dict[str, float]) -> None:
    while True:
        for name, pid in processes.items():
            peak[name] = used(pid).peak_mib
        await asyncio.sleep(_SAMPLE_S)


def _summary(changes: Changes) -> dict[str, Any]:
    return {
        "lost": changes.lost,
        **{
            f"{kind}_{what}_ms": of(ms) if ms else None
            for kind, ms in (("endpoints", changes.endpoints_ms), ("hosts", changes.hosts_ms))
            for what, of in (("median", statistics.median), ("worst", max), ("count", len))
        },
    }


@contextlib.asynccontextmanager
async def _plane(directory: Path) -> AsyncIterator[ControlPlane]:
    options = [f"--kubeconfig={directory / 'kubeconfig'}", "--no-events", "--allow-loopback-endpoints"]
    plane = ControlPlane(options, directory)
    try:
        yield await plane.start()
    finally:
        await plane.stop()


@contextlib.asynccontextmanager
async def _envoys(plane: ControlPlane, directory: Path) -> AsyncIterator[list[Envoy]]:
    async with contextlib.AsyncExitStack() as stack:
        ports = stack.enter_context(reserved_ports(len(Variant)))
        found = []
        for mode, port in zip(Variant, ports, strict=True):
            options = BootstrapOptions(
                node_id=f"envoy {mode.value}",
                mode=mode,
                xds_address=plane.xds_address,
                admin_port=0,
                gateway_port=port,
            )
            envoy = Envoy(options, directory)
            stack.push_async_callback(envoy.stop)
            found.append(await envoy.start())
        await asyncio.gather(*(envoy.until_serving() for envoy in found))
        yield found


@contextlib.asynccontextmanager
async def _backends(hosts: tuple[str, ...]) -> AsyncIterator[int]:
    """Servers on one port of these hosts; each answers with its own, the greedy canary after a while."""
    async with contextlib.AsyncExitStack() as stack:
        port = 0
        for host in hosts:
            server = await asyncio.start_server(partial(_answer, host), host, port)
            port = server.sockets[0].getsockname()[1]
            stack.callback(server.close)
        yield port


async def _answer(host: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    answer = f"HTTP/1.1 200 OK\r\ncontent-length: {len(host)}\r\n\r\n{host}".encode()
    with contextlib.suppress(OSError, EOFError, asyncio.CancelledError):
        while True:
            head = await reader.readuntil(_HEAD_END)
            length = re.search(rb"\r\ncontent-length: *([0-9]+)", head, re.IGNORECASE)
            await reader.readexactly(int(length[1]) if length else 0)
            if host == _GREEDY_CANARY:
                await asyncio.sleep(_HELD_S)
            writer.write(answer)
            await writer.drain()
    writer.close()


def _object(
    version: str, kind: str, namespace: str, name: str, labels: dict[str, str] | None = None
) -> Document:
    metadata: Document = {"name": name, "uid": f"{kind}-{name}", "labels": labels or {}, "annotations": {}}
    metadata["creationTimestamp"] = "2026-01-01T00:00:00Z"
    if namespace:
        metadata["namespace"] = namespace
    return {"apiVersion": version, "kind": kind, "metadata": metadata}


def show(mix: str, found: dict[str, Any], console: Console) -> None:
    """Tables for people."""
    table = Table(f"beside {mix}: another's changes, ms", "without", "while it arrives", "with it", "times")
    changes = found["changes"]
    for kind in ("endpoints", "hosts"):
        for what in ("median", "worst"):
            row = [changes[phase][f"{kind}_{what}_ms"] for phase in ("without", "arriving", "with")]
            ratio = f"{row[2] / row[0]:.2f}" if row[0] and row[2] else "-"
            table.add_row(f"{kind}, {what}", *("-" if each is None else f"{each:.0f}" for each in row), ratio)
    console.print(table)
    memory = Table("peak memory, MiB", "without", "with it")
    for name, mib in found["peak_mib"].items():
        memory.add_row(name, f"{found['empty_mib'][name]:.0f}", f"{mib:.0f}")
    console.print(memory)
    users, lost = found["users"], sum(each["lost"] for each in changes.values())
    console.print(
        f"The other tenant's users: {users['requests']} requests, {users['failed']} failed,"
        f" p99 {users['p99_ms']:.1f} ms; {lost} of its changes never seen."
    )
    console.print(
        f"Namespace {NAMESPACE}: {found['objects']} objects, {found['active']} of {found['shadows']} shadows"
        f" active ({', '.join(f'{count} {reason}' for reason, count in found['reasons'].items())}),"
        f" {found['problems']} problems, {found['uploads']} uploads;"
        f" rejected by an Envoy: {found['rejected'] or 'nothing'}."
    )


def main(
    seconds: Annotated[float, typer.Option(help="A quarter of about how long it takes.")] = 40.0,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Measure on this machine."""
    console = Console(width=None if sys.stdout.isatty() else 120)
    with console.status("") as status:
        found = asyncio.run(measure_all(seconds=seconds, progress=status.update))
    if as_json:
        console.print_json(json.dumps(found))
    else:
        for mix, figures in found.items():
            show(mix, figures, console)


if __name__ == "__main__":
    typer.run(main)
