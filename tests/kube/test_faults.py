"""Whatever happens between the source and the API server: afterwards the world is what the server says, no
event was lost, and nothing was listed again that need not be.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.kube.cluster import WATCHED, Cluster, deployment, endpoint_slice, service
from tests.kube.proxy import ERROR_EVENT, Cut, Proxy, Reject
from tests.support.recorder import Recorder, running
from tests.support.waiting import PATIENCE_S, eventually
from xds_server.core.objects import Kind, Service
from xds_server.core.world import Change, Report, Upsert
from xds_server.kube.source import KubeSource, Timing

TIMING = Timing(watch=60, silence=1.0, read=PATIENCE_S, backoff_base=0.01, backoff_cap=0.05, renew_after=0.0)
"""Short delays; a watch may be silent for a second longer than it may last."""


def source(server: Cluster, faults: Proxy, timing: Timing = TIMING) -> KubeSource:
    return KubeSource(faults.connect, [server.namespace], timing=timing)


async def fill(server: Cluster) -> None:
    """An exposed Service with a marked canary and what belongs to them."""
    await server.label_namespace(**{"xds-shadow.io/expose": "true"})
    await server.create("services", service("web"))
    await server.create("endpointslices", endpoint_slice("web-1", "web", "10.0.0.1", "10.0.0.2"))
    await server.create("deployments", deployment("canary", shadow_of="web"))
    await server.create("deployments", deployment("unmarked"))
    await server.create_ready_pod("canary-1", {"app": "canary"})
    await server.create_ready_pod("other", {"app": "other"})


async def agrees(server: Cluster, recorder: Recorder) -> None:
    """Wait until the source's world is the server's."""

    async def equal() -> bool:
        return recorder.world.namespaces == (await server.world()).namespaces

    await eventually(equal, what="the source's world equal to the server's")


async def watched(faults: Proxy, *plurals: str) -> None:
    wanted = set(plurals) or WATCHED
    await eventually(lambda: faults.watched() >= wanted, what=f"watches of {wanted}")


@asynccontextmanager
async def following(server: Cluster, faults: Proxy, timing: Timing = TIMING) -> AsyncIterator[Recorder]:
    """A source that is in sync with a filled namespace, all watches open."""
    await fill(server)
    async with running(source(server, faults, timing)) as recorder:
        await watched(faults)
        await agrees(server, recorder)
        yield recorder


def labels_seen(recorder: Recorder, name: str) -> list[str]:
    """The values that the label ``n`` of a Service had, one after another, as the source told them."""
    found = (change.obj for change in recorder.changes if isinstance(change, Upsert))
    return [
        obj.labels["n"]
        for obj in found
        if isinstance(obj, Service) and "n" in obj.labels and obj.name == name
    ]


async def test_the_first_sync(server: Cluster, faults: Proxy) -> None:
    async with following(server, faults) as recorder:
        assert recorder.names(Kind.SERVICE) == {"web"}
        assert recorder.names(Kind.DEPLOYMENT) == {"canary"}
        assert recorder.names(Kind.POD) == {"canary-1"}
        assert {plural: faults.lists(plural) for plural in WATCHED} == dict.fromkeys(WATCHED, 1)
        assert recorder.problems == []


@pytest.mark.parametrize("in_chunk", [False, True], ids=["between chunks", "in a chunk"])
@pytest.mark.parametrize("after", [0, 1, 50, 200])
async def test_a_first_list_that_is_cut_comes_again(
    server: Cluster, faults: Proxy, after: int, in_chunk: bool
) -> None:
    await fill(server)
    for verb in ("list", "stream"):
        faults.add(verb, "services", Cut(after, in_chunk=in_chunk))
    async with running(source(server, faults)) as recorder:
        await agrees(server, recorder)
        assert recorder.deletions == []
        assert faults.lists("services") == 3  # a stream, then pages, then what succeeded
        assert faults.lists("endpointslices") == 1


@pytest.mark.parametrize("in_chunk", [False, True], ids=["between chunks", "in a chunk"])
@pytest.mark.parametrize("after", [0, 1, 40, 400])
async def test_a_watch_that_is_cut_goes_on(
    server: Cluster, faults: Proxy, after: int, in_chunk: bool
) -> None:
    async with following(server, faults) as recorder:
        faults.add("watch", "services", Cut(after, in_chunk=in_chunk), Cut(after + 1, in_chunk=in_chunk))
        faults.cut("services")
        for n in range(5):
            await server.label("services", "web", n=str(n))
        await agrees(server, recorder)
        assert labels_seen(recorder, "web") == ["0", "1", "2", "3", "4"]
        assert faults.lists("services") == 1
        assert recorder.deletions == []


async def test_every_connection_breaks_again_and_again(server: Cluster, faults: Proxy) -> None:
    async with following(server, faults) as recorder:
        for n in range(10):
            faults.cut()
            await server.label("services", "web", n=str(n))
            await server.label("endpointslices", "web-1", n=str(n))
        await agrees(server, recorder)
        assert labels_seen(recorder, "web") == [str(n) for n in range(10)]
        assert {plural: faults.lists(plural) for plural in WATCHED} == dict.fromkeys(WATCHED, 1)
        assert recorder.deletions == []


@pytest.mark.parametrize("how", ["a status", "an event"])
async def test_a_lost_place_takes_one_list(server: Cluster, faults: Proxy, how: str) -> None:
    async with following(server, faults) as recorder:
        if how == "a status":
            faults.add("watch", "services", Reject(410))
            faults.cut("services")
        else:
            faults.inject("services", ERROR_EVENT)
        await server.create("services", service("added"))
        await server.delete("services", "web")
        await agrees(server, recorder)
        assert {plural: faults.lists(plural) for plural in WATCHED} == {
            **dict.fromkeys(WATCHED, 1),
            "services": 2,
        }
        assert recorder.problems == [] or how == "an event"
        await recorder.until(lambda: recorder.problems == [])


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_rejected_watch_is_resumed_where_it_ended(
    server: Cluster, faults: Proxy, status: int
) -> None:
    async with following(server, faults) as recorder:
        faults.add("watch", "services", *[Reject(status, retry_after=0)] * 3)
        faults.cut("services")
        for n in range(3):
            await server.label("services", "web", n=str(n))
        await agrees(server, recorder)
        assert labels_seen(recorder, "web") == ["0", "1", "2"]
        assert faults.lists("services") == 1
        assert "ApiUnavailable" in {
            problem.reason
            for change in recorder.changes
            if isinstance(change, Report)
            for problem in change.problems
        }
        await recorder.until(lambda: recorder.problems == [])


async def test_a_new_token_is_read_when_the_old_one_is_rejected(server: Cluster, faults: Proxy) -> None:
    faults.credential = "first"
    async with following(server, faults) as recorder:
        assert len(faults.clients) == 1
        faults.credential = "second"
        faults.cut()
        for n in range(3):
            await server.label("services", "web", n=str(n))
        await agrees(server, recorder)
        assert labels_seen(recorder, "web") == ["0", "1", "2"]
        assert len(faults.clients) == 2
        assert {plural: faults.lists(plural) for plural in WATCHED} == dict.fromkeys(WATCHED, 1)
        assert recorder.problems == []


async def test_a_watch_that_goes_silent_is_given_up_and_goes_on(server: Cluster, faults: Proxy) -> None:
    timing = Timing(watch=1, silence=0.5, backoff_base=0.01, backoff_cap=0.05)
    async with following(server, faults, timing) as recorder:
        faults.silent.add("services")
        for n in range(3):
            await server.label("services", "web", n=str(n))
        opened = sum(faults.asked[key] for key in faults.asked if key == ("watch", "services"))
        await eventually(lambda: faults.asked["watch", "services"] > opened)  # type: ignore[index]
        faults.silent.clear()
        faults.cut("services")
        await agrees(server, recorder)
        assert labels_seen(recorder, "web") == ["0", "1", "2"]
        assert faults.lists("services") == 1


async def test_kinds_may_come_in_any_order(server: Cluster, faults: Proxy) -> None:
    """What was written first, a Service and its slice, comes after what was written later, its canary."""
    async with following(server, faults) as recorder:
        faults.hold("services")
        faults.hold("endpointslices")
        await server.create("services", service("late"))
        await server.create("endpointslices", endpoint_slice("late-1", "late", "10.0.0.7"))
        await server.create("deployments", deployment("late-canary", shadow_of="late"))
        await server.create_ready_pod("late-canary-1", {"app": "late-canary"})
        await recorder.until(lambda: recorder.names(Kind.POD) == {"canary-1", "late-canary-1"})
        assert recorder.names(Kind.SERVICE) == {"web"}
        faults.let_go("endpointslices")
        await recorder.until(lambda: recorder.names(Kind.ENDPOINT_SLICE) == {"web-1", "late-1"})
        assert recorder.names(Kind.SERVICE) == {"web"}
        faults.let_go("services")
        await agrees(server, recorder)
        assert {plural: faults.lists(plural) for plural in WATCHED} == {
            **dict.fromkeys(WATCHED, 1),
            "pods": 2,
        }


async def test_marking_and_unmarking_while_connections_break(server: Cluster, faults: Proxy) -> None:
    async with following(server, faults) as recorder:
        for shadow_of in (None, "web", None, "web"):
            faults.cut()
            await server.mark("canary", shadow_of)
            await agrees(server, recorder)
        assert recorder.names(Kind.POD) == {"canary-1"}
        assert faults.lists("deployments") == 1


@pytest.mark.parametrize("seconds", [1.0, pytest.param(60.0, id="a minute", marks=pytest.mark.thorough)])
async def test_the_server_is_gone_while_objects_are_added_changed_and_deleted(
    server: Cluster, faults: Proxy, seconds: float
) -> None:
    timing = TIMING if seconds < 10 else Timing()  # a minute with the delays of every day
    async with following(server, faults, timing) as recorder:
        before = recorder.world.namespaces
        clock = asyncio.get_running_loop().time
        over = clock() + seconds
        faults.down = True
        faults.cut()
        await recorder.until(lambda: recorder.reasons == {"ApiUnavailable"})
        await server.create("services", service("added"))
        await server.label("services", "web", n="changed")
        await server.create("endpointslices", endpoint_slice("added-1", "added", "10.0.0.7"))
        await server.delete("endpointslices", "web-1")
        await server.mark("canary", None)
        await server.delete("pods", "canary-1")
        await eventually(lambda: clock() >= over, within=2 * seconds)
        assert recorder.world.namespaces == before

        batches: list[list[Change]] = []
        put = recorder.put

        def remembered(changes: list[Change]) -> None:
            batches.append(list(changes))
            put(batches[-1])

        recorder.put = remembered  # type: ignore[method-assign,assignment]
        faults.down = False
        await agrees(server, recorder)
        await recorder.until(lambda: recorder.problems == [])
        reported = [batch for batch in batches if any(not isinstance(change, Report) for change in batch)]
        assert len(reported) == 1
        # A server may have forgotten by now what was deleted; then the place is lost, and a list is due.
        assert all(faults.lists(plural) <= 2 for plural in WATCHED)
        assert recorder.names(Kind.POD) == set()
