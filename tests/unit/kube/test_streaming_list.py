"""Lists that come as a stream and turn into the watch, and what is done where there are none."""

import pytest

from tests.support.recorder import Recorder, running, started
from tests.unit.kube.api_server import ALWAYS, FAST, ApiServer, error_event, event, source
from tests.unit.kube.manifests import EVERYTHING, service
from xds_server.core.objects import Kind
from xds_server.kube.source import Timing


def services(recorder: Recorder) -> set[str]:
    return recorder.names(Kind.SERVICE)


@pytest.fixture
def streaming(api: ApiServer) -> ApiServer:
    api.streams = True
    return api


async def test_one_request_lists_and_watches(streaming: ApiServer) -> None:
    api = streaming
    api.put(*EVERYTHING)
    async with running(source(api)) as recorder:
        assert services(recorder) == {"web"}
        assert recorder.names(Kind.POD) == {"canary-1"}
        await api.until_watched("Service")
        api.put(service("later"))
        await recorder.until(lambda: services(recorder) == {"web", "later"})
        assert {request.verb for request in api.requests} == {"stream"}
        (asked,) = [request.parameters for request in api.requests if request.kind == "Service"]
        assert asked["resourceVersionMatch"] == "NotOlderThan"
        assert asked["allowWatchBookmarks"] == "true"
        assert "resourceVersion" not in asked


async def test_what_ends_goes_on_at_the_last_version(streaming: ApiServer) -> None:
    api = streaming
    api.put(service("web"))
    async with running(source(api)) as recorder:
        await api.until_watched("Service")
        api.cut()
        api.put(service("later"))
        await recorder.until(lambda: services(recorder) == {"web", "later"})
        assert (api.count("stream", "Service"), api.count("list", "Service")) == (1, 0)
        assert recorder.problems == []


async def test_a_lost_place_is_found_by_another_stream(streaming: ApiServer) -> None:
    api = streaming
    api.put(service("web"), service("gone"))
    async with running(source(api)) as recorder:
        await api.until_watched("Service")
        api.cut()
        api.delete(service("gone"))
        api.forgotten = api.version
        api.put(service("later"))
        await recorder.until(lambda: services(recorder) == {"web", "later"})
        assert api.count("list", "Service") == 0
        assert api.count("stream", "Service") <= 2


async def test_a_stream_cut_in_its_first_part_is_read_in_pages(streaming: ApiServer) -> None:
    api = streaming
    api.put(service("web"))
    api.cut_after["Service"] = 40
    async with running(source(api)) as recorder:
        assert services(recorder) == {"web"}
        assert (api.count("stream", "Service"), api.count("list", "Service")) == (1, 1)


async def test_a_server_that_takes_it_for_a_watch_is_read_in_pages(streaming: ApiServer) -> None:
    api = streaming
    api.put(service("web"))
    api.completes = False
    timing = Timing(backoff_base=0.005, backoff_cap=0.02, read=0.1)
    async with running(source(api, timing=timing)) as recorder:
        assert services(recorder) == {"web"}
        await api.until_watched("Service", verb="watch")
        api.say("Service", error_event(410))
        await api.until_asked("list", "Service", 2)
        assert api.count("stream", "Service") == 1


@pytest.mark.parametrize("status", [400, 422])
async def test_a_server_without_streams_is_asked_for_one_once(api: ApiServer, status: int) -> None:
    api.reject["stream", "Service"] = status
    async with running(source(api)) as recorder:
        await api.until_watched("Service")
        api.say("Service", error_event(410))
        await api.until_asked("list", "Service", 2)
        assert api.count("stream", "Service") == 1
        assert recorder.problems == []


async def test_a_forbidden_stream_is_reported_and_not_replaced_by_pages(streaming: ApiServer) -> None:
    api = streaming
    api.reject["stream", "Service"] = 403
    async with started(source(api)) as recorder:
        await recorder.until(lambda: recorder.reasons == {"Forbidden"})
        await api.until_asked("stream", "Service", 3)
        assert api.count("list", "Service") == 0


async def test_changes_during_the_first_part_count(streaming: ApiServer) -> None:
    api = streaming
    api.put(service("kept"), service("gone"), service("bad", port="x"))
    api.completes = False
    async with started(source(api, timing=FAST)) as recorder:
        await api.until_watched("Service")
        api.delete(service("gone"))
        api.put(service("added"))
        end = {"resourceVersion": str(api.version), "annotations": {"k8s.io/initial-events-end": "true"}}
        for kind in ALWAYS:
            await api.until_watched(kind)
            api.bookmark(kind)
            api.say(kind, event("BOOKMARK", {"kind": kind, "metadata": end}))
        await recorder.until(lambda: recorder.syncs == 1)
        assert services(recorder) == {"kept", "added"}
        assert recorder.reasons == {"DecodeFailed"}


async def test_an_error_in_the_first_part_starts_over(streaming: ApiServer) -> None:
    api = streaming
    api.put(service("web"))
    api.completes = False
    async with started(source(api)) as recorder:
        for kind in ALWAYS:
            await api.until_watched(kind)
        api.completes = True
        for kind in ALWAYS:
            api.say(kind, error_event(500))
        await recorder.until(lambda: recorder.syncs == 1)
        assert services(recorder) == {"web"}
