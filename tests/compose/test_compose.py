"""`docker compose up`, kubectl on the host, and what becomes of it: with real containers."""

import json
import tomllib

import pytest

from tests.compose.containers import GATEWAYS, REPLICAS, Containers
from tests.compose.images import ROOT
from tests.support.waiting import eventually

pytestmark = [
    pytest.mark.thorough,
    pytest.mark.timeout(900),  # the first test builds the images
]
LABEL = ("label", "deployment", "myapp-canary", "--overwrite")
START, STOP = "xds-shadow.io/shadow-of=myapp", "xds-shadow.io/shadow-of-"
SHADOW = "staging/myapp-canary"


@pytest.fixture
async def demo(containers: Containers) -> Containers:
    """As it was at the start: both replicas, callers that are answered, no shadow."""
    for service in REPLICAS:
        containers.start(service)
    for service in (*REPLICAS, "clients"):
        await healthy(containers, service)
    containers.kubectl(*LABEL, STOP)
    await shown(containers, {}, *REPLICAS)
    return containers


async def healthy(demo: Containers, service: str) -> None:
    await eventually(lambda: demo.health(service) == "healthy", what=f"the health of {service}")


async def shown(demo: Containers, shadows: dict[str, str], *replicas: str) -> None:
    """Wait until the pages of these replicas show these shadows."""
    await eventually(lambda: all(demo.shadows(each) == shadows for each in replicas), what=f"{shadows}")


async def until_mirrored(demo: Containers, count: int = 1) -> None:
    """Wait until so many mirrored requests have arrived since the start."""
    await eventually(lambda: demo.mirrored() >= count, what=f"{count} mirrored requests at the canary")


def no_caller_saw_the_canary(demo: Containers) -> None:
    """And every caller got a response."""
    stable, canary, failed = demo.clients()
    assert stable > 0
    found = canary, failed, demo.requests_at_the_canary()
    assert found == (0, 0, 0), demo("logs", "--tail", "3", "clients")


async def test_a_label_from_the_host_starts_mirroring_and_callers_see_only_the_stable_version(
    demo: Containers,
) -> None:
    demo.kubectl(*LABEL, START)
    await shown(demo, {SHADOW: "Active"}, *REPLICAS)
    for gateway in GATEWAYS:
        before = demo.mirrored()
        assert demo.answered_by(gateway, 50) == {"stable"}
        await until_mirrored(demo, before + 50)
    no_caller_saw_the_canary(demo)


async def test_without_the_label_no_mirrored_request_arrives(demo: Containers) -> None:
    demo.kubectl(*LABEL, START)
    await until_mirrored(demo, demo.mirrored() + 1)
    demo.kubectl(*LABEL, STOP)
    await shown(demo, {}, *REPLICAS)

    async def steady() -> bool:
        """No mirrored request while 20 further callers get responses."""
        mirrored, stable = demo.mirrored(), demo.clients()[0]
        await eventually(lambda: demo.clients()[0] >= stable + 20, what="20 further callers")
        return demo.mirrored() == mirrored

    await eventually(steady, what="no further mirrored requests")


async def test_a_replica_that_is_killed_fails_no_request(demo: Containers) -> None:
    demo("kill", "control-plane-1")
    demo.kubectl(*LABEL, START)
    await shown(demo, {SHADOW: "Active"}, "control-plane-2")
    await eventually(lambda: _synced(demo) == {"envoy-delta", "envoy-sotw"}, what="both Envoys")
    await until_mirrored(demo, demo.mirrored() + 1)
    no_caller_saw_the_canary(demo)


async def test_certificates_are_rotated_and_both_sides_use_the_new_ones(demo: Containers) -> None:
    """The replicas are restarted one after the other, so that each Envoy has to connect anew: with the new
    certificates of the new authority, or not at all."""
    demo("run", "--rm", "certificates")
    for replica in REPLICAS:
        demo("restart", replica)
        await healthy(demo, replica)
    demo.kubectl(*LABEL, START)
    await until_mirrored(demo, demo.mirrored() + 1)
    no_caller_saw_the_canary(demo)


def _synced(demo: Containers) -> set[str]:
    """The Envoys that have all of what the surviving replica says."""
    found = json.loads(demo.execute("control-plane-2", "xds-shadow", "status", "--output", "json"))
    return {
        node["id"]
        for node in found["nodes"]
        if {each["sync"] for each in node["types"] if each["short_name"] != "SDS"} == {"SYNCED"}
    }


async def test_the_image_is_for_production(demo: Containers) -> None:
    [image] = json.loads(demo.engine.docker("image", "inspect", demo.image))
    config = image["Config"]
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert config["Labels"]["org.opencontainers.image.version"] == version
    assert config["User"] == "65532:65532"
    assert config["Healthcheck"]["Test"][0] == "CMD"  # no shell
    assert config["Entrypoint"] == ["xds-shadow"]
    assert f"xds-shadow {version}" in demo.execute("control-plane-1", "xds-shadow", "--version")


async def test_nothing_of_it_has_a_privilege(demo: Containers) -> None:
    for container in demo.ids():
        [found] = json.loads(demo.engine.docker("inspect", container))
        host = found["HostConfig"]
        assert host["ReadonlyRootfs"], found["Name"]
        assert host["CapDrop"] == ["ALL"]
        assert host["SecurityOpt"] == ["no-new-privileges:true"]
        assert not host["Privileged"]
        assert found["Config"]["User"] == "65532:65532"
        published = [each for ports in host["PortBindings"].values() for each in ports]
        assert all(each["HostIp"] == "127.0.0.1" for each in published)
