"""Addresses that cannot be endpoints affect nothing else, on real Envoys of both versions and variants."""

from pathlib import Path

import aiohttp
import pytest

from tests.envoy.direct import Fleet, control_plane, envoys, fleet
from tests.envoy.scenarios.stage import BINARIES
from tests.support.backends import Recorder, recorder
from tests.support.waiting import eventually
from tests.unit.pure.kube import at, namespace, service, slice_of
from xds_server.core.objects import EndpointSlice, Object, ServicePort, SlicePort
from xds_server.xds.types import ENDPOINT

pytestmark = pytest.mark.envoy

BAD = (
    *("010.0.0.1", "0177.0.0.1", "10.1", "1.2.3.4%eth0", "", "db.example.com", "fd00::1", "::ffff:127.0.0.1"),
    *("169.254.169.254", "0.0.0.0", "224.0.0.1", "255.255.255.255"),
)


def tenant(name: str) -> tuple[Object, ...]:
    return namespace(name), service("app", namespace=name)


def served(by: Recorder, name: str, *bad: str) -> EndpointSlice:
    addresses = [*map(at, bad), at(by.address.host)]
    return slice_of("app", *addresses, namespace=name, ports=[SlicePort(port=by.address.port)])


async def test_an_invalid_address_affects_nothing_else(tmp_path: Path) -> None:
    async with recorder("shop") as shop, recorder("moved") as moved, recorder("evil") as evil:
        before = (*tenant("shop"), *tenant("evil"), served(shop, "shop"), served(evil, "evil", *BAD))
        async with fleet(tmp_path, *before) as running:
            # An Envoy that starts while the bad slice is there serves everybody, the good address too.
            await running.until("app.shop", 200, "shop")
            await running.until("app.evil", 200, "evil")
            assert running.problems()["EndpointSlice evil/app-1"].startswith(
                f"{len(BAD)} of its {len(BAD) + 1} addresses are left out; the first: '010.0.0.1' is not an"
            )
            # A change of somebody else's, together with each of them, arrives; and back again.
            for number, address in enumerate(BAD):
                other = moved if number % 2 == 0 else shop
                running.source.put(served(evil, "evil", address), served(other, "shop"))
                await running.until("app.shop", 200, other.name)
                await running.until("app.evil", 200, "evil")
            assert running.app.reporter.facts().traffic.types[ENDPOINT].nacks == 0
            # What is corrected is no problem any more.
            running.source.put(served(evil, "evil"))
            await eventually(lambda: not running.problems(), what="no problem")


async def test_no_tenant_reaches_the_control_plane_through_the_gateway(tmp_path: Path) -> None:
    async with control_plane() as (source, app), aiohttp.ClientSession() as session:
        grpc = ServicePort(port=80, app_protocol="grpc")
        own = {name: address for name, address in app.addresses._asdict().items() if address}
        assert own.keys() >= {"xds", "admin", "http"}
        for name, address in own.items():
            source.put(namespace(name), service("ssrf", namespace=name, ports=(grpc,)))
            port = SlicePort(port=address.port)
            source.put(slice_of("ssrf", at("127.0.0.1"), namespace=name, ports=[port]))
        async with envoys(app, tmp_path, BINARIES) as running:
            found = Fleet(source, app, running, session)
            for name in own:
                await found.until(f"ssrf.{name}", 503)
                assert "is the control plane's own" in found.problems()[f"EndpointSlice {name}/ssrf-1"]
