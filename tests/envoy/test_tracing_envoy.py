"""Envoys that trace requests by themselves: what of their trace context a canary gets."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from tests.envoy.scenarios.stage import BINARIES
from tests.envoy.test_own_listener import HOST, at, options, running
from tests.support import objects
from tests.support.backends import TEST_ID, Recorder, recorder
from tests.support.own_listener import Config, OwnEnvoy, manager_of, surroundings
from tests.support.waiting import eventually
from xds_server.local.demo.control_plane import ControlPlane
from xds_server.xds.stream_events import Variant

pytestmark = pytest.mark.envoy

ADDED = {"x-b3-sampled", "x-b3-spanid", "x-b3-traceid"}
TRACER: Config = {
    "provider": {
        "name": "envoy.tracers.zipkin",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.config.trace.v3.ZipkinConfig",
            # The collector does not matter here. Any cluster will do.
            "collector_cluster": "authorization",
            "collector_endpoint": "/api/v2/spans",
            "collector_endpoint_version": "HTTP_JSON",
        },
    }
}


@contextlib.asynccontextmanager
async def tracing(
    directory: Path, version: str, stable: Recorder, canary: Recorder, **annotations: str
) -> AsyncIterator[OwnEnvoy]:
    """An Envoy with a listener of its own that traces every request."""
    (directory / "manifests").mkdir()
    objects.write_documents(
        directory / "manifests" / "all.yaml",
        [
            objects.namespace(),
            objects.service(),
            *objects.endpoint_slice("myapp", [("stable-1", stable.address)]),
            objects.canary(selects=None, **annotations),
            objects.pod("canary-1", canary.address),
        ],
    )
    async with contextlib.AsyncExitStack() as stack:
        around = await stack.enter_async_context(surroundings(directory))
        control_plane = ControlPlane([f"--manifests={directory / 'manifests'}"], directory)
        stack.push_async_callback(control_plane.stop)
        await control_plane.start()
        config = around.example()
        manager_of(config["static_resources"]["listeners"][0])["tracing"] = TRACER
        way = options(control_plane.xds_address, version, Variant.DELTA)
        envoy = OwnEnvoy(config, way, directory, binary=BINARIES[version])
        yield await stack.enter_async_context(running(envoy))


@pytest.mark.parametrize("version", BINARIES)
@pytest.mark.parametrize(
    ("annotations", "kept"), [({}, ADDED), ({"new_trace": "true"}, set())], ids=["default", "new-trace"]
)
async def test_new_trace_removes_what_the_envoy_adds(
    tmp_path: Path, version: str, annotations: dict[str, str], kept: set[str]
) -> None:
    async with (
        recorder("stable") as stable,
        recorder("canary") as canary,
        tracing(tmp_path, version, stable, canary, **annotations) as envoy,
        aiohttp.ClientSession() as session,
    ):
        await eventually(envoy.listening, what="the listener")
        headers = {"Host": HOST, TEST_ID: "traced", "Authorization": "Bearer jane"}
        async with session.get(f"https://{await at(envoy)}/a", headers=headers, ssl=False) as response:
            assert response.status == 200
        await canary.until_seen("traced")
        [primary], [mirrored] = stable.of("traced"), canary.of("traced")
        assert primary.headers.keys() >= ADDED
        assert ADDED & mirrored.headers.keys() == kept
