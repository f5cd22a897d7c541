"""Of a kind that was never listed nobody is told anything: it is awaited, from the object on that makes it
necessary until its first list, and never is there a world between the two.
"""

from collections.abc import Iterable
from typing import NamedTuple

import pytest

from tests.support.recorder import Recorder, running, started
from tests.unit.kube.api_server import FAST, HASTY, ApiServer, source
from tests.unit.kube.manifests import EVERYTHING, canary, deployment, namespace, pod, service
from xds_server.core.objects import Kind
from xds_server.core.world import Change, World
from xds_server.kube.source import read_once_kube


class Seen(NamedTuple):
    """What a world says of staging."""

    canaries: frozenset[str]
    pods: frozenset[str]
    awaited: frozenset[str]


def follow(recorder: Recorder) -> list[Seen]:
    """The worlds from now on."""
    worlds: list[Seen] = []
    put = recorder.put

    def watched(changes: Iterable[Change]) -> None:
        put(changes)
        view = recorder.world.view("staging")
        worlds.append(Seen(frozenset(view.workloads), frozenset(view.pods), view.awaited))

    recorder.put = watched  # type: ignore[method-assign]
    return worlds


def awaited(recorder: Recorder) -> frozenset[str]:
    return recorder.world.view("staging").awaited


X = frozenset({"app=x"})
CANARY = frozenset({"canary"})
NONE: frozenset[str] = frozenset()


class TestPods:
    @pytest.mark.parametrize("streams", [False, True], ids=["pages", "streams"])
    @pytest.mark.parametrize("there", [True, False], ids=["with Pods", "without"])
    async def test_they_are_awaited_from_the_label_to_the_first_list(
        self, api: ApiServer, streams: bool, there: bool
    ) -> None:
        api.streams = streams
        api.put(namespace("staging"), *([pod("p", app="x")] if there else []))
        async with running(source(api)) as recorder:
            await api.until_watched("Deployment")
            worlds = follow(recorder)
            api.put(canary("canary", app="x"))
            await recorder.until(lambda: worlds != [] and worlds[-1].awaited == NONE)
            pods = frozenset({"p"}) if there else NONE
            assert worlds == [Seen(CANARY, NONE, X), Seen(CANARY, pods, NONE)]

    @pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500, 503])
    async def test_whatever_the_answer_is_they_are_never_given_up(self, api: ApiServer, status: int) -> None:
        api.put(namespace("staging"), pod("p", app="x"))
        async with running(source(api, timing=HASTY)) as recorder:
            await api.until_watched("Deployment")
            api.reject["list", "Pod"] = status
            api.put(canary("canary", app="x"))
            await api.until_asked("list", "Pod", 4)
            assert awaited(recorder) == X
            worlds = follow(recorder)
            api.reject.clear()
            await recorder.until(lambda: awaited(recorder) == NONE)
            assert [seen for seen in worlds if seen.pods and seen.awaited] == []
            assert recorder.names(Kind.POD) == {"p"}

    async def test_of_one_selector_they_are_awaited_until_the_last_canary_goes(self, api: ApiServer) -> None:
        api.put(namespace("staging"))
        async with running(source(api)) as recorder:
            await api.until_watched("Deployment")
            api.reject["list", "Pod"] = 403
            api.put(canary("canary", app="x"), canary("other", app="x"))
            await api.until_asked("list", "Pod", 2)
            api.put(deployment("other", app="x"))
            await recorder.until(lambda: recorder.names(Kind.DEPLOYMENT) == {"canary"})
            assert awaited(recorder) == X
            worlds = follow(recorder)
            api.put(deployment("canary", app="x"))
            await recorder.until(lambda: recorder.names(Kind.DEPLOYMENT) == set())
            assert worlds[0] == Seen(NONE, NONE, NONE)

    async def test_another_selector_makes_others_awaited(self, api: ApiServer) -> None:
        api.put(namespace("staging"), canary("canary", app="x"), pod("p", app="x"), pod("q", app="y"))
        async with running(source(api)) as recorder:
            await api.until_watched("Deployment", "Pod")
            worlds = follow(recorder)
            api.put(canary("canary", app="y"))
            await recorder.until(lambda: recorder.names(Kind.POD) == {"q"})
            assert worlds == [
                Seen(CANARY, NONE, frozenset({"app=y"})),
                Seen(CANARY, frozenset({"q"}), NONE),
            ]

    async def test_at_the_start_the_first_list_of_all_is_waited_for(self, api: ApiServer) -> None:
        """A real API server answers 403 to everybody while it starts."""
        api.put(*EVERYTHING)
        for kind in ("Namespace", "Service", "Deployment", "EndpointSlice", "Pod"):
            api.reject["list", kind] = 403
        async with started(source(api)) as recorder:
            await api.until_asked("list", "Service", 3)
            for kind in ("Namespace", "Service", "Deployment", "EndpointSlice"):
                del api.reject["list", kind]
            await api.until_asked("list", "Pod", 3)
            assert recorder.syncs == 0
            api.reject.clear()
            await recorder.until(lambda: recorder.syncs == 1)
            assert recorder.world_at_sync is not None
            assert recorder.world_at_sync.view("staging").awaited == NONE
            assert set(recorder.world_at_sync.view("staging").pods) == {"canary-1"}


class TestNamespaces:
    @pytest.mark.parametrize("status", [401, 403, 404, 503])
    async def test_one_is_waited_for(self, api: ApiServer, status: int) -> None:
        api.put(*EVERYTHING)
        api.reject["list", "Namespace"] = status
        async with started(source(api, ["staging"])) as recorder:
            await api.until_watched("Service", "Deployment", "EndpointSlice")
            await api.until_asked("list", "Namespace", 4)
            assert recorder.syncs == 0
            assert awaited(recorder) == {""}
            api.reject.clear()
            await recorder.until(lambda: recorder.syncs == 1)
            assert awaited(recorder) == NONE

    async def test_it_is_given_up_when_it_is_forbidden_for_a_while(self, api: ApiServer) -> None:
        api.put(*EVERYTHING)
        api.reject["list", "Namespace"] = 403
        followed = source(api, ["staging"], HASTY)
        async with running(followed) as recorder:
            assert awaited(recorder) == NONE
            assert recorder.reasons == {"Forbidden"}
            assert followed.health().outage_s is None
            api.put(service("other"))
            await recorder.until(lambda: recorder.names(Kind.SERVICE) == {"web", "other"})
            assert awaited(recorder) == NONE

    @pytest.mark.parametrize("status", [401, 404, 503])
    async def test_only_a_rejection_makes_it_given_up(self, api: ApiServer, status: int) -> None:
        api.put(*EVERYTHING)
        api.reject["list", "Namespace"] = status
        async with started(source(api, ["staging"], HASTY)) as recorder:
            await api.until_watched("Service", "Deployment", "EndpointSlice")
            await api.until_asked("list", "Namespace", 4)
            assert recorder.syncs == 0

    async def test_a_new_one_is_awaited_while_its_watch_says_nothing(self, api: ApiServer) -> None:
        """Its bounds hold for what is in it from the first moment on."""
        async with running(source(api)) as recorder:
            await api.until_watched("Service", "Deployment", "Namespace")
            api.put(service("web"))
            await recorder.until(lambda: recorder.names(Kind.SERVICE) == {"web"})
            assert awaited(recorder) == {""}
            api.put(canary("canary", app="x"))
            await recorder.until(
                lambda: awaited(recorder) == {""} and "canary" in recorder.names(Kind.DEPLOYMENT)
            )
            worlds = follow(recorder)
            api.put(namespace("staging"))
            await recorder.until(lambda: awaited(recorder) == NONE)
            assert recorder.names(Kind.NAMESPACE) == {"staging"}
            assert worlds[-1].awaited == NONE

    async def test_it_is_awaited_no_more_when_nothing_is_in_it(self, api: ApiServer) -> None:
        async with running(source(api)) as recorder:
            await api.until_watched("Service", "Deployment")
            api.put(service("web"), canary("canary", app="x"))
            await recorder.until(lambda: "canary" in recorder.names(Kind.DEPLOYMENT))
            api.delete(service("web"))
            api.delete(canary("canary", app="x"))
            await recorder.until(lambda: recorder.world == World())

    async def test_a_deleted_one_is_awaited_until_what_was_in_it_is_gone(self, api: ApiServer) -> None:
        api.put(namespace("staging"), service("web"))
        async with running(source(api)) as recorder:
            await api.until_watched("Service", "Namespace")
            api.delete(namespace("staging"))
            await recorder.until(lambda: awaited(recorder) == {""})
            api.delete(service("web"))
            await recorder.until(lambda: recorder.world == World())


class TestReadOnce:
    @pytest.mark.parametrize("status", [400, 403, 404])
    async def test_pods_that_cannot_be_listed_are_awaited(self, api: ApiServer, status: int) -> None:
        api.put(*EVERYTHING)
        api.reject["list", "Pod"] = status
        world, _ = World().apply(await read_once_kube(api.connect, timing=FAST))
        assert world.view("staging").awaited == {"app=web-canary"}
        assert len(world.reports) == 1
