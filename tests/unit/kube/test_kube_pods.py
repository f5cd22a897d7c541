"""No change of endpoints passes while Pods of canaries may have changed unseen."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import cast

import pytest

from tests.support.recorder import Recorder, running
from tests.support.waiting import eventually
from tests.unit.kube.api_server import FAST, ApiServer, event, source
from tests.unit.kube.manifests import EVERYTHING, canary, deployment, endpoint_slice, namespace, pod
from xds_server.core.objects import EndpointSlice, Kind, Meta, Pod
from xds_server.core.source import WatchCounts
from xds_server.core.world import Awaiting, Change, Report, Upsert
from xds_server.kube import pods as kube_pods
from xds_server.kube.api import KubeApi
from xds_server.kube.outage import Outage
from xds_server.kube.pods import PodGate
from xds_server.kube.query import Query, rejection
from xds_server.kube.reflector import Patience, Reflector

SELECTOR = "app=web-canary"
NONE: frozenset[str] = frozenset()
NEW_POD = pod("canary-2", ip="10.0.0.2", app="web-canary")
NEW_SLICE = endpoint_slice("web-x", address="10.0.0.2")
NEW = {"10.0.0.2", "10.0.0.3"}
FOREVER_S = 3600.0
PATIENT = replace(FAST, reopen_pods=FOREVER_S)


@dataclass
class Seen:
    """What the worlds said of staging, one after another: addresses, Pods, what is awaited."""

    worlds: list[tuple[set[str], set[str], frozenset[str]]] = field(default_factory=list)

    def addresses_while(self, awaited: frozenset[str]) -> set[str]:
        return {address for there, _, waiting in self.worlds if waiting == awaited for address in there}

    @property
    def awaited(self) -> bool:
        return any(waiting for _, _, waiting in self.worlds)


def addresses(recorder: Recorder, name: str = "staging") -> set[str]:
    return {
        address
        for slices in recorder.world.view(name).slices.values()
        for each in slices.values()
        for endpoint in each.endpoints or ()
        for address in endpoint.addresses
    }


def follow(recorder: Recorder) -> Seen:
    """The worlds from now on."""
    seen = Seen()
    put = recorder.put

    def watched(changes: Iterable[Change]) -> None:
        put(changes)
        view = recorder.world.view("staging")
        seen.worlds.append((addresses(recorder), set(view.pods), view.awaited))

    recorder.put = watched  # type: ignore[method-assign]
    return seen


async def until_followed(api: ApiServer) -> None:
    await api.until_watched("Namespace", "Service", "Deployment", "EndpointSlice", "Pod")


class TestFromTheApi:
    @pytest.mark.parametrize("streams", [False, True], ids=["pages", "streams"])
    @pytest.mark.parametrize("status", [400, 401, 403, 429, 503])
    async def test_endpoints_change_no_sooner_than_their_pods_are_awaited(
        self, api: ApiServer, status: int, streams: bool
    ) -> None:
        api.streams = streams
        api.put(*EVERYTHING)
        async with running(source(api)) as recorder:
            await until_followed(api)
            for verb in ("list", "watch", "stream"):
                api.reject[verb, "Pod"] = status
            api.end("Pod")
            await recorder.until(lambda: recorder.problems != [])
            seen = follow(recorder)
            api.put(NEW_POD, NEW_SLICE)
            await recorder.until(lambda: addresses(recorder) == {"10.0.0.2"})
            assert recorder.world.view("staging").awaited == {SELECTOR}
            api.put(endpoint_slice("web-x", address="10.0.0.3"))
            await recorder.until(lambda: addresses(recorder) == {"10.0.0.3"})
            api.reject.clear()
            await recorder.until(lambda: recorder.world.view("staging").awaited == NONE)
            assert recorder.names(Kind.POD) == {"canary-1", "canary-2"}
            assert all(len(pods) == 2 for there, pods, waiting in seen.worlds if there & NEW and not waiting)
            assert seen.addresses_while(frozenset({SELECTOR})) == NEW
            assert api.count("list", "Pod") + api.count("stream", "Pod") > 1, "only a list is certain"

    async def test_a_watch_that_is_opened_again_in_time_shows_nothing(self, api: ApiServer) -> None:
        api.put(*EVERYTHING)
        async with running(source(api, timing=PATIENT)) as recorder:
            await until_followed(api)
            seen = follow(recorder)
            for n in range(2, 6):
                await api.until_watched("Pod")
                api.end("Pod")
                api.put(pod(f"canary-{n}", app="web-canary"), endpoint_slice("web-x", address=f"10.0.0.{n}"))
                await recorder.until(lambda at=n: addresses(recorder) == {f"10.0.0.{at}"})  # type: ignore[misc]
                assert f"canary-{n}" in recorder.names(Kind.POD)
            assert not seen.awaited
            assert api.count("list", "Pod") == 1

    async def test_while_no_endpoint_changes_nothing_is_awaited(self, api: ApiServer) -> None:
        api.put(*EVERYTHING)
        async with running(source(api)) as recorder:
            await until_followed(api)
            seen = follow(recorder)
            api.reject["watch", "Pod"] = 403
            api.end("Pod")
            await api.until_asked("watch", "Pod", 4)
            api.put(namespace("staging", labels={"v": "2"}))
            await recorder.until(lambda: recorder.labels(Kind.NAMESPACE, "staging") == {"v": "2"})
            api.reject.clear()
            await recorder.until(lambda: recorder.problems == [])
            assert not seen.awaited
            assert api.count("list", "Pod") == 1

    async def test_other_namespaces_do_not_wait(self, api: ApiServer) -> None:
        api.put(*EVERYTHING, canary("other", namespace="production"))
        async with running(source(api, timing=PATIENT)) as recorder:
            await until_followed(api)
            await api.until_asked("watch", "Pod", 2)
            api.rejected_selectors.add(SELECTOR)
            api.end("Pod")
            await recorder.until(lambda: recorder.problems != [])
            api.put(NEW_SLICE, endpoint_slice("web-y", "production", "10.0.0.9"))
            await recorder.until(lambda: addresses(recorder, "production") == {"10.0.0.9"})
            assert addresses(recorder) == {"10.0.0.1"}
            api.rejected_selectors.clear()
            await recorder.until(lambda: addresses(recorder) == {"10.0.0.2"})

    async def test_a_canary_that_goes_lets_the_endpoints_pass(self, api: ApiServer) -> None:
        api.put(*EVERYTHING)
        async with running(source(api, timing=PATIENT)) as recorder:
            await until_followed(api)
            api.reject["watch", "Pod"] = 403
            api.end("Pod")
            await recorder.until(lambda: recorder.problems != [])
            api.put(NEW_SLICE)
            api.put(deployment("web-canary"))
            await recorder.until(lambda: addresses(recorder) == {"10.0.0.2"})
            assert recorder.names(Kind.DEPLOYMENT) == recorder.names(Kind.POD) == set()
            assert recorder.world.view("staging").awaited == NONE

    async def test_a_watch_of_pods_ends_sooner_than_others(self, api: ApiServer) -> None:
        """What bounds for how long a connection that fell silent hides a Pod."""
        api.put(*EVERYTHING)
        async with running(source(api)):
            await until_followed(api)
            lasts = {
                request.kind: int(request.parameters["timeoutSeconds"])
                for request in api.requests
                if request.verb == "watch"
            }
            assert lasts["Pod"] <= FAST.watch_pods < lasts["EndpointSlice"] <= FAST.watch


@dataclass
class Watch:
    """Stands for a reflector."""

    caught_up: bool = True
    open: bool = False
    lists: int = 0
    polls: int = 0

    @property
    def is_open(self) -> bool:
        self.polls += 1
        return self.open

    def list_again(self) -> None:
        self.lists += 1


@dataclass
class Puts:
    """A sink that remembers what came together."""

    batches: list[list[Change]] = field(default_factory=list)

    def put(self, changes: Iterable[Change]) -> None:
        self.batches.append(list(changes))

    def synced(self) -> None:
        pass


QUERY = Query(Kind.POD, "staging", labels=SELECTOR)
SLICE = Upsert(EndpointSlice(metadata=Meta(name="web-x", namespace="staging"), address_type="IPv4"))
POD = Upsert(Pod(metadata=Meta(name="p", namespace="staging")))
WAITING = Awaiting("staging", SELECTOR, waiting=True)
LISTED = Awaiting("staging", SELECTOR, waiting=False)


class TestGate:
    def gate(self, puts: Puts, watch: Watch, *, reopen: float = FOREVER_S) -> PodGate:
        gate = PodGate(puts, reopen=reopen)
        gate.add(QUERY, watch)
        assert gate.want({"staging": {SELECTOR}}) == [WAITING]
        assert gate.listed(QUERY) == [LISTED]
        return gate

    async def test_before_the_first_sync_nothing_is_held(self) -> None:
        puts = Puts()
        gate = self.gate(puts, Watch(caught_up=False))
        gate.put([SLICE])
        assert puts.batches == [[SLICE]]

    async def test_what_was_held_before_does_not_end_a_later_loss(self) -> None:
        """Its list may have waited for other watches (`kube_outage`), and be lost again since."""
        puts, watch = Puts(), Watch(caught_up=False)
        gate = self.gate(puts, watch, reopen=0.0)
        gate.synced()
        gate.put([SLICE])
        await eventually(lambda: len(puts.batches) == 2)
        assert puts.batches == [[], [SLICE, WAITING]]
        assert watch.lists == 1
        gate.put([POD, LISTED])
        assert puts.batches[2] == [POD, WAITING]
        assert gate.listed(QUERY) == [LISTED]
        gate.put([POD, LISTED])
        assert puts.batches[3] == [POD, LISTED]

    async def test_what_comes_of_the_namespace_meanwhile_waits_with_it(self) -> None:
        puts, watch = Puts(), Watch(caught_up=False)
        gate = self.gate(puts, watch)
        gate.synced()
        report = Report("kube/Pod", ())
        gate.put([SLICE, report])
        gate.put([POD])
        assert puts.batches == [[report], []]
        watch.caught_up = True
        await eventually(lambda: len(puts.batches) == 3)
        assert puts.batches[2] == [SLICE, POD]
        assert watch.lists == 0

    async def test_one_that_was_just_opened_has_the_time_to_say_what_it_missed(self) -> None:
        puts, watch = Puts(), Watch(caught_up=False, open=True)
        gate = self.gate(puts, watch, reopen=0.0)
        gate.synced()
        gate.put([SLICE])
        await eventually(lambda: watch.polls >= 3)
        assert puts.batches == [[]]
        watch.caught_up = True
        await eventually(lambda: len(puts.batches) == 2)
        assert puts.batches[1] == [SLICE]
        assert watch.lists == 0

    async def test_nothing_is_passed_on_after_the_end(self) -> None:
        puts, watch = Puts(), Watch(caught_up=False)
        gate = self.gate(puts, watch)
        gate.synced()
        gate.put([SLICE])
        await eventually(lambda: watch.polls >= 1)
        gate.close()
        watch.caught_up = True
        polls = watch.polls
        # Timers of one length run in the order in which they were started.
        await asyncio.sleep(kube_pods._POLL_S)
        assert (puts.batches, watch.polls) == ([[]], polls)


class Api:
    """Stands for a `KubeApi` whose watches end after a bookmark; `opening` is called while one is opened."""

    def __init__(self, opening: Callable[[], None]) -> None:
        self._opening = opening
        self.asked: list[str] = []

    async def page(self, _query: Query, _token: str) -> bytes:
        self.asked.append("list")
        return b'{"metadata": {"resourceVersion": "7"}}'

    @asynccontextmanager
    async def watch(self, _query: Query, version: str) -> AsyncIterator[AsyncIterator[bytes]]:
        self.asked.append(f"watch from {version}")
        self._opening()
        yield self._lines()

    @asynccontextmanager
    async def streaming_list(self, query: Query) -> AsyncIterator[AsyncIterator[bytes]]:
        raise rejection(query, "watch", 400, "")
        yield

    async def _lines(self) -> AsyncIterator[bytes]:
        yield event("BOOKMARK", {"kind": "Pod", "metadata": {"name": "", "resourceVersion": "8"}})


async def test_a_list_that_comes_to_be_due_while_a_watch_is_opened_is_made() -> None:
    def opening() -> None:
        if len(api.asked) == 3:
            reflector.list_again()

    api = Api(opening)
    reflector = Reflector(
        cast("KubeApi", api),
        QUERY,
        lambda *_: None,
        timing=FAST,
        outage=Outage(Puts(), 0.0),
        counts=WatchCounts(),
        patience=Patience(),
    )
    task = asyncio.create_task(reflector.run())
    await eventually(lambda: len(api.asked) >= 5)
    task.cancel()
    assert api.asked[:5] == ["list", "watch from 7", "watch from 8", "list", "watch from 7"]
