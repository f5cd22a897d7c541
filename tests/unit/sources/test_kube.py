"""The Kubernetes source against an API server that does what the real one does, failures included."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from tests.unit.sources.api_server import ApiServer, api_server, error_event
from tests.unit.sources.manifests import canary, deployment, endpoint_slice, namespace, pod, service
from tests.unit.sources.recorder import Recorder, running, started
from xds_server.base.errors import SourceError
from xds_server.model.objects import Kind
from xds_server.model.world import Report, Upsert, World
from xds_server.sources.kube import KubeSource, Timing, read_once_kube
from xds_server.sources.reflector import Backoff

FAST = Timing(backoff_base=0.005, backoff_cap=0.02, renew_after=0.0)

EVERYTHING = [
    namespace("staging"),
    service("web"),
    canary("web-canary"),
    deployment("web"),
    endpoint_slice("web-x"),
    pod("canary-1", app="web-canary"),
    pod("web-1", app="web"),
]


@pytest.fixture
async def api() -> AsyncIterator[ApiServer]:
    async with api_server() as server:
        yield server
        assert server.open_sessions == 0


def source(api: ApiServer, namespaces: Sequence[str] = (), timing: Timing = FAST) -> KubeSource:
    return KubeSource(api.connect, namespaces, timing=timing)


def services(recorder: Recorder) -> set[str]:
    return recorder.names(Kind.SERVICE)


class TestListAndWatch:
    async def test_the_first_sync_has_everything_that_matters(self, api: ApiServer) -> None:
        api.put(*EVERYTHING)
        async with running(source(api)) as recorder:
            assert recorder.names(Kind.NAMESPACE) == {"staging"}
            assert services(recorder) == {"web"}
            assert recorder.names(Kind.ENDPOINT_SLICE) == {"web-x"}
            assert recorder.names(Kind.DEPLOYMENT) == {"web-canary"}
            assert recorder.names(Kind.POD) == {"canary-1"}
            assert recorder.problems == []

    async def test_a_long_list_comes_in_pages(self, api: ApiServer) -> None:
        api.page_size = 2
        names = {f"web-{number}" for number in range(5)}
        api.put(*(service(name) for name in names))
        async with running(source(api)) as recorder:
            assert services(recorder) == names
            pages = [r.parameters for r in api.requests if (r.verb, r.kind) == ("list", "Service")]
            assert [page.get("continue") for page in pages] == [None, "2", "4"]
            assert {page["limit"] for page in pages} == {"500"}

    async def test_a_list_whose_token_expires_starts_over(self, api: ApiServer) -> None:
        api.page_size, api.expire_tokens = 2, 1
        api.put(service("a"), service("b"), service("c"))
        async with running(source(api)) as recorder:
            assert services(recorder) == {"a", "b", "c"}
            pages = [r.parameters for r in api.requests if (r.verb, r.kind) == ("list", "Service")]
            assert [page.get("continue") for page in pages] == [None, "2", None, "2"]
            assert recorder.problems == []

    async def test_events_are_followed(self, api: ApiServer) -> None:
        async with running(source(api)) as recorder:
            await api.until_watched("Service")
            api.put(service("web"))
            await recorder.until(lambda: services(recorder) == {"web"})
            api.put(service("web", labels={"v": "2"}))
            await recorder.until(lambda: recorder.labels(Kind.SERVICE, "web") == {"v": "2"})
            api.delete(service("web"))
            await recorder.until(lambda: services(recorder) == set())
            assert api.count("list", "Service") == 1

    async def test_a_change_that_means_nothing_here_is_not_passed_on(self, api: ApiServer) -> None:
        api.put(service("web"))
        async with running(source(api)) as recorder:
            await api.until_watched("Service")
            before = len(recorder.changes)
            api.put(service("web", annotations={"other.io/x": "1"}), service("witness"))
            await recorder.until(lambda: "witness" in services(recorder))
            assert len(recorder.changes) == before + 1

    async def test_an_object_longer_than_any_line_limit_passes(self, api: ApiServer) -> None:
        huge = {"other.io/blob": "x" * (5 << 20), "xds-shadow.io/hosts": "a.example"}
        api.put(service("listed", annotations=huge))
        async with running(source(api)) as recorder:
            await api.until_watched("Service")
            api.put(service("watched", annotations=huge))
            await recorder.until(lambda: services(recorder) == {"listed", "watched"})
            for name in ("listed", "watched"):
                obj = recorder.get(Kind.SERVICE, name)
                assert obj is not None
                assert obj.annotations == {"xds-shadow.io/hosts": "a.example"}

    async def test_a_watch_asks_for_bookmarks_and_an_end(self, api: ApiServer) -> None:
        async with running(source(api, timing=Timing(watch=77))):
            await api.until_watched("Service")
            (watch,) = [r.parameters for r in api.requests if (r.verb, r.kind) == ("watch", "Service")]
            assert watch["allowWatchBookmarks"] == "true"
            assert watch["timeoutSeconds"] == "77"


class TestResuming:
    @pytest.mark.parametrize("how", ["cut", "end"])
    async def test_a_watch_that_ends_goes_on_where_it_was(self, api: ApiServer, how: str) -> None:
        api.put(service("old"))
        async with running(source(api)) as recorder:
            await api.until_watched("Service")
            api.put(service("seen"))
            await recorder.until(lambda: "seen" in services(recorder))
            seen_at = str(api.version)
            api.put(namespace("elsewhere"))
            if how == "cut":
                api.cut()
            else:
                api.end("Service")
            await api.until_asked("watch", "Service", 2)
            api.put(service("new"))
            await recorder.until(lambda: services(recorder) == {"old", "seen", "new"})
            assert api.count("list", "Service") == 1
            watches = [r.parameters for r in api.requests if (r.verb, r.kind) == ("watch", "Service")]
            assert watches[1]["resourceVersion"] == seen_at
            assert recorder.problems == []
            assert recorder.deletions == []

    async def test_a_bookmark_moves_the_place_to_go_on_at(self, api: ApiServer) -> None:
        async with running(source(api)):
            await api.until_watched("Service")
            api.put(namespace("staging"))
            api.bookmark("Service")
            api.end("Service")
            await api.until_asked("watch", "Service", 2)
            watches = [r.parameters for r in api.requests if (r.verb, r.kind) == ("watch", "Service")]
            assert watches[1]["resourceVersion"] == str(api.version)

    async def test_a_line_that_is_cut_off_is_repeated(self, api: ApiServer) -> None:
        async with running(source(api)) as recorder:
            await api.until_watched("Service")
            api.say("Service", b'{"type":"ADDED","object":{"metadata":{"name":"web","names')
            api.end("Service")
            await api.until_asked("watch", "Service", 2)
            api.put(service("web"))
            await recorder.until(lambda: services(recorder) == {"web"})
            assert api.count("list", "Service") == 1
            assert recorder.problems == []

    async def test_lines_may_arrive_in_any_pieces(self, api: ApiServer) -> None:
        line = b'{"type":"ADDED","object":{"metadata":{"name":"%s","namespace":"staging"}}}\n'
        data = line % b"a" + line % b"b"
        async with running(source(api)) as recorder:
            await api.until_watched("Service")
            for start in range(0, len(data), 7):
                api.say("Service", data[start : start + 7])
            await recorder.until(lambda: services(recorder) == {"a", "b"})

    async def test_a_connection_that_fell_silent_is_given_up(self, api: ApiServer) -> None:
        silent = Timing(watch=0, silence=0.05, backoff_base=0.005, backoff_cap=0.02)
        async with running(source(api, timing=silent)) as recorder:
            await api.until_asked("watch", "Service", 2)
            assert api.count("list", "Service") == 1
            assert recorder.problems == []

    async def test_a_server_that_hangs_up_at_once_is_asked_less_and_less(
        self, api: ApiServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        delays: dict[Backoff, list[float]] = {}
        follow = Backoff.next

        def recorded(backoff: Backoff) -> float:
            delays.setdefault(backoff, []).append(delay := follow(backoff))
            return delay

        monkeypatch.setattr(Backoff, "next", recorded)
        api.hang_up = True
        async with running(source(api, timing=Timing(backoff_base=0.002, backoff_cap=10.0))):
            await api.until_asked("watch", "Service", 5)
        # Jitter takes at most half, so what is drawn from twice the range is never smaller.
        assert all(grown == sorted(grown) for grown in delays.values())
        assert max(map(len, delays.values())) >= 4


class TestVersionGone:
    async def test_http_410_leads_to_one_list(self, api: ApiServer) -> None:
        api.put(service("kept"), service("deleted-unseen"))
        async with running(source(api)) as recorder:
            await api.until_watched("Service")
            api.refuse["watch", "Service"] = 503
            api.cut()
            await recorder.until(lambda: recorder.reasons == {"ApiUnavailable"})
            api.delete(service("deleted-unseen"))
            api.put(service("created-unseen"))
            api.forgotten = api.version
            del api.refuse["watch", "Service"]
            await recorder.until(lambda: services(recorder) == {"kept", "created-unseen"})
            await api.until_watched("Service")
            assert api.count("list", "Service") == 2
            assert recorder.problems == []
            upserts = [c.obj.name for c in recorder.changes if isinstance(c, Upsert)]
            assert upserts.count("kept") == 1

    async def test_an_error_event_410_leads_to_one_list(self, api: ApiServer) -> None:
        api.put(service("web"))
        async with running(source(api)) as recorder:
            await api.until_watched("Service")
            api.say("Service", error_event(410))
            await api.until_asked("watch", "Service", 2)
            assert api.count("list", "Service") == 2
            assert recorder.deletions == []
            assert recorder.problems == []
            assert not any(isinstance(change, Report) for change in recorder.changes)

    async def test_another_error_event_is_reported_and_leads_to_a_list(self, api: ApiServer) -> None:
        async with running(source(api)) as recorder:
            await api.until_watched("Service")
            api.say("Service", error_event(500, "etcd event received with PrevKv=nil"))
            await api.until_asked("watch", "Service", 2)
            assert api.count("list", "Service") == 2
            (report,) = [c for c in recorder.changes if isinstance(c, Report) and c.problems]
            assert "PrevKv=nil" in report.problems[0].message
            await recorder.until(lambda: recorder.problems == [])

    async def test_a_watch_that_talks_nonsense_leads_to_a_list(self, api: ApiServer) -> None:
        async with running(source(api)) as recorder:
            await api.until_watched("Service")
            api.say("Service", b"<html>\n")
            await api.until_asked("watch", "Service", 2)
            assert api.count("list", "Service") == 2
            reported = [c for c in recorder.changes if isinstance(c, Report) and c.problems]
            assert [report.problems[0].reason for report in reported] == ["DecodeFailed"]


REASONS = {
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    429: "ApiUnavailable",
    500: "ApiUnavailable",
}


class TestFailures:
    @pytest.mark.parametrize(
        ("status", "reason"),
        [
            (401, "Unauthorized"),
            (403, "Forbidden"),
            (404, "NotFound"),
            (429, "ApiUnavailable"),
            (500, "ApiUnavailable"),
        ],
    )
    async def test_a_refused_list_is_reported_retried_and_cleared(
        self, api: ApiServer, status: int, reason: str
    ) -> None:
        api.put(*EVERYTHING)
        api.refuse["list", "Service"] = status
        async with started(source(api)) as recorder:
            await recorder.until(lambda: recorder.reasons == {reason})
            (problem,) = recorder.problems
            assert problem.origin == "kube/Service"
            assert "list services in all namespaces" in problem.message or status == 404
            await recorder.until(lambda: recorder.names(Kind.POD) == {"canary-1"})
            assert recorder.syncs == 0
            del api.refuse["list", "Service"]
            await recorder.until(lambda: recorder.syncs == 1)
            assert services(recorder) == {"web"}
            assert recorder.problems == []

    async def test_a_forbidden_request_says_what_to_grant(self, api: ApiServer) -> None:
        api.refuse["list", "EndpointSlice"] = 403
        async with started(source(api, ["staging"])) as recorder:
            await recorder.until(lambda: recorder.reasons == {"Forbidden"})
            (problem,) = recorder.problems
            assert problem.origin == "kube/EndpointSlice/staging"
            assert "list endpointslices in namespace staging" in problem.message
            assert (
                'grant list and watch on "endpointslices" of API group "discovery.k8s.io"' in problem.message
            )
            assert "as the test says" in problem.message

    async def test_a_forbidden_watch_is_reported_too(self, api: ApiServer) -> None:
        api.refuse["watch", "Service"] = 403
        async with running(source(api)) as recorder:
            await recorder.until(lambda: recorder.reasons == {"Forbidden"})
            assert "watch services" in recorder.problems[0].message
            del api.refuse["watch", "Service"]
            await recorder.until(lambda: recorder.problems == [])
            assert api.count("list", "Service") == 1

    async def test_an_outage_keeps_what_was_known(self, api: ApiServer) -> None:
        api.put(*EVERYTHING)
        async with running(source(api)) as recorder:
            before: World = recorder.world
            await api.until_watched("Namespace", "Service", "Deployment", "EndpointSlice", "Pod")
            api.down = True
            api.cut()
            await recorder.until(lambda: len(recorder.problems) == 5)
            assert recorder.reasons == {"ApiUnavailable"}
            assert recorder.world.namespaces == before.namespaces
            api.down = False
            api.put(service("after"))
            await recorder.until(lambda: "after" in services(recorder) and recorder.problems == [])
            assert recorder.deletions == []
            assert api.count("list", "Service") == 1

    async def test_a_server_that_is_down_at_the_start_is_waited_for(self, api: ApiServer) -> None:
        api.put(*EVERYTHING)
        api.down = True
        async with started(source(api)) as recorder:
            await recorder.until(lambda: recorder.reasons == {"ApiUnavailable"})
            assert recorder.syncs == 0
            api.down = False
            await recorder.until(lambda: recorder.syncs == 1)
            assert services(recorder) == {"web"}

    async def test_one_failing_kind_does_not_hold_up_another(self, api: ApiServer) -> None:
        api.refuse["list", "Namespace"] = 500
        async with started(source(api)) as recorder:
            await api.until_watched("Service")
            api.put(service("web"))
            await recorder.until(lambda: services(recorder) == {"web"})

    async def test_expired_credentials_are_loaded_anew(self, api: ApiServer) -> None:
        api.credential = "first"
        async with running(source(api)) as recorder:
            await api.until_watched("Service", "Namespace")
            api.credential = "second"
            api.end("Service")
            await api.until_asked("watch", "Service", 3)
            await api.until_watched("Service", "Namespace")
            api.put(service("web"), namespace("staging"))
            await recorder.until(lambda: services(recorder) == {"web"})
            # The watch that the old session still serves was not broken off.
            await recorder.until(lambda: recorder.names(Kind.NAMESPACE) == {"staging"})
            assert api.count("watch", "Namespace") == 1
            assert not any(isinstance(change, Report) for change in recorder.changes)
            assert len(api.clients) == 2

    async def test_refused_credentials_are_not_loaded_in_a_loop(self, api: ApiServer) -> None:
        for kind in ("Namespace", "Service", "Deployment", "EndpointSlice"):
            api.refuse["list", kind] = 401
        timing = Timing(backoff_base=0.005, backoff_cap=0.02, renew_after=3600.0)
        async with started(source(api, timing=timing)) as recorder:
            await api.until_asked("list", "Service", 5)
            await recorder.until(lambda: recorder.reasons == {"Unauthorized"})
            assert len(api.clients) == 1


class TestBadObjects:
    async def test_a_bad_object_in_a_list_costs_no_other(self, api: ApiServer) -> None:
        api.put(service("a"), service("bad", port="x"), service("c"))
        async with running(source(api)) as recorder:
            assert services(recorder) == {"a", "c"}
            (problem,) = recorder.problems
            assert (problem.subject, problem.reason) == ("Service staging/bad", "DecodeFailed")
            await api.until_watched("Service")
            api.put(service("bad"))
            await recorder.until(lambda: services(recorder) == {"a", "bad", "c"})
            assert recorder.problems == []

    @pytest.mark.parametrize("gone", ["deleted", "unmatched by a list"])
    async def test_a_bad_change_keeps_the_last_good_version(self, api: ApiServer, gone: str) -> None:
        api.put(service("web", labels={"v": "1"}))
        async with running(source(api)) as recorder:
            await api.until_watched("Service")
            api.put(service("web", port="x", labels={"v": "2"}))
            await recorder.until(lambda: recorder.reasons == {"DecodeFailed"})
            assert recorder.labels(Kind.SERVICE, "web") == {"v": "1"}
            api.say("Service", error_event(410))
            await api.until_asked("watch", "Service", 2)
            assert recorder.labels(Kind.SERVICE, "web") == {"v": "1"}
            assert recorder.reasons == {"DecodeFailed"}
            if gone == "deleted":
                await api.until_watched("Service")
                api.delete(service("web"))
            else:
                api.refuse["watch", "Service"] = 410
                api.cut()
                api.delete(service("web"))
            await recorder.until(lambda: services(recorder) == set() and recorder.problems == [])


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
            api.refuse["watch", "Pod"] = 403
            api.end("Pod")
            await recorder.until(lambda: recorder.reasons == {"Forbidden"})
            assert recorder.problems[0].origin == "kube/Pod/staging/app=web-canary"
            api.put(deployment("web-canary"))
            await recorder.until(lambda: recorder.problems == [])
            api.put(service("witness"))
            await recorder.until(lambda: services(recorder) == {"witness"})
            assert [task for task in asyncio.all_tasks() if "kube/Pod" in task.get_name()] == []

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
        api.refuse["list", "Pod"] = 503
        async with started(source(api)) as recorder:
            await api.until_watched("Namespace", "Service", "Deployment", "EndpointSlice")
            await api.until_asked("list", "Pod", 3)
            assert recorder.syncs == 0
            del api.refuse["list", "Pod"]
            await recorder.until(lambda: recorder.syncs == 1)
            assert recorder.world_at_sync is not None
            assert set(recorder.world_at_sync.view("staging").pods) == {"canary-1"}

    async def test_a_canary_unmarked_before_its_pods_were_listed_does_not_block_the_sync(
        self, api: ApiServer
    ) -> None:
        api.put(canary("web-canary"))
        api.refuse["list", "Pod"] = 403
        async with started(source(api)) as recorder:
            await api.until_watched("Namespace", "Service", "Deployment", "EndpointSlice")
            await api.until_asked("list", "Pod", 2)
            api.put(deployment("web-canary"))
            await recorder.until(lambda: recorder.syncs == 1)


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
        api.refuse["list", "Namespace"] = 403
        async with running(source(api, ["staging"])) as recorder:
            assert services(recorder) == {"web"}
            assert [problem.origin for problem in recorder.problems] == ["kube/Namespace/staging"]
            del api.refuse["list", "Namespace"]
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
        api.refuse["list", "Service"] = 403
        with pytest.raises(SourceError, match="No permission to list services in all namespaces"):
            await read_once_kube(api.connect)
        api.down = True
        with pytest.raises(SourceError, match="cannot be reached"):
            await read_once_kube(api.connect)

    async def test_it_can_do_without_the_namespace_too(self, api: ApiServer) -> None:
        api.put(*EVERYTHING)
        api.refuse["list", "Namespace"] = 403
        world, _ = World().apply(await read_once_kube(api.connect, ["staging"]))
        assert set(world.view("staging").services) == {"web"}
        assert [p.reason for problems in world.reports.values() for p in problems] == ["Forbidden"]
