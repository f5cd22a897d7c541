"""Headers that cannot be a condition: Envoy takes them off a request before it looks for a route."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.envoy.scenarios.stage import BINARIES
from tests.support.waiting import PATIENCE_S
from xds_server.base.address import Address
from xds_server.core.values import REMOVED_BY_ENVOY
from xds_server.local.demo.envoy import Envoy
from xds_server.local.demo.fleet import reserved_ports
from xds_server.translate.bootstrap import BootstrapOptions
from xds_server.xds.stream_events import Variant

pytestmark = pytest.mark.envoy

SENT = {
    "connection": "close",
    "expect": "100-continue",
    "http2-settings": "AAMAAABkAAQAAP__",
    "transfer-encoding": "chunked",
    "upgrade": "h2c",
}
WITH = {"http2-settings": ("connection: Upgrade, HTTP2-Settings", "upgrade: h2c"), "te": ("connection: te",)}
TYPE = "type.googleapis.com/envoy.extensions.filters"


def configuration(port: int) -> dict[str, Any]:
    """A plain listener of one's own: 200 where the header that the path names is there, else 404."""
    routes: list[Any] = [
        {
            "match": {"prefix": f"/{name}", "headers": [{"name": name, "present_match": True}]},
            "direct_response": {"status": 200},
        }
        for name in (*sorted(REMOVED_BY_ENVOY), "te", "x-team")
    ]
    routes.append({"match": {"prefix": "/"}, "direct_response": {"status": 404}})
    router = {"@type": f"{TYPE}.http.router.v3.Router"}
    manager = {
        "@type": f"{TYPE}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "own",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
        "http_filters": [{"name": "router", "typed_config": router}],
    }
    listener = {
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [{"filters": [{"name": "manager", "typed_config": manager}]}],
    }
    admin = {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}}
    return {"admin": admin, "static_resources": {"listeners": [listener]}}


async def status(port: int, name: str) -> int:
    """Of a request with the header, in a form in which clients send it."""
    head = [f"GET /{name} HTTP/1.1", "host: a", *WITH.get(name, ()), f"{name}: {SENT.get(name, 'trailers')}"]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        body = "0\r\n\r\n" if name == "transfer-encoding" else ""
        writer.write("\r\n".join([*head, "", body]).encode())
        line = b" 100 "
        while b" 100 " in line or not line.startswith(b"HTTP/1.1 "):
            line = await asyncio.wait_for(reader.readline(), PATIENCE_S)
        return int(line.split()[1])
    finally:
        writer.close()


@pytest.mark.parametrize("version", BINARIES)
async def test_a_header_that_is_taken_off_meets_no_condition(version: str, tmp_path: Path) -> None:
    with reserved_ports(1) as [port]:
        options = BootstrapOptions(
            node_id="own", mode=Variant.DELTA, xds_address=Address("127.0.0.1", 1), admin_port=0
        )
        envoy = Envoy(options, tmp_path, binary=BINARIES[version])
        (tmp_path / "own.yaml").write_text(yaml.safe_dump(configuration(port)))
        try:
            await envoy.start()
            found = {name: await status(port, name) for name in sorted(REMOVED_BY_ENVOY)}
            # An upgrade that the listener does not know is not passed on at all.
            assert found.items() <= {(name, code) for name in REMOVED_BY_ENVOY for code in (403, 404)}, found
            assert [await status(port, name) for name in ("te", "x-team")] == [200, 200]
        finally:
            await envoy.stop()
