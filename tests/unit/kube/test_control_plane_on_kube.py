"""The whole control plane on a Kubernetes API: one label, from the API server's events to the plan."""

import asyncio
from pathlib import Path

from tests.support import objects
from tests.support.waiting import PATIENCE_S, eventually
from tests.unit.kube.api_server import ApiServer
from tests.unit.kube.test_kube_api import kubeconfig
from xds_server.base.address import Address
from xds_server.core.plan import State
from xds_server.server.app import App
from xds_server.server.config import ServeConfig, SourceConfig
from xds_server.server.wiring import read_once
from xds_server.xds.variants import versions

ANY_PORT = Address("127.0.0.1", 0)


def _state(app: App) -> list[State]:
    return [shadow.state for shadow in app.reporter.server_state().shadows]


async def test_a_label_starts_and_stops_mirroring(api: ApiServer, tmp_path: Path) -> None:
    source = SourceConfig(kubeconfig=kubeconfig(tmp_path / "config", api.url))
    api.put(
        objects.namespace(),
        objects.service(),
        *objects.endpoint_slice("myapp", [("stable-1", Address("10.0.0.1", 80))]),
        objects.canary(shadow_of=None),
        objects.pod("canary-1", Address("10.0.0.2", 80)),
    )
    config = ServeConfig(
        source=source, xds_address=ANY_PORT, admin_address=ANY_PORT, http_address=ANY_PORT, drain_s=0.0
    )
    app = App(config)
    running = asyncio.create_task(app.run())
    await asyncio.wait_for(app.ready.wait(), PATIENCE_S)
    assert _state(app) == []

    api.put(objects.canary())
    await eventually(lambda: _state(app) == [State.ACTIVE])
    published = await read_once(source, gateway_port=8080, expose_all=False)
    served = set(app.reporter.server_state().versions.values())

    api.put(objects.canary(shadow_of=None))
    await eventually(lambda: _state(app) == [])
    app.stop()
    await running
    # What `render` prints of the same cluster is what was served.
    assert set(versions(published.snapshot).values()) == served
