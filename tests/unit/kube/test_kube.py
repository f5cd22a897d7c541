"""List and watch as the API server means them: pages, events, going on, starting over."""

import pytest

from tests.support.recorder import Recorder, running
from tests.unit.kube.api_server import ApiServer, error_event, source
from tests.unit.kube.manifests import EVERYTHING, namespace, service
from xds_server.core.objects import Kind
from xds_server.core.world import Report, Upsert
from xds_server.kube.reflector import Backoff
from xds_server.kube.source import Timing


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
            assert 50 <= int(watch["timeoutSeconds"]) <= 77


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
        # Each delay is drawn from twice the range of the one before, and jitter takes at most half.
        assert all(grown == sorted(grown) for grown in delays.values())
        longest = max(delays.values(), key=len)
        assert longest[3] >= 4 * longest[0] > 0


class TestVersionGone:
    async def test_http_410_leads_to_one_list(self, api: ApiServer) -> None:
        api.put(service("kept"), service("deleted-unseen"))
        async with running(source(api)) as recorder:
            await api.until_watched("Service")
            api.reject["watch", "Service"] = 503
            api.cut()
            await recorder.until(lambda: recorder.reasons == {"ApiUnavailable"})
            api.delete(service("deleted-unseen"))
            api.put(service("created-unseen"))
            api.forgotten = api.version
            del api.reject["watch", "Service"]
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
