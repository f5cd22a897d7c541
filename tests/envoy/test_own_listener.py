"""Envoys that keep their listeners, as docs/own-listener.md has it: only routes and clusters are ours."""

import asyncio
import contextlib
import itertools
import json
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
import yaml

from tests.docs.blocks import blocks_of
from tests.envoy.scenarios.stage import BINARIES
from tests.support import objects
from tests.support.backends import BACKEND, TEST_ID, Recorder, recorder
from tests.support.cli import xds_shadow
from tests.support.own_listener import EXAMPLE, Config, OwnEnvoy, Surroundings, manager_of, surroundings
from tests.support.waiting import eventually
from xds_server.base.address import Address
from xds_server.local.demo.control_plane import ControlPlane
from xds_server.server.status_client import get_status
from xds_server.translate.bootstrap import BootstrapOptions, routes_only_yaml
from xds_server.xds.stream_events import Variant

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

HOST = "myapp.staging"
CALLER = "203.0.113.9"
_IDS = itertools.count()
WAYS = [(version, variant) for version in BINARIES for variant in Variant]


def of_the_page(part: str) -> Config:
    """The piece of configuration on the page that has this part."""
    [text] = [
        each.text
        for each in blocks_of("docs/own-listener.md")
        if part in each.text and each.language == "yaml"
    ]
    found: Config = yaml.safe_load(text)
    return found


def with_further_listeners(config: Config) -> Config:
    """The example with three listeners more, as on the page: behind a balancer that ends TLS, behind one that
    passes it on, and one with other routes."""
    [https] = config["static_resources"]["listeners"]
    behind: Config = {**json.loads(json.dumps(https)), "name": "behind"}
    del behind["filter_chains"][0]["transport_socket"]
    manager_of(behind).update(of_the_page("xff_num_trusted_hops"))
    proxied = {**json.loads(json.dumps(https)), "name": "proxied", **of_the_page("listener_filters")}
    internal: Config = {**json.loads(json.dumps(https)), "name": "internal"}
    manager_of(internal)["rds"]["route_config_name"] = "internal"
    config["static_resources"]["listeners"] += [behind, internal, proxied]
    return config


@dataclass
class Stage:
    """A control plane, both backends, an Envoy of each version and variant."""

    control_plane: ControlPlane
    stable: Recorder
    canary: Recorder
    envoys: tuple[OwnEnvoy, ...]
    session: aiohttp.ClientSession
    manifests: Path

    def write(self, *documents: objects.Document) -> None:
        """More objects, in place of those that this wrote before."""
        objects.write_documents(self.manifests / "more.yaml", documents)

    async def get(self, at: Address, *, secure: bool = True, **headers: str) -> tuple[int, str]:
        """One request: its status, and its id."""
        test_id = f"own-{next(_IDS)}"
        url = f"{'https' if secure else 'http'}://{at}/a"
        sent = {
            "Host": HOST,
            TEST_ID: test_id,
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        async with self.session.get(url, headers=sent, ssl=False) as response:
            assert response.headers.get(BACKEND, "stable") == "stable"
            return response.status, test_id

    async def arrived(self, test_id: str) -> list[dict[str, str]]:
        """The headers of a request at the Service and at the canary."""
        await self.canary.until_seen(test_id)
        found = [*self.stable.of(test_id), *self.canary.of(test_id)]
        assert len(found) == 2
        return [each.headers for each in found]


def options(control_plane: Address, version: str, variant: Variant) -> BootstrapOptions:
    return BootstrapOptions(
        node_id=f"own-{version}-{variant}", mode=variant, xds_address=control_plane, admin_port=0
    )


@contextlib.asynccontextmanager
async def running(envoy: OwnEnvoy) -> AsyncIterator[OwnEnvoy]:
    try:
        yield await envoy.start()
    finally:
        await envoy.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    directory = tmp_path_factory.mktemp("own")
    async with contextlib.AsyncExitStack() as stack:
        around: Surroundings = await stack.enter_async_context(surroundings(directory))
        stable = await stack.enter_async_context(recorder("stable"))
        canary = await stack.enter_async_context(recorder("canary"))
        source = [f"--manifests={directory / 'manifests'}", "--route-config=internal"]
        control_plane = ControlPlane(source, directory)
        lay(directory, stable, canary)
        stack.push_async_callback(control_plane.stop)
        await control_plane.start()
        envoys = [
            OwnEnvoy(
                with_further_listeners(around.example()),
                options(control_plane.xds_address, *way),
                directory,
                binary=BINARIES[way[0]],
            )
            for way in WAYS
        ]
        for envoy in envoys:
            await stack.enter_async_context(running(envoy))
            await eventually(partial(envoy.listening, "proxied"), what=f"the listeners of {envoy.id}")
        session = await stack.enter_async_context(aiohttp.ClientSession())
        yield Stage(control_plane, stable, canary, tuple(envoys), session, directory / "manifests")


def lay(directory: Path, stable: Recorder, canary: Recorder) -> None:
    (directory / "manifests").mkdir()
    objects.write_documents(
        directory / "manifests" / "all.yaml",
        [
            objects.namespace(),
            objects.service(),
            *objects.endpoint_slice("myapp", [("stable-1", stable.address)]),
            objects.canary(),
            objects.pod("canary-1", canary.address),
        ],
    )


async def at(envoy: OwnEnvoy, listener: str = "https") -> Address:
    found = await envoy.listening(listener)
    assert found
    return found


async def test_the_example_has_what_is_printed() -> None:
    address = Address("10.0.0.5", 18000)
    for variant in Variant:
        parts, stanza = yaml.safe_load_all(
            routes_only_yaml(BootstrapOptions(node_id="edge-1", xds_address=address, mode=variant))
        )
        assert parts.keys() == {"node", "static_resources", "dynamic_resources", "cluster_manager"}
        assert parts["dynamic_resources"].keys() == {"ads_config", "cds_config"}
        [listener] = yaml.safe_load(EXAMPLE.read_text())["static_resources"]["listeners"]
        manager = manager_of(listener)
        assert manager["http_filters"][-2:] == stanza.pop("http_filters")
        assert stanza.items() <= manager.items()
        assert stanza == of_the_page("route_config_name")


async def test_what_authorization_admits_is_mirrored(stage: Stage) -> None:
    for envoy in stage.envoys:
        https = await at(envoy)
        status, denied = await stage.get(https, Authorization="Bearer nobody")
        assert status == 403
        status, admitted = await stage.get(https, Authorization="Bearer jane")
        assert status == 200
        for headers in await stage.arrived(admitted):
            assert headers["x-user"] == "jane"
            assert headers["x-forwarded-proto"] == "https"
        assert not stage.stable.of(denied)
        assert not stage.canary.of(denied)
        assert await envoy.stat("cluster.authorization.upstream_rq_total") == 2, (
            "one question for each request"
        )


async def test_the_access_log_has_one_line_a_request(stage: Stage) -> None:
    for envoy in stage.envoys:
        status, test_id = await stage.get(await at(envoy), x_request_id=f"log-of-{envoy.id}")
        assert status == 200
        await stage.arrived(test_id)

        def logged(of: OwnEnvoy) -> list[dict[str, Any]]:
            lines = of.process.log.read_text().splitlines()
            found = [json.loads(line) for line in lines if line.startswith("{")]
            return [each for each in found if each["request_id"] == f"log-of-{of.id}"]

        await eventually(partial(logged, envoy), what=f"a line of {envoy.id}")
        [line] = logged(envoy)
        assert (line["path"], line["status"], line["cluster"]) == ("/a", 200, "staging/myapp/http")


async def test_behind_a_balancer_that_ends_tls_its_headers_arrive(stage: Stage) -> None:
    for envoy in stage.envoys:
        sent = {"X_Forwarded_For": CALLER, "X_Forwarded_Proto": "https"}
        status, trusted = await stage.get(await at(envoy, "behind"), secure=False, **sent)
        assert status == 200
        for headers in await stage.arrived(trusted):
            assert headers["x-forwarded-proto"] == "https"
            assert headers["x-forwarded-for"].startswith(f"{CALLER},")


async def test_behind_a_balancer_that_passes_tls_on_the_caller_is_known(stage: Stage) -> None:
    for envoy in stage.envoys:
        proxied = await at(envoy, "proxied")
        for headers in await proxied_request(stage, proxied):
            assert headers["x-forwarded-for"] == CALLER


async def proxied_request(stage: Stage, proxied: Address) -> list[dict[str, str]]:
    """What arrives of a request whose connection a balancer has announced."""
    test_id = f"proxied-{proxied.port}"
    reader, writer = await asyncio.open_connection(proxied.host, proxied.port)
    writer.write(f"PROXY TCP4 {CALLER} 127.0.0.1 4711 443\r\n".encode())
    await writer.start_tls(_without_checks())
    writer.write(f"GET / HTTP/1.1\r\nHost: {HOST}\r\n{TEST_ID}: {test_id}\r\n\r\n".encode())
    assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
    writer.close()
    return await stage.arrived(test_id)


def _without_checks() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def inner(stage: Stage, **annotations: str) -> list[objects.Document]:
    """Another Service, without a canary."""
    found = objects.service("inner", annotations={f"xds-shadow.io/{k}": v for k, v in annotations.items()})
    return [found, *objects.endpoint_slice("inner", [("inner-1", stage.stable.address)])]


async def answers(stage: Stage, envoy: OwnEnvoy, host: str, expected: dict[str, int]) -> bool:
    """Whether the listeners of an Envoy answer so."""
    found = {name: (await stage.get(await at(envoy, name), Host=host))[0] for name in expected}
    return found == expected


async def test_a_service_is_routed_on_the_gateways_that_it_names(stage: Stage) -> None:
    # Without the annotation on all of them, and mirrored there.
    stage.write(*inner(stage))
    for envoy in stage.envoys:
        await eventually(partial(answers, stage, envoy, "inner.staging", {"https": 200, "internal": 200}))
        status, test_id = await stage.get(await at(envoy, "internal"))
        assert status == 200
        await stage.arrived(test_id)
    for gateways, expected in (
        ("internal", {"https": 404, "internal": 200}),
        ("gateway", {"https": 200, "internal": 404}),
        ("internal,extern", {"https": 404, "internal": 200}),
        ("extern", {"https": 404, "internal": 200}),  # it stays where it is
        ("internal,gateway", {"https": 200, "internal": 200}),
    ):
        stage.write(*inner(stage, gateways=gateways))
        problems = ["UnknownGateway"] if "extern" in gateways else []
        await eventually(partial(_has_problems, stage, problems), what=f"{problems} of {gateways}")
        for envoy in stage.envoys:
            await eventually(
                partial(answers, stage, envoy, "inner.staging", expected), what=f"{gateways} at {envoy.id}"
            )
            assert await answers(stage, envoy, HOST, {"https": 200, "internal": 200})
    status_now = await asyncio.to_thread(get_status, stage.control_plane.admin_address)
    assert [list(shadow.gateways) for shadow in status_now.shadows] == [["gateway", "internal"]]
    printed = await xds_shadow("status", "--server", str(stage.control_plane.admin_address))
    assert "myapp on gateway, internal" in printed


async def test_no_request_fails_where_a_service_stays(stage: Stage) -> None:
    both, one = ("gateway,internal", 200), ("gateway", 404)
    stage.write(*inner(stage, gateways=both[0]))
    statuses: list[int] = []

    async def load(envoy: OwnEnvoy) -> None:
        https = await at(envoy)
        while True:
            statuses.append((await stage.get(https, Host="inner.staging"))[0])

    for envoy in stage.envoys:
        await eventually(partial(answers, stage, envoy, "inner.staging", {"https": 200, "internal": 200}))
    loads = [asyncio.create_task(load(envoy)) for envoy in stage.envoys]
    for gateways, expected in (one, both) * 3:
        stage.write(*inner(stage, gateways=gateways))
        for envoy in stage.envoys:
            await eventually(partial(answers, stage, envoy, "inner.staging", {"internal": expected}))
    for task in loads:
        task.cancel()
    ended = await asyncio.gather(*loads, return_exceptions=True)
    assert {type(end) for end in ended} == {asyncio.CancelledError}
    assert set(statuses) == {200}


async def _has_problems(stage: Stage, expected: list[str]) -> bool:
    status = await asyncio.to_thread(get_status, stage.control_plane.admin_address)
    return [each.reason for each in status.conditions if each.severity == "Error"] == expected


async def test_status_says_routes_only(stage: Stage) -> None:
    status = await asyncio.to_thread(get_status, stage.control_plane.admin_address)
    assert [(node.id, node.routes_only) for node in status.nodes] == sorted(
        (each.id, True) for each in stage.envoys
    )
    printed = await xds_shadow("status", "--server", str(stage.control_plane.admin_address))
    assert printed.count("routes only") == len(stage.envoys)


async def test_an_envoy_listens_once_it_has_routes(stage: Stage, tmp_path: Path) -> None:
    """It is started while there is no control plane; the first request that it takes is routed."""
    async with surroundings(tmp_path) as around, contextlib.AsyncExitStack() as stack:
        lay(tmp_path, stage.stable, stage.canary)
        late = ControlPlane([f"--manifests={tmp_path / 'manifests'}"], tmp_path)
        stack.push_async_callback(late.stop)
        await late.start()
        await late.stop()  # its port is known now
        envoys = [
            OwnEnvoy(around.example(), options(late.xds_address, *way), tmp_path, binary=BINARIES[way[0]])
            for way in WAYS
        ]
        for envoy in envoys:
            await stack.enter_async_context(running(envoy))
            await eventually(partial(_tried, envoy), what=f"an attempt of {envoy.id}")
            assert not await _accepts(envoy)
        await late.start()
        for envoy in envoys:
            await eventually(partial(_accepts, envoy), what=f"the listener of {envoy.id}")
            assert (await stage.get(await at(envoy)))[0] == 200


@pytest.mark.parametrize("variant", Variant)
async def test_a_route_configuration_that_there_is_not_is_a_problem(
    stage: Stage, tmp_path: Path, variant: Variant
) -> None:
    async with surroundings(tmp_path) as around:
        config = around.example()
        [listener] = config["static_resources"]["listeners"]
        manager_of(listener)["rds"]["route_config_name"] = "gatway"
        wanted = options(stage.control_plane.xds_address, "wrong", variant)
        async with running(OwnEnvoy(config, wanted, tmp_path)):
            await eventually(partial(_has_problems, stage, ["UnknownRouteConfiguration"]))
            status = await asyncio.to_thread(get_status, stage.control_plane.admin_address)
            assert status.conditions[0].message == (
                f"Envoy {wanted.node_id} requests route configuration 'gatway', which does not exist. The"
                " route configurations are gateway, internal. Correct route_config_name, or add"
                " --route-config."
            )
        await eventually(partial(_has_problems, stage, []), what="no problem")


async def _accepts(envoy: OwnEnvoy) -> bool:
    found = await envoy.listening()
    if found is None:
        return False
    try:
        _, writer = await asyncio.open_connection(found.host, found.port)
    except ConnectionRefusedError:
        return False
    writer.close()
    return True


async def _tried(envoy: OwnEnvoy) -> bool:
    return await envoy.stat("cluster.xds-shadow.upstream_cx_connect_fail") > 0
