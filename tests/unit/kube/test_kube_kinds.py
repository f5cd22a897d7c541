"""The kinds that can be marked besides Deployments: followed where they are marked, and done without where
the server does not know them.
"""

from dataclasses import replace

import pytest

from tests.support.recorder import running, started
from tests.unit.kube.api_server import ALWAYS, FAST, HASTY, MARKED_POD, OPTIONAL, ApiServer, source
from tests.unit.kube.manifests import Doc, doc, pod, service
from xds_server.core.objects import WORKLOADS, Kind, Workload
from xds_server.core.world import World
from xds_server.kube.source import read_once_kube

OTHERS = WORKLOADS[1:]
SOON = replace(FAST, retry_absent=0.02)


def workload(kind: Kind, name: str, app: str, **metadata: object) -> Doc:
    """A marked one."""
    labels = {"xds-shadow.io/shadow-of": "web"}
    found = doc(kind.api_version, kind, name, labels=labels, spec={"selector": {"matchLabels": {"app": app}}})
    found["metadata"] |= metadata
    return found


@pytest.mark.parametrize("kind", OTHERS)
async def test_a_kind_is_followed_where_it_is_marked(api: ApiServer, kind: Kind) -> None:
    api.absent.clear()
    marked = workload(kind, "db", "db")
    unmarked = workload(kind, "other", "other")
    unmarked["metadata"]["labels"] = {}
    api.put(marked, unmarked, pod("db-0", app="db"), pod("other-0", app="other"))
    async with running(source(api)) as recorder:
        await recorder.until(lambda: recorder.names(Kind.POD) == {"db-0"})
        assert recorder.names(kind) == {"db"}
        [found] = recorder.world.view("staging").workloads.values()
        assert (found.kind, found.name, found.key) == (kind, "db", f"{kind.lower()}/db")
        await api.until_watched(*ALWAYS, "Pod")
        # The mark is taken away: the server says DELETED.
        api.put(workload(kind, "db", "db") | {"metadata": {"name": "db", "namespace": "staging"}})
        await recorder.until(lambda: not recorder.names(kind) and not recorder.names(Kind.POD))


async def test_a_server_without_the_optional_kinds_is_no_error_and_no_wait(api: ApiServer) -> None:
    followed = source(api)
    async with running(followed) as recorder:
        assert recorder.problems == []
        assert followed.health().message == f"Kubernetes at {api.url} is being watched"
        assert followed.health().outage_s is None
        assert {kind: api.count("stream", kind) for kind in OPTIONAL} == dict.fromkeys(OPTIONAL, 1)


@pytest.mark.parametrize("kind", OPTIONAL)
async def test_an_optional_kind_is_found_once_the_server_knows_it(api: ApiServer, kind: Kind) -> None:
    api.put(workload(kind, "db", "db"))
    async with running(source(api, timing=SOON)) as recorder:
        await api.until_asked("stream", kind, 3)
        assert recorder.names(kind) == set()
        api.absent.clear()
        await recorder.until(lambda: recorder.names(kind) == {"db"})
        # The objects are deleted with their definition: the server ends the watch and answers 404.
        await api.until_watched(kind)
        api.absent.add(kind)
        api.forgotten = api.version
        api.end(kind)
        await recorder.until(lambda: recorder.names(kind) == set())
        assert recorder.problems == []


@pytest.mark.parametrize("kind", OTHERS)
async def test_a_permission_that_is_missing_is_waited_for_and_then_done_without(
    api: ApiServer, kind: Kind
) -> None:
    api.absent.clear()
    api.reject["list", kind] = 403
    api.put(service("web"))
    async with started(source(api, timing=replace(HASTY, give_up_after=0.3))) as recorder:
        await api.until_asked("list", kind, 2)
        assert recorder.syncs == 0
        await recorder.until(lambda: recorder.syncs == 1)
        [problem] = recorder.problems
        assert problem.reason == "Forbidden"
        assert f'grant list and watch on "{kind.lower()}s" of API group' in problem.message
        del api.reject["list", kind]
        api.put(workload(kind, "db", "db"))
        await recorder.until(lambda: recorder.names(kind) == {"db"} and recorder.problems == [])


async def test_marked_pods_are_seen_and_delay_nothing(api: ApiServer) -> None:
    api.reject["list", MARKED_POD] = 403
    async with running(source(api, timing=HASTY)) as recorder:
        assert recorder.reasons == {"Forbidden"}
        del api.reject["list", MARKED_POD]
        api.put(pod("stray", **{"xds-shadow.io/shadow-of": "web"}))
        await recorder.until(lambda: recorder.names(Kind.POD) == {"stray"} and recorder.problems == [])


async def test_what_another_workload_made_has_no_pods_of_its_own(api: ApiServer) -> None:
    owner = [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "db", "uid": "1", "controller": True}]
    free = workload(Kind.REPLICA_SET, "db-1", "db")
    made = workload(Kind.REPLICA_SET, "db-1", "db", ownerReferences=owner)
    api.put(free, pod("db-1-x", app="db"))
    async with running(source(api)) as recorder:
        await recorder.until(lambda: recorder.names(Kind.POD) == {"db-1-x"})
        await api.until_watched(*ALWAYS)
        api.put(made)  # adopted
        await recorder.until(lambda: recorder.names(Kind.POD) == set())
        assert recorder.world.view("staging").canaries == {}
        api.put(free)
        await recorder.until(lambda: recorder.names(Kind.POD) == {"db-1-x"})


async def test_what_there_is_is_read_once(api: ApiServer) -> None:
    api.put(workload(Kind.STATEFUL_SET, "db", "db"), pod("db-0", app="db"))
    world, _ = World().apply(await read_once_kube(api.connect))
    assert world.reports == {}
    assert set(world.view("staging").pods) == {"db-0"}
    assert [type(each) for each in world.view("staging").workloads.values() if isinstance(each, Workload)]
    api.reject["list", "DaemonSet"] = 403
    world, _ = World().apply(await read_once_kube(api.connect))
    assert [problem.reason for each in world.reports.values() for problem in each] == ["Forbidden"]
