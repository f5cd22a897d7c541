"""An outage is one thing, however many watches notice it; afterwards the difference comes at once."""

import asyncio
from collections.abc import Iterable

import pytest

from tests.support.recorder import running, started
from tests.support.waiting import PATIENCE_S
from tests.unit.kube.api_server import ALWAYS, OPTIONAL, ApiServer, error_event, source
from tests.unit.kube.manifests import EVERYTHING, canary, namespace, service
from xds_server.core.objects import WORKLOADS, Kind
from xds_server.core.world import Change, Report, Upsert
from xds_server.kube.outage import Outage
from xds_server.kube.query import Query

A, B, C = Query(Kind.NAMESPACE), Query(Kind.SERVICE), Query(Kind.POD, "a", labels="x")


class Puts:
    """A sink that remembers what came together."""

    def __init__(self) -> None:
        self.batches: list[list[Change]] = []
        self.news = asyncio.Event()

    def put(self, changes: Iterable[Change]) -> None:
        self.batches.append(list(changes))
        self.news.set()

    def synced(self) -> None:
        raise AssertionError

    async def until(self, count: int) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while len(self.batches) < count:
                self.news.clear()
                await self.news.wait()


def change(origin: str) -> Change:
    return Report(origin, ())


@pytest.fixture
def puts() -> Puts:
    return Puts()


class TestHolding:
    async def test_changes_pass_while_all_is_well(self, puts: Puts) -> None:
        outage = Outage(puts, 3600)
        outage.begin_regrouping()
        outage.worked(A)
        outage.pass_on([change("a")])
        assert puts.batches == [[change("a")]]
        assert outage.lasted is None

    async def test_what_comes_back_apart_is_passed_on_together(self, puts: Puts) -> None:
        outage = Outage(puts, 3600)
        outage.begin_regrouping()
        outage.failed(A, rejected=False)
        outage.failed(B, rejected=False)
        outage.pass_on([change("still connected")])
        outage.worked(A)
        outage.pass_on([change("a")])
        outage.worked(B)
        outage.pass_on([change("b")])
        assert puts.batches == [[change("still connected")]]
        await puts.until(2)
        assert puts.batches[1] == [change("a"), change("b")]
        assert outage.lasted is None
        outage.pass_on([change("c")])
        assert len(puts.batches) == 3

    async def test_one_that_stays_away_does_not_hold_up_the_others_for_ever(self, puts: Puts) -> None:
        outage = Outage(puts, 0.0)
        outage.begin_regrouping()
        outage.failed(A, rejected=False)
        outage.failed(B, rejected=False)
        outage.failed(C, rejected=False)
        outage.worked(A)
        outage.pass_on([change("a")])
        await puts.until(1)
        outage.worked(B)
        outage.pass_on([change("b")])
        assert puts.batches == [[change("a")], [change("b")]]
        assert outage.lasted is not None
        outage.forget(C)
        assert outage.lasted is None

    async def test_one_that_was_away_for_long_is_not_waited_for_again(self, puts: Puts) -> None:
        outage = Outage(puts, 0.0)
        outage.begin_regrouping()
        outage.failed(A, rejected=True)
        outage.failed(B, rejected=False)
        outage.worked(B)
        outage.pass_on([change("b")])
        await puts.until(1)
        outage._regroup = 3600
        for query in (A, B, C):
            outage.failed(query, rejected=query is A)
        outage.worked(B)
        outage.pass_on([change("b again")])
        assert len(puts.batches) == 1
        outage.worked(C)
        outage.pass_on([change("c")])
        await puts.until(2)
        assert puts.batches[1] == [change("b again"), change("c")]
        assert outage.lasted is not None

    async def test_what_comes_back_otherwise_than_it_went_was_away_all_the_time(self, puts: Puts) -> None:
        outage = Outage(puts, 0.0)
        outage.failed(A, rejected=False)
        since = outage.down[A].since
        outage.failed(A, rejected=True)
        assert outage.down[A] == (since, True)

    async def test_before_the_first_sync_nothing_is_held(self, puts: Puts) -> None:
        outage = Outage(puts, 3600)
        outage.failed(A, rejected=False)
        outage.failed(B, rejected=False)
        outage.worked(A)
        outage.pass_on([change("a")])
        assert puts.batches == [[change("a")]]

    async def test_nothing_is_passed_on_after_the_end(self, puts: Puts) -> None:
        outage = Outage(puts, 0.0)
        outage.begin_regrouping()
        outage.failed(A, rejected=False)
        outage.failed(B, rejected=False)
        outage.worked(A)
        outage.pass_on([change("a")])
        outage.close()
        other = Outage(puts, 0.0)
        other.begin_regrouping()
        other.failed(A, rejected=False)
        other.failed(B, rejected=False)
        other.worked(A)
        other.pass_on([change("other")])
        await puts.until(1)
        assert puts.batches == [[change("other")]]


class TestPausing:
    async def test_the_first_that_comes_back_calls_the_others(self, puts: Puts) -> None:
        outage = Outage(puts, 0.0)
        outage.failed(A, rejected=False)
        outage.failed(B, rejected=False)
        waiting = asyncio.create_task(outage.pause(3600))
        await asyncio.sleep(0)
        outage.worked(A)
        async with asyncio.timeout(PATIENCE_S):
            await waiting

    async def test_one_that_fails_again_waits_again(self, puts: Puts) -> None:
        outage = Outage(puts, 0.0)
        outage.failed(A, rejected=False)
        outage.failed(B, rejected=False)
        outage.worked(A)
        outage.failed(B, rejected=False)
        waiting = asyncio.create_task(outage.pause(3600))
        for _ in range(10):
            await asyncio.sleep(0)
        assert not waiting.done()
        waiting.cancel()

    async def test_who_begins_to_wait_later_is_not_called_by_what_came_back_before(self, puts: Puts) -> None:
        """Or a watch that ends at once would be opened again without a pause while another is rejected."""
        outage = Outage(puts, 0.0)
        outage.failed(A, rejected=True)
        outage.failed(B, rejected=False)
        outage.worked(B)
        waiting = asyncio.create_task(outage.pause(3600))
        for _ in range(10):
            await asyncio.sleep(0)
        assert not waiting.done()
        waiting.cancel()

    @pytest.mark.parametrize("down", [True, False])
    async def test_a_pause_comes_to_its_end(self, puts: Puts, down: bool) -> None:
        outage = Outage(puts, 0.0)
        if down:
            outage.failed(A, rejected=False)
        async with asyncio.timeout(PATIENCE_S):
            await outage.pause(0.001)


class TestOnASource:
    @pytest.mark.parametrize("lists", [1, 2], ids=["watches go on", "all is listed again"])
    async def test_the_difference_is_put_at_once(self, api: ApiServer, lists: int) -> None:
        api.put(*EVERYTHING)
        async with running(source(api)) as recorder:
            await api.until_watched(*ALWAYS, "Pod")
            api.down = True
            api.cut()
            await recorder.until(lambda: len(recorder.problems) == len(ALWAYS) + 1)
            batches: list[list[Change]] = []
            put = recorder.put

            def remembered(changes: Iterable[Change]) -> None:
                batches.append(list(changes))
                put(batches[-1])

            recorder.put = remembered  # type: ignore[method-assign]
            api.delete(service("web"))
            api.put(service("other"), namespace("staging", labels={"v": "2"}))
            if lists > 1:
                api.forgotten = api.version
            api.down = False
            await recorder.until(lambda: recorder.names(Kind.SERVICE) == {"other"})
            await recorder.until(lambda: recorder.problems == [])
            reported = [batch for batch in batches if any(not isinstance(change, Report) for change in batch)]
            assert len(reported) == 1
            assert {change.obj.name for change in reported[0] if isinstance(change, Upsert)} == {
                "other",
                "staging",
            }
            assert api.count("list", "Service") == lists

    async def test_health_tells_of_it(self, api: ApiServer) -> None:
        followed = source(api)
        assert followed.health().message == "Kubernetes is not connected to yet"
        async with running(followed) as recorder:
            assert followed.health().message == f"Kubernetes at {api.url} is being watched"
            assert set(followed.health().outages.values()) == {0.0}
            await api.until_watched(*ALWAYS)
            api.down = True
            api.cut()
            await recorder.until(lambda: len(recorder.problems) == len(ALWAYS))
            health = followed.health()
            assert (health.outage_s or -1) >= 0
            assert (
                "has not answered for 0 s (daemonsets in all namespaces, deployments in all" in health.message
            )
            down = {kind for kind, lasted in health.outages.items() if lasted}
            assert down == {*Kind} - {*OPTIONAL, Kind.SECRET}
            api.down = False
            await recorder.until(lambda: recorder.problems == [])
            assert followed.health().outage_s is None

    @pytest.mark.parametrize(("status", "why"), [(401, "renew them"), (403, "grant list and watch")])
    async def test_a_rejected_watch_is_an_outage(self, api: ApiServer, status: int, why: str) -> None:
        followed = source(api)
        async with running(followed) as recorder:
            await api.until_watched("Service")
            api.reject["watch", "Service"] = status
            api.end("Service")
            await recorder.until(lambda: recorder.problems != [])
            health = followed.health()
            assert (health.outage_s or -1) >= 0
            assert (
                "has rejected requests for 0 s (services in all namespaces);"
                " the last known objects stay in use" in health.message
            )
            assert why in health.message
            assert {kind for kind, lasted in health.outages.items() if lasted} == {Kind.SERVICE}
            api.reject.clear()
            await recorder.until(lambda: recorder.problems == [])
            assert followed.health().outage_s is None

    async def test_an_answer_that_cannot_be_read_is_an_outage(self, api: ApiServer) -> None:
        """A proxy that answers everything with a page of its own, say."""
        followed = source(api)
        async with running(followed) as recorder:
            await api.until_watched("Service")
            api.reject["list", "Service"] = 200
            api.say("Service", error_event(410))
            await recorder.until(lambda: recorder.reasons == {"DecodeFailed"})
            assert (followed.health().outage_s or -1) >= 0
            api.reject.clear()
            await recorder.until(lambda: recorder.problems == [])
            assert followed.health().outage_s is None

    async def test_a_secret_that_may_not_be_read_is_its_own_canarys_matter(self, api: ApiServer) -> None:
        using = canary("web-canary")
        using["metadata"]["annotations"] = {"xds-shadow.io/credential-from-secret": "token/key"}
        api.put(using)
        api.reject["list", "Secret"] = 403
        followed = source(api)
        async with running(followed) as recorder:
            await recorder.until(lambda: recorder.reasons == {"Forbidden"})
            assert followed.health().outage_s is None

    async def test_until_the_first_sync_health_tells_what_is_missing(self, api: ApiServer) -> None:
        api.put(canary("web-canary"))
        api.reject["list", "Pod"] = 403
        followed = source(api)
        async with started(followed) as recorder:
            await recorder.until(lambda: recorder.reasons == {"Forbidden"})
            await api.until_watched(*ALWAYS)
            assert followed.health().message == (
                f"Kubernetes at {api.url}: waiting for the first list of pods in namespace staging. No"
                " permission to list pods in namespace staging (message: as the test says); grant list and"
                ' watch on "pods" of API group "". Retrying'
            )

    async def test_a_server_that_is_down_at_the_start_is_one_condition(self, api: ApiServer) -> None:
        api.down = True
        api.cut()
        followed = source(api)
        async with started(followed) as recorder:
            # Custom resources too: whether the server has them is not known.
            watches = len(ALWAYS) + sum(not kind.built_in for kind in WORKLOADS)
            await recorder.until(lambda: len(recorder.problems) == watches)
            problem, *others = set(recorder.problems)
            assert others == []
            assert (problem.reason, problem.origin) == ("ApiUnavailable", "kube")
            assert problem.message == "The API server cannot be reached (Server disconnected)."
            assert followed.health().message == (
                f"Kubernetes at {api.url}: waiting for the first list of clonesets in all namespaces,"
                " daemonsets in all namespaces, deployments in all namespaces, endpointslices in all"
                f" namespaces, namespaces, and {watches - 5} more. The API server cannot be reached (Server"
                " disconnected). Retrying"
            )

    async def test_watches_are_counted(self, api: ApiServer) -> None:
        api.put(service("web"))
        followed = source(api)
        async with running(followed) as recorder:
            await api.until_watched("Service")
            api.put(service("other"))
            await recorder.until(lambda: recorder.names(Kind.SERVICE) == {"web", "other"})
            api.end("Service")
            await api.until_asked("watch", "Service", 2)
            counts = followed.health().watches[Kind.SERVICE]
            assert (counts.lists, counts.resumes, counts.events, counts.failures) == (1, 1, 1, 0)


class TestRetryAfter:
    async def test_the_server_is_left_alone_for_as_long_as_it_asks(self, api: ApiServer) -> None:
        api.reject["list", "Service"], api.retry_after = 429, 3600
        async with started(source(api)) as recorder:
            await recorder.until(lambda: recorder.reasons == {"ApiUnavailable"})
            # Another query that fails and comes back calls those that wait, but not before their time.
            await api.until_watched("Namespace")
            api.reject["watch", "Namespace"], api.retry_after = 503, None
            api.end("Namespace")
            await recorder.until(lambda: len(recorder.problems) == 2)
            del api.reject["watch", "Namespace"]
            await recorder.until(lambda: len(recorder.problems) == 1)
            assert api.count("list", "Service") == 1

    async def test_a_short_wish_is_only_a_wish(self, api: ApiServer) -> None:
        api.put(service("web"))
        api.reject["list", "Service"], api.retry_after = 429, 0
        async with started(source(api)) as recorder:
            await recorder.until(lambda: recorder.reasons == {"ApiUnavailable"})
            del api.reject["list", "Service"]
            await recorder.until(lambda: recorder.syncs == 1)
