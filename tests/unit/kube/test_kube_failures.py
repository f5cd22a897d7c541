"""What fails is reported, tried again and withdrawn, and takes nothing away."""

import asyncio
from pathlib import Path

import pytest
from kubernetes.aio.client import ApiClient
from structlog.testing import capture_logs

from tests.support.recorder import Recorder, running, started
from tests.unit.kube.api_server import ALWAYS, ApiServer, error_event, key_of, source
from tests.unit.kube.manifests import (
    EVERYTHING,
    Doc,
    canary,
    endpoint_slice,
    namespace,
    pod,
    secret,
    service,
)
from xds_server.base.errors import SourceError
from xds_server.core.objects import Kind
from xds_server.core.world import Report, World
from xds_server.kube.session import Sessions
from xds_server.kube.source import Timing


def services(recorder: Recorder) -> set[str]:
    return recorder.names(Kind.SERVICE)


REASONS = {
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    429: "ApiUnavailable",
    500: "ApiUnavailable",
}


class TestFailures:
    @pytest.mark.parametrize(("status", "reason"), REASONS.items())
    async def test_a_rejected_list_is_reported_retried_and_cleared(
        self, api: ApiServer, status: int, reason: str
    ) -> None:
        api.put(*EVERYTHING)
        api.reject["list", "Service"] = status
        async with started(source(api)) as recorder:
            await recorder.until(lambda: recorder.reasons == {reason})
            (problem,) = recorder.problems
            assert problem.origin == "kube/Service"
            assert "list services in all namespaces" in problem.message or status == 404
            await recorder.until(lambda: recorder.names(Kind.POD) == {"canary-1"})
            assert recorder.syncs == 0
            del api.reject["list", "Service"]
            await recorder.until(lambda: recorder.syncs == 1)
            assert services(recorder) == {"web"}
            assert recorder.problems == []

    async def test_a_forbidden_request_says_what_to_grant(self, api: ApiServer) -> None:
        api.reject["list", "EndpointSlice"] = 403
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
        api.reject["watch", "Service"] = 403
        async with running(source(api)) as recorder:
            await recorder.until(lambda: recorder.reasons == {"Forbidden"})
            assert "watch services" in recorder.problems[0].message
            del api.reject["watch", "Service"]
            await recorder.until(lambda: recorder.problems == [])
            assert api.count("list", "Service") == 1

    async def test_an_outage_keeps_what_was_known(self, api: ApiServer) -> None:
        api.put(*EVERYTHING)
        async with running(source(api)) as recorder:
            before: World = recorder.world
            await api.until_watched(*ALWAYS, "Pod")
            api.down = True
            api.cut()
            await recorder.until(lambda: len(recorder.problems) == len(ALWAYS) + 1)
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
        api.reject["list", "Namespace"] = 500
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

    async def test_rejected_credentials_are_not_loaded_in_a_loop(self, api: ApiServer) -> None:
        for kind in ALWAYS:
            api.reject["list", kind] = 401
        timing = Timing(backoff_base=0.005, backoff_cap=0.02, renew_after=3600.0)
        async with started(source(api, timing=timing)) as recorder:
            await api.until_asked("list", "Service", 5)
            await recorder.until(lambda: recorder.reasons == {"Unauthorized"})
            assert len(api.clients) == 1

    async def test_credentials_that_cannot_be_loaded_are_not_loaded_for_every_request(
        self, api: ApiServer
    ) -> None:
        attempts = []

        async def connect() -> ApiClient:
            attempts.append(1)
            if len(attempts) > 1:
                raise SourceError("the exec plugin failed")
            return await api.connect()

        now = 0.0
        sessions = await Sessions.open(connect, renew_after=60.0, clock=lambda: now)
        opened = sessions.current
        now = 61.0
        assert await asyncio.gather(*(sessions.renew(opened) for _ in range(20))) == [False] * 20
        assert len(attempts) == 2
        await sessions.close()

    async def test_the_same_credentials_are_not_new_ones(self, api: ApiServer) -> None:
        api.credential = "first"
        sessions = await Sessions.open(api.connect, renew_after=0.0)
        opened = sessions.current
        with capture_logs() as logs:
            assert await sessions.renew(opened) is False
        assert sessions.current is opened
        assert logs == []
        assert api.open_sessions == 0
        await sessions.close()

    async def test_renewing_is_logged_at_most_once_a_minute(self, api: ApiServer) -> None:
        """A plugin may give a new token each time, and none of them be accepted."""
        now = 0.0
        sessions = await Sessions.open(api.connect, renew_after=0.0, clock=lambda: now)
        with capture_logs() as logs:
            for number in range(120):
                now, api.credential = float(number), f"token {number}"
                assert await sessions.renew(sessions.current) is True
        assert [each["event"] for each in logs] == ["credentials renewed"] * 2
        assert "token" not in str(logs)
        await sessions.close()

    async def test_a_certificate_that_was_replaced_is_a_new_credential(
        self, api: ApiServer, tmp_path: Path
    ) -> None:
        certificate = tmp_path / "tls.crt"
        certificate.write_text("first")

        async def connect() -> ApiClient:
            client = await api.connect()
            client.configuration.cert_file = str(certificate)
            return client

        sessions = await Sessions.open(connect, renew_after=0.0)
        assert await sessions.renew(sessions.current) is False
        certificate.write_text("second")
        assert await sessions.renew(sessions.current) is True
        certificate.unlink()
        assert await sessions.renew(sessions.current) is True
        await sessions.close()


class TestBadObjects:
    async def test_a_bad_object_in_a_list_costs_no_other(self, api: ApiServer) -> None:
        api.put(service("a"), service("bad", port="x"), service("c"))
        async with running(source(api)) as recorder:
            assert services(recorder) == {"a", "c"}
            (problem,) = recorder.problems
            assert (str(problem.subject), problem.reason) == ("Service staging/bad", "DecodeFailed")
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
                api.reject["watch", "Service"] = 410
                api.cut()
                api.delete(service("web"))
            await recorder.until(lambda: services(recorder) == set() and recorder.problems == [])

    BAD = (
        namespace("bad", annotations={"xds-shadow.io/percent": 5}),
        service("bad", port="x"),
        canary("bad") | {"spec": {"selector": "all"}},
        endpoint_slice("bad") | {"endpoints": "none"},
        pod("bad", app="good") | {"status": {"podIP": 5}},
        secret("token") | {"data": ["x"]},
    )

    @pytest.mark.parametrize("streams", [False, True], ids=["pages", "streams"])
    @pytest.mark.parametrize("bad", BAD, ids=lambda bad: str(bad["kind"]))
    async def test_of_every_kind_it_costs_only_itself(self, api: ApiServer, streams: bool, bad: Doc) -> None:
        api.streams = streams
        good = canary("good")
        good["metadata"]["annotations"] = {"xds-shadow.io/credential-from-secret": "token/key"}
        neighbours = [
            namespace("staging"),
            service("web"),
            good,
            endpoint_slice("web-1"),
            pod("good-1", app="good"),
            secret("token", key="v"),
        ]
        api.put(*(each for each in neighbours if key_of(each) != key_of(bad)), bad)
        followed = source(api)
        async with running(followed) as recorder:
            assert recorder.reasons == {"DecodeFailed"}
            assert followed.health().outage_s is None
            for each in neighbours:
                kind, name = Kind(each["kind"]), each["metadata"]["name"]
                assert (name in recorder.names(kind)) is (key_of(each) != key_of(bad))
            await api.until_watched("Namespace", "Service", "Deployment", "EndpointSlice", "Pod", "Secret")
            api.put(service("after"))
            await recorder.until(lambda: services(recorder) >= {"after"})
            api.delete(bad)
            await recorder.until(lambda: recorder.problems == [])

    async def test_a_selector_that_the_server_does_not_take_costs_its_canary_alone(
        self, api: ApiServer
    ) -> None:
        api.put(
            namespace("staging"), canary("bad", app="rejected"), canary("good"), pod("good-1", app="good")
        )
        api.rejected_selectors.add("app=rejected")
        followed = source(api)
        async with running(followed) as recorder:
            assert recorder.world_at_sync is not None
            view = recorder.world_at_sync.view("staging")
            assert view.awaited == {"app=rejected"}
            assert set(view.pods) == {"good-1"}
            assert followed.health().outage_s is None
            assert [problem.origin for problem in recorder.problems] == ["kube/Pod/staging/app=rejected"]
            await api.until_watched("Deployment", "Pod")
            api.put(canary("new"), pod("new-1", app="new"))
            await recorder.until(lambda: recorder.names(Kind.POD) == {"good-1", "new-1"})
            api.rejected_selectors.clear()
            await recorder.until(lambda: recorder.problems == [])
            assert recorder.world.view("staging").awaited == set()
