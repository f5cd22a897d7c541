"""What is followed, and for how long: canaries' Pods, chosen namespaces, everything once."""

import asyncio

import pytest

from tests.support.recorder import Recorder, running, started
from tests.unit.kube.api_server import HASTY, ApiServer, source
from tests.unit.kube.manifests import EVERYTHING, canary, deployment, namespace, pod, service
from xds_server.base.errors import SourceError
from xds_server.core.objects import Kind, Meta, Pod, Ref
from xds_server.core.world import Delete, Upsert, World
from xds_server.kube.query import Query
from xds_server.kube.source import Claims, read_once_kube


def services(recorder: Recorder) -> set[str]:
    return recorder.names(Kind.SERVICE)


class TestPods:
    async def test_pods_follow_the_mark(self, api: ApiServer) -> None:
        api.put(deployment("web-canary"), pod("canary-1", app="web-canary"), pod("web-1", app="web"))
        async with running(source(api)) as recorder:
            assert api.count("list", "Pod") == 0
            await api.until_watched("Deployment")
            api.put(canary("web-canary"))
            await recorder.until(lambda: recorder.names(Kind.POD) == {"canary-1"})
            await api.until_watched("Pod")
            api.put(pod("canary-2", app="web-canary"), pod("web-2", app="web"))
            await recorder.until(lambda: recorder.names(Kind.POD) == {"canary-1", "canary-2"})
            api.put(deployment("web-canary"))
            await recorder.until(lambda: recorder.names(Kind.POD) == set())
            assert recorder.names(Kind.DEPLOYMENT) == set()
            requests = [r for r in api.requests if r.kind == "Pod"]
            assert {r.namespace for r in requests} == {"staging"}
            assert {r.parameters["labelSelector"] for r in requests} == {"app=web-canary"}

    async def test_an_unmarked_canary_leaves_with_its_pods_in_one_step(self, api: ApiServer) -> None:
        api.put(canary("web-canary"), pod("canary-1", app="web-canary"))
        async with running(source(api)) as recorder:
            await api.until_watched("Deployment", "Pod")
            steps: list[tuple[set[str], set[str]]] = []
            put = recorder.put

            def watched(changes: object) -> None:
                put(changes)  # type: ignore[arg-type]
                steps.append((recorder.names(Kind.DEPLOYMENT), recorder.names(Kind.POD)))

            recorder.put = watched  # type: ignore[method-assign]
            api.put(deployment("web-canary"))
            await recorder.until(lambda: recorder.names(Kind.POD) == set())
            assert steps == [(set(), set())]

    async def test_the_watch_of_unwanted_pods_is_closed_and_its_report_withdrawn(
        self, api: ApiServer
    ) -> None:
        api.put(canary("web-canary"))
        async with running(source(api)) as recorder:
            await api.until_watched("Deployment", "Pod")
            api.reject["watch", "Pod"] = 403
            api.end("Pod")
            await recorder.until(lambda: recorder.reasons == {"Forbidden"})
            assert recorder.problems[0].origin == "kube/Pod/staging/app=web-canary"
            api.put(deployment("web-canary"))
            await recorder.until(lambda: recorder.problems == [])
            api.put(service("witness"))
            await recorder.until(lambda: services(recorder) == {"witness"})
            assert [task for task in asyncio.all_tasks() if "kube/Pod/staging" in task.get_name()] == []

    async def test_canaries_with_one_selector_share_a_watch(self, api: ApiServer) -> None:
        api.put(canary("one", app="x"), canary("two", app="x"), pod("p", app="x"))
        async with running(source(api)) as recorder:
            await api.until_watched("Deployment", "Pod")
            assert api.count("list", "Pod") == 1
            api.delete(canary("one"))
            await recorder.until(lambda: recorder.names(Kind.DEPLOYMENT) == {"two"})
            assert recorder.names(Kind.POD) == {"p"}
            api.put(pod("q", app="x"))
            await recorder.until(lambda: recorder.names(Kind.POD) == {"p", "q"})

    async def test_a_pod_stays_while_any_canary_selects_it(self, api: ApiServer) -> None:
        broad, narrow = canary("broad", app="x"), canary("narrow", app="x")
        narrow["spec"]["selector"]["matchLabels"]["track"] = "canary"
        api.put(broad, narrow, pod("p", app="x", track="canary"), pod("q", app="x"))
        async with running(source(api)) as recorder:
            assert recorder.names(Kind.POD) == {"p", "q"}
            await api.until_watched("Deployment", "Pod")
            api.delete(broad)
            await recorder.until(lambda: recorder.names(Kind.POD) == {"p"})
            api.delete(narrow)
            await recorder.until(lambda: recorder.names(Kind.POD) == set())

    async def test_a_pod_that_leaves_one_of_two_selectors_stays(self, api: ApiServer) -> None:
        broad, narrow = canary("broad", app="x"), canary("narrow", app="x")
        narrow["spec"]["selector"]["matchLabels"]["track"] = "canary"
        api.put(broad, narrow, pod("p", app="x", track="canary"))
        async with running(source(api)) as recorder:
            await api.until_asked("watch", "Pod", 2)
            api.put(pod("p", app="x", track="stable"))
            await recorder.until(lambda: recorder.labels(Kind.POD, "p").get("track") == "stable")
            api.delete(pod("p"))
            await recorder.until(lambda: recorder.names(Kind.POD) == set())
            assert [ref.name for ref in recorder.deletions] == ["p"]

    async def test_a_canary_without_a_selector_never_means_every_pod(self, api: ApiServer) -> None:
        odd = canary("odd")
        odd["spec"] = {}
        api.put(odd, pod("p", app="x"))
        async with running(source(api)) as recorder:
            assert recorder.names(Kind.DEPLOYMENT) == {"odd"}
            assert api.count("list", "Pod") == 0

    async def test_synced_waits_for_the_pods_of_every_canary(self, api: ApiServer) -> None:
        api.put(*EVERYTHING)
        api.reject["list", "Pod"] = 503
        async with started(source(api)) as recorder:
            await api.until_watched("Namespace", "Service", "Deployment", "EndpointSlice")
            await api.until_asked("list", "Pod", 3)
            assert recorder.syncs == 0
            del api.reject["list", "Pod"]
            await recorder.until(lambda: recorder.syncs == 1)
            assert recorder.world_at_sync is not None
            assert set(recorder.world_at_sync.view("staging").pods) == {"canary-1"}

    async def test_a_canary_unmarked_before_its_pods_were_listed_does_not_block_the_sync(
        self, api: ApiServer
    ) -> None:
        api.put(canary("web-canary"))
        api.reject["list", "Pod"] = 403
        async with started(source(api)) as recorder:
            await api.until_watched("Namespace", "Service", "Deployment", "EndpointSlice")
            await api.until_asked("list", "Pod", 2)
            api.put(deployment("web-canary"))
            await recorder.until(lambda: recorder.syncs == 1)

    @pytest.mark.parametrize(
        ("status", "holds_up"),
        [(401, True), (403, True), (429, True), (503, True), (400, False), (404, False), (422, False)],
    )
    async def test_an_invalid_query_for_pods_delays_no_other_canary(
        self, api: ApiServer, status: int, holds_up: bool
    ) -> None:
        api.put(namespace("staging"), service("web"), canary("web-canary"))
        api.reject["list", "Pod"] = status
        async with started(source(api)) as recorder:
            await api.until_asked("list", "Pod", 3)
            if holds_up:
                assert recorder.syncs == 0
                api.reject.clear()
            await recorder.until(lambda: recorder.syncs == 1)
            assert services(recorder) == {"web"}
            assert bool(recorder.problems) is not holds_up
            assert recorder.world.view("staging").awaited == (set() if holds_up else {"app=web-canary"})


def _ready(value: str) -> Upsert:
    return Upsert(Pod(metadata=Meta(name="p", namespace="staging", labels={"ready": value})))


def test_a_pod_that_one_canary_lets_go_is_what_the_other_saw_last() -> None:
    one, two = (Query(Kind.POD, "staging", labels=labels) for labels in ("app=one", "app=two"))
    claims = Claims()
    assert claims.filter(one, [_ready("newer")]) == [_ready("newer")]
    assert claims.filter(two, [_ready("older")]) == [_ready("older")]
    assert claims.release(two) == [_ready("newer")]
    assert claims.release(one) == [Delete(Ref(Kind.POD, "staging", "p"))]
    assert claims.release(one) == []


class TestNamespaces:
    async def test_only_the_given_namespaces_are_asked_for(self, api: ApiServer) -> None:
        api.put(
            *EVERYTHING, namespace("prod"), service("web", "prod"), namespace("other"), service("x", "other")
        )
        async with running(source(api, ["staging", "prod", "staging"])) as recorder:
            assert recorder.names(Kind.NAMESPACE) == {"staging", "prod"}
            assert services(recorder) == {"web"}
            assert set(recorder.world.namespaces) == {"staging", "prod"}
            await api.until_watched("Namespace", "Service", "Deployment", "EndpointSlice", "Pod")
            assert all(r.namespace for r in api.requests if r.kind != "Namespace")
            assert api.count("list", "Service") == 2

    async def test_a_namespace_that_may_not_be_read_can_be_done_without(self, api: ApiServer) -> None:
        api.put(*EVERYTHING)
        api.reject["list", "Namespace"] = 403
        async with running(source(api, ["staging"], HASTY)) as recorder:
            assert services(recorder) == {"web"}
            assert recorder.world.view("staging").awaited == set()
            assert [problem.origin for problem in recorder.problems] == ["kube/Namespace/staging"]
            del api.reject["list", "Namespace"]
            await recorder.until(lambda: recorder.names(Kind.NAMESPACE) == {"staging"})
            assert recorder.problems == []


class TestReadOnce:
    async def test_it_lists_everything_once(self, api: ApiServer) -> None:
        api.put(*EVERYTHING, service("bad", port="x"))
        world, _ = World().apply(await read_once_kube(api.connect))
        async with running(source(api)) as recorder:
            assert world == recorder.world
        assert [r.kind for r in api.requests if r.verb == "list"].count("Service") == 2

    async def test_it_says_why_it_cannot(self, api: ApiServer) -> None:
        api.reject["list", "Service"] = 403
        with pytest.raises(SourceError, match="No permission to list services in all namespaces"):
            await read_once_kube(api.connect)
        api.down = True
        with pytest.raises(SourceError, match="cannot be reached"):
            await read_once_kube(api.connect)

    async def test_it_can_do_without_the_namespace_too(self, api: ApiServer) -> None:
        api.put(*EVERYTHING)
        api.reject["list", "Namespace"] = 403
        world, _ = World().apply(await read_once_kube(api.connect, ["staging"]))
        assert set(world.view("staging").services) == {"web"}
        assert [p.reason for problems in world.reports.values() for p in problems] == ["Forbidden"]
