"""An Envoy that mirrors by a configuration written by hand, which does nothing else: what mirroring costs at
least."""

import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

from xds_server.base.address import Address
from xds_server.local.demo.envoy import Envoy
from xds_server.local.demo.fleet import reserved_ports
from xds_server.translate.bootstrap import BootstrapOptions

PLAIN: Final = "plain.bench"
MIRRORED: Final = "mirrored.bench"
SHADOW: Final = "cluster.canary."
_TYPES: Final = "type.googleapis.com/envoy.extensions.filters"


@contextlib.asynccontextmanager
async def by_hand(directory: Path, stable: int, canary: int) -> AsyncIterator[Envoy]:
    """Start it, for backends at these ports; end it afterwards. It serves `PLAIN` and `MIRRORED`."""
    with reserved_ports(1) as [port]:
        options = BootstrapOptions(
            node_id="by-hand", xds_address=Address("127.0.0.1", 1), gateway_port=port, admin_port=0
        )
        envoy = Envoy(options, directory)
        (directory / f"{envoy.id}.yaml").write_text(json.dumps(_configuration(port, stable, canary)))
        try:
            await envoy.start()
            await envoy.process.until(envoy.workers_started, what="accepting connections")
            yield envoy
        finally:
            await envoy.stop()


def _configuration(port: int, stable: int, canary: int) -> dict[str, Any]:
    mirrored = {"request_mirror_policies": [{"cluster": "canary"}]}
    manager = {
        "@type": f"{_TYPES}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "by-hand",
        "use_remote_address": True,
        "route_config": {"virtual_hosts": [_host(PLAIN, {}), _host(MIRRORED, mirrored)]},
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{_TYPES}.http.router.v3.Router"},
            }
        ],
    }
    filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]
    listener = {"name": "by-hand", "address": _address(port), "filter_chains": [{"filters": filters}]}
    clusters = [_cluster("stable", stable), _cluster("canary", canary)]
    return {
        "admin": {"address": _address(0)},
        "static_resources": {"listeners": [listener], "clusters": clusters},
    }


def _host(domain: str, action: dict[str, Any]) -> dict[str, Any]:
    route = {"match": {"prefix": "/"}, "route": {"cluster": "stable", "timeout": "0s", **action}}
    return {"name": domain, "domains": [domain], "routes": [route]}


def _cluster(name: str, port: int) -> dict[str, Any]:
    hosts = [{"endpoint": {"address": _address(port)}}]
    return {
        "name": name,
        "type": "STATIC",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": hosts}]},
    }


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}
