"""Requests reach a Service by every spelling of its hosts, and arrive with the Host as it was sent."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.envoy.scenarios.stage import BINARIES
from tests.support import objects
from tests.support.backends import Recorder, recorder
from tests.support.rig import Rig, rig
from tests.support.waiting import eventually
from xds_server.local.demo.envoy import Envoy

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

NAMES = (
    "myapp.staging",
    "myapp.staging.svc",
    "myapp.staging.svc.cluster.local",
    "myapp.staging.svc.example.internal",
    "shop.example.com",
    "none.invalid",
)
HOSTS = NAMES[-2:]
PORTS = ("", ":8181", ":8080", ":1")
_PORTS = {"http": 8181, "http-other": 8282, "postgres": 5432}


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=sorted(BINARIES))
async def gateways(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, app: Recorder, other: Recorder
) -> AsyncIterator[Rig]:
    """Both variants of one version, and a Service with two HTTP ports."""
    # With a route configuration of one's own each has a virtual host that no request has.
    options = ["--cluster-domain=cluster.local", "--cluster-domain=example.internal", "--route-config=own"]
    directory = tmp_path_factory.mktemp("hosts")
    async with rig(directory, options, binary=BINARIES[request.param]) as fleet:
        ports = [{"name": name, "port": number} for name, number in _PORTS.items()]
        service = objects.service(ports=ports, annotations={"xds-shadow.io/hosts": ",".join(HOSTS)})
        first = objects.endpoint_slice("myapp", [("one", app.address)])
        second = objects.endpoint_slice("myapp", [("two", other.address)], port_name="http-other")
        fleet.write("all.yaml", [objects.namespace(), service, *first, *second])
        await _until_reached(fleet)
        yield fleet


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def app() -> AsyncIterator[Recorder]:
    async with recorder("app") as backend:
        yield backend


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def other() -> AsyncIterator[Recorder]:
    async with recorder("other") as backend:
        yield backend


async def _until_reached(fleet: Rig) -> None:
    for envoy in fleet.envoys:

        async def reached(envoy: Envoy = envoy) -> bool:
            return (await fleet.send(envoy, host=f"{NAMES[0]}:8282")).status == 200

        await eventually(reached, what="the second port")


def spellings(host: str, port: str) -> list[str]:
    """Of a host, as clients write them."""
    return [f"{each}{dot}{port}" for each in (host, host.upper(), host.title()) for dot in ("", ".")]


@pytest.mark.parametrize("name", NAMES)
async def test_every_spelling_of_a_host_reaches_its_service(gateways: Rig, app: Recorder, name: str) -> None:
    for envoy in gateways.envoys:
        for host in (spelling for port in PORTS for spelling in spellings(name, port)):
            answer = await gateways.send(envoy, host=host)
            assert (answer.status, answer.backend) == (200, "app"), host
            assert [arrival.host for arrival in app.of(answer.test_id)] == [host]


@pytest.mark.parametrize("name", NAMES)
async def test_every_spelling_of_another_port_reaches_that(gateways: Rig, name: str) -> None:
    for envoy in gateways.envoys:
        for host in spellings(name, ":8282"):
            answer = await gateways.send(envoy, host=host)
            assert (answer.status, answer.backend) == (200, "other"), host


@pytest.mark.parametrize("host", ["myapp.staging..", ".myapp.staging", "myapp.staging.svc.internal"])
async def test_what_is_no_spelling_of_a_host_reaches_no_backend(gateways: Rig, host: str) -> None:
    for envoy in gateways.envoys:
        assert (await gateways.send(envoy, host=host)).status in (400, 404)


@pytest.mark.parametrize("name", NAMES[: -len(HOSTS)])
async def test_a_port_of_the_service_that_is_not_routed_is_no_other(
    gateways: Rig, app: Recorder, name: str
) -> None:
    before = len(app.arrivals)
    for envoy in gateways.envoys:
        for host in spellings(name, ":5432"):
            headers = {"Host": host}
            url = f"http://127.0.0.1:{envoy.gateway_port}/"
            async with gateways.session.post(url, data=b"x", headers=headers) as response:
                assert (response.status, await response.text()) == (
                    404,
                    "Service staging/myapp does not declare this port as HTTP, so it is not routed.\n",
                )
    assert len(app.arrivals) == before


async def test_the_port_of_a_further_host_is_not_the_services(gateways: Rig) -> None:
    for envoy in gateways.envoys:
        answer = await gateways.send(envoy, host="shop.example.com:5432")
        assert (answer.status, answer.backend) == (200, "app")


async def test_an_only_port_gets_a_name_and_a_neighbour_that_is_not_routed(
    gateways: Rig, app: Recorder
) -> None:
    """Its virtual host is then the other's, and no request fails meanwhile."""
    slices = objects.endpoint_slice("lone", [("one", app.address)], port_name="")
    slices += objects.endpoint_slice("lone", [("named", app.address)])
    alone = [objects.service("lone", ports=[{"port": 80}]), *slices]
    two = [{"name": "http", "port": 80}, {"name": "postgres", "port": 5432}]
    for documents, status in ((alone, 200), ([objects.service("lone", ports=two), *slices], 404)) * 2:
        gateways.write("lone.yaml", documents)
        for envoy in gateways.envoys:

            async def moved(envoy: Envoy = envoy, status: int = status) -> bool:
                plain = (await gateways.send(envoy, host="lone.staging")).status
                return (
                    plain == 200 and (await gateways.send(envoy, host="lone.staging:5432")).status == status
                )

            await eventually(moved, what=f"{status} at the second port")
            assert [(await gateways.send(envoy, host="lone.staging")).status for _ in range(5)] == [200] * 5
