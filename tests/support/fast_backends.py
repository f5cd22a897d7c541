"""Backends that keep up with a load test: one Envoy that answers on several ports by itself."""

import contextlib
from collections.abc import AsyncIterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from xds_server.base.address import Address
from xds_server.local.demo.envoy import envoy_binary
from xds_server.local.demo.fleet import reserved_ports
from xds_server.local.demo.processes import Process

_HCM = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"


class FastBackends:
    """Addresses by name, and how many requests each has answered."""

    def __init__(self, addresses: Mapping[str, Address], admin_file: Path) -> None:
        self.addresses = addresses
        self._admin_file = admin_file

    async def answered(self, name: str) -> int:
        admin = self._admin_file.read_text().strip()
        stat = f"http.{name}.downstream_rq_2xx"
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://{admin}/stats?filter=^{stat}$") as found,
        ):
            return int((await found.text()).rpartition(" ")[2])


@contextlib.asynccontextmanager
async def fast_backends(directory: Path, *names: str) -> AsyncIterator[FastBackends]:
    """Run one for each name."""
    with reserved_ports(len(names)) as ports:
        addresses = {name: Address("127.0.0.1", port) for name, port in zip(names, ports, strict=True)}
        config, admin_file = directory / "backends.yaml", directory / "backends.admin"
        config.write_text(yaml.safe_dump(_configuration(addresses)))
        options = ["--admin-address-path", str(admin_file), "--concurrency", "1", "-l", "warning"]
        command = [envoy_binary(), "-c", str(config), *options, "--disable-hot-restart"]
        process = Process("backends", command, directory / "backends.log")
        await process.start()
        try:
            backends = FastBackends(addresses, admin_file)
            await process.until(partial(_answers, backends), what="answering")
            yield backends
        finally:
            await process.stop()


async def _answers(backends: FastBackends) -> bool:
    try:
        return all([await backends.answered(name) >= 0 for name in backends.addresses])
    except (OSError, ValueError, aiohttp.ClientError):  # not there yet
        return False


def _configuration(addresses: Mapping[str, Address]) -> dict[str, Any]:
    admin = {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}}
    listeners = [_listener(name, address) for name, address in addresses.items()]
    return {"admin": admin, "static_resources": {"listeners": listeners}}


def _listener(name: str, address: Address) -> dict[str, Any]:
    answer = {"status": 200, "body": {"inline_string": name}}
    manager = {
        "@type": _HCM,
        "stat_prefix": name,
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {"@type": _ROUTER}}],
        "route_config": {
            "virtual_hosts": [
                {
                    "name": name,
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "direct_response": answer}],
                }
            ]
        },
    }
    filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]
    socket = {"address": address.host, "port_value": address.port}
    return {"name": name, "address": {"socket_address": socket}, "filter_chains": [{"filters": filters}]}
