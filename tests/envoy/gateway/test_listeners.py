"""Several listeners in the gateway file: each has routes of its own, and Services name those that they are
on."""

from functools import partial

import aiohttp
import pytest

from tests.envoy.gateway.conftest import GatewayFile, Scene
from tests.support import objects
from tests.support.backends import TEST_ID
from tests.support.rig import HOST
from tests.support.waiting import eventually
from xds_server.local.demo.fleet import reserved_ports

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

INNER = "inner.staging"


async def test_a_listener_comes_and_goes_with_its_routes(scenes: list[Scene], file: GatewayFile) -> None:
    fleet, stable, canary = scenes[0].fleet, scenes[0].stable, scenes[0].canary
    inner = objects.service("inner", annotations={"xds-shadow.io/gateways": "internal"})
    slices = objects.endpoint_slice("inner", [("inner-1", stable.address)])

    async def answers(port: int, host: str) -> int | None:
        headers = {"Host": host, TEST_ID: fleet.new_id()}
        try:
            async with fleet.session.get(f"http://127.0.0.1:{port}/", headers=headers) as response:
                return response.status
        except aiohttp.ClientConnectorError:
            return None

    async def all_answer(ports: list[int], host: str, expected: int | None) -> bool:
        return {await answers(port, host) for port in ports} == {expected}

    async def problems() -> list[str]:
        return [each.message for each in (await fleet.status()).conditions if each.severity == "Error"]

    async def none_is_wrong() -> bool:
        return await problems() == []

    gateways = [scene.envoy.gateway_port for scene in scenes]
    await file.says()
    fleet.write("inner.yaml", [inner, *slices])
    await eventually(problems, what="a problem with the unknown name")
    [message] = await problems()
    assert message.startswith(
        "Annotation xds-shadow.io/gateways has 'internal', which is not a known gateway. Known: gateway."
    )
    with reserved_ports(1) as (port,):
        # All Envoys of this machine take the port together.
        internal = {"name": "internal", "port": port, "addresses": ["127.0.0.1"]}
        await file.says(listeners=[{}, internal])
        await eventually(none_is_wrong, what="no problem")
        await eventually(partial(all_answer, [port] * 20, INNER, 200), what="the Service on its listener")
        await eventually(partial(all_answer, gateways, INNER, 404), what="and on no other")
        await eventually(partial(all_answer, [port, *gateways], HOST, 200), what="the other on all")
        headers = {"Host": HOST, TEST_ID: (test_id := fleet.new_id())}
        async with fleet.session.get(f"http://127.0.0.1:{port}/", headers=headers) as response:
            assert response.status == 200
        await canary.until_seen(test_id)
        status = await fleet.status()
        assert [list(shadow.gateways) for shadow in status.shadows] == [["gateway", "internal"]]
        await file.says()
        await eventually(partial(all_answer, gateways, INNER, 404), what="the Service on no listener")
        await eventually(partial(all_answer, [port], INNER, None), what="no listener")
        assert await all_answer(gateways, HOST, 200)
    fleet.write("inner.yaml", [])
