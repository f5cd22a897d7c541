"""Envoys without a control plane: what `render` gives for some objects, as a static configuration."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.envoy.scenarios.stage import BINARIES
from tests.support import objects
from tests.support.cli import xds_shadow
from xds_server.base.address import Address
from xds_server.local.demo.envoy import Envoy
from xds_server.local.demo.fleet import reserved_ports
from xds_server.translate.bootstrap import BootstrapOptions

Config = dict[str, Any]


async def rendered(directory: Path, documents: Sequence[objects.Document]) -> Config:
    """The static configuration for these objects."""
    manifests = directory / "manifests"
    manifests.mkdir()
    objects.write_documents(manifests / "all.yaml", documents)
    text = await xds_shadow("render", f"--manifests={manifests}", "-o", "static")
    found: Config = yaml.safe_load(text)
    return {"node": {"id": "static", "cluster": "static"}, **found}


def http_filters(config: Config) -> list[Config]:
    """The filters of the connection manager; changes apply to the configuration."""
    [listener] = config["static_resources"]["listeners"]
    found: list[Config] = listener["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"]
    return found


@contextlib.asynccontextmanager
async def running(config: Config, directory: Path, version: str) -> AsyncIterator[Envoy]:
    """An Envoy of this version with this configuration, whose listener is on a free port."""
    with reserved_ports(1) as [port]:
        options = BootstrapOptions(node_id="static", xds_address=Address("127.0.0.1", 1), gateway_port=port)
        [listener] = config["static_resources"]["listeners"]
        listener["address"]["socket_address"]["port_value"] = port
        envoy = Envoy(options, directory, binary=BINARIES[version])
        (directory / f"{envoy.id}.yaml").write_text(yaml.safe_dump(config))
        try:
            await envoy.start()
            await envoy.process.until(envoy.workers_started, what="accepting connections")
            yield envoy
        finally:
            await envoy.stop()
