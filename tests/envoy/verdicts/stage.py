"""Envoys of both versions and both variants, with the gateway's listener and with one of their own; backends
that fail a share of all requests at random; and the verdict of the control plane that they all report to."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import aiohttp
import yaml

from tests.envoy.scenarios.stage import BINARIES
from tests.support import objects
from tests.support.objects import Document, write_documents
from tests.support.own_listener import OwnEnvoy
from tests.support.waiting import eventually
from xds_server.base.address import Address
from xds_server.local.demo.control_plane import ControlPlane
from xds_server.local.demo.envoy import Envoy, envoy_binary
from xds_server.local.demo.fleet import reserved_ports
from xds_server.local.demo.processes import Process
from xds_server.pb import status_pb2
from xds_server.server.status_client import get_verdicts
from xds_server.translate.bootstrap import BootstrapOptions, routes_only_yaml
from xds_server.xds.stream_events import Variant

HOST: Final = "myapp.staging"
SERVICE: Final = "myapp"
CANARY: Final = "myapp-canary"
TIMEOUT: Final = "1s"
FAILING: Final = "/fails"
EMPTY: Final = "/empty"
"""Paths that every backend answers with 500, and with 204."""

DELAY: Final = "x-envoy-fault-delay-request"
"""The header that delays a response by so many milliseconds."""

_TYPE: Final = "type.googleapis.com/envoy.extensions.filters"
_HCM: Final = f"{_TYPE}.network.http_connection_manager.v3.HttpConnectionManager"
_RUNS: Final = itertools.count()
Config = dict[str, Any]


@dataclass
class Door:
    """One Envoy, and where its listener is."""

    envoy: Envoy
    address: Address


@dataclass
class Stage:
    """`doors` are by name, such as ``1.36-delta-own``; `stable` and `canary` are addresses, by the share of
    failures."""

    control_plane: ControlPlane
    manifests: Path
    doors: dict[str, Door]
    stable: Mapping[float, Address]
    canary: Mapping[float, Address]
    session: aiohttp.ClientSession
    sent: int = field(default=0)
    failed: int = field(default=0)

    async def shadow(self, stable: float, canary: float, **annotations: str) -> None:
        """A new canary: with Pods of other templates than before, so the evidence begins again. Both fail
        this share of all requests."""
        await self.shadow_of(self.stable[stable], self.canary[canary], **annotations)

    async def shadow_of(self, stable: Address, canary: Address, **annotations: str) -> None:
        known = (await self.verdict()).template
        self.write(*_shadowed(stable, canary, **annotations))

        async def new() -> bool:
            return (await self.verdict()).template not in ("", known) and await self.mirrors()

        await eventually(new, what="the evidence of a new template")

    def write(self, *documents: Document) -> None:
        write_documents(self.manifests / "all.yaml", [*documents])

    async def mirrors(self) -> bool:
        """Whether every Envoy has the shadow cluster, with an endpoint."""
        name = f"cluster.staging/{SERVICE}/http/shadow/{CANARY}.membership_total"
        found = [await door.envoy.stat(name) for door in self.doors.values()]
        return all(found)

    async def verdict(self) -> status_pb2.Verdict:
        """Of the only canary; an empty one before there is any."""
        answer = await asyncio.to_thread(get_verdicts, self.control_plane.admin_address)
        return next(iter(answer.verdicts), status_pb2.Verdict())

    async def send(
        self,
        door: Door,
        count: int,
        *,
        ids: Iterable[str | None] = (None,),
        at_once: int = 8,
        method: str = "GET",
        path: str = "/",
        **how: Any,
    ) -> None:
        """Send requests. `ids` are their ids, again and again; None stands for one that Envoy makes. `how` is
        as for aiohttp."""
        left = itertools.islice(itertools.cycle(ids), count)

        async def one_after_another() -> None:
            for chosen in left:
                headers = {"Host": HOST} | ({} if chosen is None else {"x-request-id": chosen})
                url = f"http://{door.address}{path}"
                more = how | {"headers": headers | how.get("headers", {})}
                async with self.session.request(method, url, **more) as response:
                    await response.read()
                    self.failed += response.status != 200
                self.sent += 1

        await asyncio.gather(*(one_after_another() for _ in range(at_once)))

    async def send_everywhere(self, count: int, **how: Any) -> None:
        """So many requests, in equal parts to all Envoys at the same time."""
        each = count // len(self.doors)
        await asyncio.gather(*(self.send(door, each, **how) for door in self.doors.values()))

    async def until_judged(self, pairs: int) -> status_pb2.Verdict:
        """Wait until so many requests are judged or counted as lost."""
        found = status_pb2.Verdict()

        async def judged() -> bool:
            nonlocal found
            found = await self.verdict()
            return found.total.pairs + sum(found.lost.values()) >= pairs

        await eventually(judged, what=f"{pairs} judged requests")
        return found

    async def until_expected(self, pairs: float) -> status_pb2.Verdict:
        """Wait until load reports let expect so many pairs."""
        found = status_pb2.Verdict()

        async def expected() -> bool:
            nonlocal found
            found = await self.verdict()
            return found.expected >= pairs

        await eventually(expected, what=f"{pairs} expected pairs")
        return found


def _shadowed(stable: Address, canary: Address, **annotations: Any) -> list[Document]:
    run = next(_RUNS)
    return [
        objects.namespace(),
        objects.service(),
        *objects.endpoint_slice(SERVICE, [(f"stable-{run}-a", stable)]),
        objects.canary(CANARY, **{"timeout": TIMEOUT, **annotations}),
        objects.pod(f"canary-{run}-a", canary),
    ]


@contextlib.asynccontextmanager
async def stage(
    directory: Path, shares: Sequence[float], *, extra: Sequence[str] = (), doors: Sequence[str] = ()
) -> AsyncIterator[Stage]:
    """Start everything, or the `doors` with these names only; end it all afterwards."""
    manifests = directory / "manifests"
    manifests.mkdir()
    async with contextlib.AsyncExitStack() as stack:
        stable, canary = [
            await stack.enter_async_context(failing_backends(directory, side, shares))
            for side in ("stable", "canary")
        ]
        control_plane = ControlPlane([f"--manifests={manifests}"], directory, extra=extra)
        stack.push_async_callback(control_plane.stop)
        await control_plane.start()
        session = await stack.enter_async_context(
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        )
        found = Stage(control_plane, manifests, {}, stable, canary, session)
        found.write(*_shadowed(stable[shares[0]], canary[shares[0]]))
        names = [f"{v}-{m.value}-{door}" for v in BINARIES for m in Variant for door in ("gateway", "own")]
        wanted = [name for name in names if not doors or name in doors]
        ports = stack.enter_context(reserved_ports(len(wanted)))
        for name, port in zip(wanted, ports, strict=True):
            envoy = _envoy(name, port, control_plane.xds_address, directory)
            stack.push_async_callback(envoy.stop)
            found.doors[name] = Door(envoy, Address("127.0.0.1", port))
        await asyncio.gather(*(door.envoy.start() for door in found.doors.values()))
        await asyncio.gather(*(door.envoy.until_serving() for door in found.doors.values()))
        yield found


def _envoy(name: str, port: int, xds: Address, directory: Path) -> Envoy:
    version, mode, door = name.split("-")
    options = BootstrapOptions(
        node_id=name, mode=Variant(mode), xds_address=xds, admin_port=0, gateway_port=port
    )
    binary = BINARIES[version]
    if door == "gateway":
        return Envoy(options, directory, binary=binary)
    return OwnEnvoy(_own_listener(options, port), options, directory, binary=binary)


def _own_listener(options: BootstrapOptions, port: int) -> Config:
    """A listener with what is printed for connection managers, and nothing else."""
    _, stanza = yaml.safe_load_all(routes_only_yaml(options))
    manager = {"@type": _HCM, "stat_prefix": "own", "preserve_external_request_id": True, **stanza}
    return {
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
        "static_resources": {"listeners": [_listener("own", Address("127.0.0.1", port), manager)]},
    }


def _listener(name: str, address: Address, manager: Config) -> Config:
    filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]
    return {
        "name": name,
        "address": {"socket_address": {"address": address.host, "port_value": address.port}},
        "filter_chains": [{"filters": filters}],
    }


@contextlib.asynccontextmanager
async def failing_backends(
    directory: Path, name: str, shares: Sequence[float]
) -> AsyncIterator[dict[float, Address]]:
    """One Envoy that listens once for each share, and answers that share of all requests with 500."""
    with reserved_ports(len(shares)) as ports:
        found = {share: Address("127.0.0.1", port) for share, port in zip(shares, ports, strict=True)}
        config, admin_file = directory / f"{name}.yaml", directory / f"{name}.admin"
        listeners = [_failing(share, address) for share, address in found.items()]
        admin = {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}}
        config.write_text(yaml.safe_dump({"admin": admin, "static_resources": {"listeners": listeners}}))
        options = ["--admin-address-path", str(admin_file), "--concurrency", "1", "-l", "warning"]
        command = [envoy_binary(), "-c", str(config), *options, "--disable-hot-restart"]
        process = Process(name, command, directory / f"{name}.log")
        await process.start()
        try:
            await process.until(partial(_listen, found), what="listening")
            yield found
        finally:
            await process.stop()


async def _listen(backends: Mapping[float, Address]) -> bool:
    try:
        for address in backends.values():
            _, writer = await asyncio.open_connection(address.host, address.port)
            writer.close()
    except OSError:
        return False
    return True


def _failing(share: float, address: Address) -> Config:
    percentage = {"numerator": round(share * 1e6), "denominator": "MILLION"}
    fault = {
        "@type": f"{_TYPE}.http.fault.v3.HTTPFault",
        "abort": {"http_status": 500, "percentage": percentage},
        # As long as the request's header `DELAY` says.
        "delay": {"header_delay": {}, "percentage": {"numerator": 100}},
    }
    filters = [
        {"name": "envoy.filters.http.fault", "typed_config": fault},
        {
            "name": "envoy.filters.http.router",
            "typed_config": {"@type": f"{_TYPE}.http.router.v3.Router"},
        },
    ]
    answer = {"status": 200, "body": {"inline_string": "hello"}}
    fail = {"match": {"path": FAILING}, "direct_response": {"status": 500}}
    empty = {"match": {"path": EMPTY}, "direct_response": {"status": 204}}
    routes = [fail, empty, {"match": {"prefix": "/"}, "direct_response": answer}]
    host = {"name": "all", "domains": ["*"], "routes": routes}
    manager = {
        "@type": _HCM,
        "stat_prefix": f"fails {share}",
        "http_filters": filters,
        "route_config": {"virtual_hosts": [host]},
    }
    return _listener(f"fails {share}", address, manager)
