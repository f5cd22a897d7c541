"""A control plane in the test's own loop, on a Kubernetes API."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.support.installation import SYSTEM
from tests.support.waiting import PATIENCE_S
from xds_server.base.address import Address
from xds_server.server.app import App
from xds_server.server.config import EventsConfig, ServeConfig, SourceConfig

ANY_PORT = Address("127.0.0.1", 0)


@asynccontextmanager
async def control_plane(
    kubeconfig: Path, namespaces: tuple[str, ...] = (), *, identity: str = "replica-1"
) -> AsyncIterator[App]:
    """One that is ready; it writes Events, with its Lease in the namespace of an installation."""
    config = ServeConfig(
        source=SourceConfig(kubeconfig=kubeconfig, namespaces=namespaces, allow_loopback_endpoints=True),
        xds_address=ANY_PORT,
        admin_address=ANY_PORT,
        http_address=ANY_PORT,
        events=EventsConfig(identity=identity, lease_namespace=SYSTEM),
        drain_s=0.0,
    )
    app = App(config)
    task = asyncio.create_task(app.run())
    try:
        await asyncio.wait_for(app.ready.wait(), PATIENCE_S)
        yield app
    finally:
        app.stop()
        await task
