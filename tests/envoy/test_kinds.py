"""Workloads of every kind that can be marked, on real Envoys of both versions and variants."""

from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import pytest

from tests.envoy.direct import Fleet, fleet
from tests.support.backends import BACKEND, TEST_ID, Recorder, recorder
from tests.support.waiting import eventually
from tests.unit.pure.kube import at, marked, namespace, pod, service, slice_of
from xds_server.core.objects import WORKLOADS, Kind, Object, ServicePort, SlicePort, ref_of
from xds_server.core.world import Delete
from xds_server.local.demo.envoy import Envoy

pytestmark = pytest.mark.envoy

HTTP = ServicePort(port=80, name="http", target_port="http")
HERE = "127.0.0.1"


def stage(kind: Kind, stable: Recorder, canary: Recorder) -> list[Object]:
    """A namespace of the kind's name, in which a canary's Pod matches the stable selector too."""
    name = kind.lower()
    slices = [
        slice_of(
            "app",
            at(HERE, pod=pod_name),
            name=pod_name,
            namespace=name,
            ports=[SlicePort(name="http", port=backend.address.port)],
        )
        for pod_name, backend in (("stable-1", stable), ("canary-1", canary))
    ]
    return [
        namespace(name),
        service("app", namespace=name, ports=(HTTP,)),
        *slices,
        pod("canary-1", "canary", HERE, namespace=name, ports={"http": canary.address.port}),
        marked(kind, "canary", "app", namespace=name),
    ]


async def send(running: Fleet, envoy: Envoy, host: str, test_id: str) -> str:
    """Who answers a request."""
    url = f"http://127.0.0.1:{envoy.gateway_port}/"
    async with running.session.get(url, headers={"Host": host, TEST_ID: test_id}) as response:
        assert response.status == 200
        return response.headers[BACKEND]


async def test_what_holds_for_a_deployment_holds_for_every_kind(tmp_path: Path) -> None:
    async with recorder("stable") as stable, recorder("canary") as canary, recorder("other") as other:
        objects = [each for kind in WORKLOADS for each in stage(kind, stable, canary)]
        async with fleet(tmp_path, *objects) as running:
            for kind in WORKLOADS:
                host = f"app.{kind.lower()}"
                for envoy in running.envoys:
                    await mirrored(partial(send, running, envoy, host), f"{host}-{envoy.id}", canary)
                    answers = {await send(running, envoy, host, "") for _ in range(10)}
                    assert answers == {"stable"}
                marks = {each.shadow for each in canary.arrivals if each.host == host}
                assert marks == {f"{kind.lower()}/canary"}
            await two_of_one_name(running, other)
            await the_mark_goes(running)


async def two_of_one_name(running: Fleet, other: Recorder) -> None:
    """A StatefulSet of the name that a Deployment has: both get mirrored requests."""
    where = {"namespace": "deployment"}
    running.source.put(
        marked(Kind.STATEFUL_SET, "canary", "app", app="set", **where),
        pod("canary-0", "set", HERE, namespace="deployment", ports={"http": other.address.port}),
    )
    for envoy in running.envoys:
        await mirrored(partial(send, running, envoy, "app.deployment"), f"both-{envoy.id}", other)
    found = {
        (s.kind, s.name) for s in running.app.reporter.server_state().shadows if s.namespace == "deployment"
    }
    assert found == {(Kind.DEPLOYMENT, "canary"), (Kind.STATEFUL_SET, "canary")}


async def the_mark_goes(running: Fleet) -> None:
    """A Pod whose StatefulSet is marked no more is a stable one."""
    gone = marked(Kind.STATEFUL_SET, "canary", "app", namespace="statefulset")
    running.source.sink.put([Delete(ref_of(gone))])
    for envoy in running.envoys:

        async def both(envoy: Envoy = envoy) -> bool:
            return await send(running, envoy, "app.statefulset", "") == "canary"

        await eventually(both, what=f"live traffic of the former canary by {envoy.id}")


async def mirrored(ask: Callable[[str], Awaitable[str]], prefix: str, canary: Recorder) -> None:
    """Ask until a mirrored request arrives, as the configuration may be on its way."""
    sent: list[str] = []

    async def arrives() -> bool:
        sent.append(f"{prefix}-{len(sent)}")
        await ask(sent[-1])
        return any(each.shadow and each.test_id in sent for each in canary.arrivals)

    await eventually(arrives, what=f"a mirrored request of {prefix}")
