"""Events on a Kubernetes API: the leader writes each of them once, and the pipeline never waits for it."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock
from urllib.parse import urlsplit

import pytest
from aiohttp import web
from kubernetes.aio.client import ApiClient, Configuration
from structlog.testing import capture_logs

from tests.kube.cluster import Cluster, deployment
from tests.support.embedded import Embedded, embedded
from tests.support.installation import kubectl
from tests.support.waiting import PATIENCE_S, eventually
from xds_server.base.clock import SYSTEM, Clock
from xds_server.base.errors import SourceError
from xds_server.core.conditions import Condition, Reason, Subject
from xds_server.core.objects import Kind
from xds_server.kube import event_rate as pacing
from xds_server.kube.client import KubeClient
from xds_server.kube.event_recorder import EventRecorder
from xds_server.kube.lease import Terms

TERMS = Terms(lease=1, renew=0.6, retry=0.1, slow=0.05)
PATIENT = replace(TERMS, slow=30.0)
CANARY = Subject(Kind.DEPLOYMENT, "staging", "canary", "u-1")
CANARY_2 = Subject(Kind.DEPLOYMENT, "staging", "canary-2", "u-2")


def note(reason: Reason = Reason.SHADOW_ACTIVE, message: str = "All is mirrored.") -> Condition:
    return Condition(CANARY, reason, message)


class Reports:
    """Remembers what was reported."""

    def __init__(self) -> None:
        self.now: tuple[Condition, ...] = ()
        self.all: list[tuple[Condition, ...]] = []

    def __call__(self, problems: tuple[Condition, ...], /) -> None:
        self.now = problems
        self.all.append(problems)


def recorder(
    connect: Any,
    identity: str = "one",
    report: Reports | None = None,
    *,
    terms: Terms = TERMS,
    clock: Clock = SYSTEM,
) -> EventRecorder:
    return EventRecorder(
        connect, identity=identity, namespace="system", terms=terms, clock=clock, report=report or Reports()
    )


class Gate:
    """Forwards connections to an API server, and breaks them while it is closed."""

    def __init__(self, api: Embedded) -> None:
        self._api = api
        self._open = True
        self._writers: set[asyncio.StreamWriter] = set()
        self.url = ""

    async def connect(self) -> ApiClient:
        configuration = Configuration(host=self.url)
        configuration.client_session_kwargs = {"trust_env": False}
        return ApiClient(configuration)

    def close(self) -> None:
        self._open = False
        for writer in self._writers:
            writer.transport.abort()

    def reopen(self) -> None:
        self._open = True

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._open:
            writer.transport.abort()
            return
        server = urlsplit(self._api.url)
        upstream = await asyncio.open_connection(server.hostname, server.port)
        pair = {writer, upstream[1]}
        self._writers |= pair
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_forward(reader, upstream[1]))
                group.create_task(_forward(upstream[0], writer))
        except* ConnectionError:
            pass
        finally:
            self._writers -= pair
            for each in pair:
                each.transport.abort()


async def _forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
    raise ConnectionResetError


@pytest.fixture
async def gate(api: Embedded) -> AsyncIterator[Gate]:
    it = Gate(api)
    server = await asyncio.start_server(it.handle, "127.0.0.1", 0)
    it.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield it
    it.close()
    server.close()
    await server.wait_closed()


@asynccontextmanager
async def running(it: EventRecorder) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(it.run())
    try:
        yield task
    finally:
        task.cancel()
        ended, _ = await asyncio.wait([task], timeout=PATIENCE_S)
        assert ended, [each.get_stack() for each in asyncio.all_tasks()]


@pytest.fixture
async def api() -> AsyncIterator[Embedded]:
    """An API with the namespaces of an installation and of a user."""
    async with embedded() as it:
        client = await KubeClient.open(it.connect)
        server = Cluster(it.connect, "staging", client)
        for name in ("system", "staging"):
            await server.create_namespace(name)
        yield it
        await client.close()


def written(api: Embedded) -> Counter[str]:
    return Counter({event["reason"]: event["count"] for event in api.documents("events")})


def holder(api: Embedded) -> str:
    found = [lease["spec"]["holderIdentity"] for lease in api.documents("leases")]
    return str(found[0]) if found else ""


async def leading(it: EventRecorder) -> None:
    await eventually(lambda: it.leads, what="the lead")


async def test_what_is_put_is_written(api: Embedded) -> None:
    it = recorder(api.connect)
    async with running(it):
        await leading(it)
        it.put([note()])
        await eventually(lambda: it.outcomes()["written"])
        assert written(api) == {"ShadowActive": 1}
        assert it.outcomes() == {"written": 1, "repeated": 0, "known": 0, "failed": 0, "dropped": 0}
    assert holder(api) == ""


async def test_what_was_put_before_there_was_a_leader_is_written(api: Embedded) -> None:
    it = recorder(api.connect)
    it.put([note()])
    async with running(it):
        await eventually(lambda: written(api) == {"ShadowActive": 1})


async def test_a_state_that_comes_back_is_counted_up(api: Embedded) -> None:
    it = recorder(api.connect)
    async with running(it):
        await leading(it)
        for count in (1, 2, 3):
            it.put([note()])
            await eventually(lambda count=count: written(api) == {"ShadowActive": count})  # type: ignore[misc]
        assert it.outcomes()["repeated"] == 2


async def test_an_event_of_another_replica_is_counted_up_too(api: Embedded) -> None:
    first, second = recorder(api.connect, "one"), recorder(api.connect, "two")
    async with running(first):
        await leading(first)
        first.put([note()])
        await eventually(lambda: written(api) == {"ShadowActive": 1})
    async with running(second):
        await leading(second)
        second.put([note()])
        await eventually(lambda: written(api) == {"ShadowActive": 2})


async def test_of_two_one_writes(api: Embedded) -> None:
    one, two = recorder(api.connect, "one"), recorder(api.connect, "two")
    async with running(one), running(two):
        await eventually(lambda: one.leads or two.leads)
        for each in (one, two):
            each.put([note()])
        await eventually(lambda: written(api) == {"ShadowActive": 1})
        leader, other = (one, two) if one.leads else (two, one)
        assert leader.outcomes()["written"] == 1
        assert sum(other.outcomes().values()) == 0


async def test_when_the_leader_dies_the_other_takes_over_and_writes_nothing_twice(
    api: Embedded, gate: Gate
) -> None:
    one, two = recorder(gate.connect, "one"), recorder(api.connect, "two")
    dying = asyncio.create_task(one.run())
    await leading(one)
    async with running(two):
        for each in (one, two):
            each.put([note(Reason.SHADOW_PENDING)])
        await eventually(lambda: written(api) == {"ShadowPending": 1})
        gate.close()  # a replica that dies does not give up the Lease
        dying.cancel()
        await asyncio.wait([dying])
        assert holder(api) == "one"
        two.put([Condition(CANARY_2, Reason.SHADOW_ACTIVE, "While nobody leads.")])
        await leading(two)
        await eventually(lambda: written(api) == {"ShadowPending": 1, "ShadowActive": 1})
        assert two.outcomes()["known"] == 1
        two.put([note(Reason.SHADOW_STOPPED)])
        await eventually(lambda: written(api)["ShadowStopped"] == 1)


async def test_who_leaves_in_order_is_replaced_at_once(api: Embedded) -> None:
    one, two = recorder(api.connect, "one"), recorder(api.connect, "two")
    async with running(one):
        await leading(one)
    assert holder(api) == ""
    async with running(two):
        await leading(two)
        assert holder(api) == "two"


async def test_an_event_that_expired_is_written_anew(api: Embedded) -> None:
    it = recorder(api.connect)
    client = await KubeClient.open(api.connect)
    server = Cluster(api.connect, "staging", client)
    async with running(it):
        await leading(it)
        it.put([note()])
        await eventually(lambda: written(api) == {"ShadowActive": 1})
        (event,) = api.documents("events")
        await server._send("DELETE", f"/api/v1/namespaces/staging/events/{event['metadata']['name']}", {})
        it.put([note()])
        await eventually(lambda: written(api) == {"ShadowActive": 1})
        assert it.outcomes()["written"] == 2
    await client.close()


async def test_a_namespace_that_is_gone_costs_its_note_alone(api: Embedded) -> None:
    it = recorder(api.connect)
    async with running(it):
        await leading(it)
        it.put(
            [Condition(Subject(Kind.DEPLOYMENT, "gone", "canary"), Reason.SHADOW_STOPPED, "Gone."), note()]
        )
        await eventually(lambda: written(api) == {"ShadowActive": 1})
        assert it.outcomes()["failed"] == 1


async def test_kubectl_describe_shows_the_events(api: Embedded, tmp_path: Path) -> None:
    client = await KubeClient.open(api.connect)
    await Cluster(api.connect, "staging", client).create("deployments", deployment("canary"))
    await client.close()
    (canary,) = api.documents("deployments")
    it = recorder(api.connect)
    async with running(it):
        await leading(it)
        subject = Subject(Kind.DEPLOYMENT, "staging", "canary", canary["metadata"]["uid"])
        it.put([Condition(subject, Reason.SHADOW_REJECTED, "ServiceNotFound: there is none.")])
        await eventually(lambda: written(api) == {"ShadowRejected": 1})
        command = [kubectl(), "-n", "staging", "describe", "deployment", "canary"]
        described = await _output(command, api.write_kubeconfig(tmp_path / "kubeconfig"), tmp_path)
    assert "Warning  ShadowRejected" in described
    assert "ServiceNotFound: there is none." in described


async def _output(command: Sequence[str], kubeconfig: Path, home: Path) -> str:
    environment = {"KUBECONFIG": str(kubeconfig), "HOME": str(home)}
    process = await asyncio.create_subprocess_exec(
        *command, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await asyncio.wait_for(process.communicate(), PATIENCE_S)
    assert process.returncode == 0, output.decode()
    return output.decode()


async def test_a_start_counts_up_no_event_that_was_written_before(api: Embedded) -> None:
    for identity in ("one", "one again"):
        it = recorder(api.connect, identity)
        async with running(it):
            await leading(it)
            it.put([note()], initial=True)
            await eventually(lambda it=it: sum(it.outcomes().values()))  # type: ignore[misc]
    assert it.outcomes()["known"] == 1
    assert written(api) == {"ShadowActive": 1}


async def test_what_waits_when_the_lead_is_lost_is_written_when_it_is_back(api: Embedded, gate: Gate) -> None:
    it = recorder(gate.connect)
    with capture_logs() as logs:
        async with running(it):
            await leading(it)
            gate.close()
            it.put([note(Reason.SHADOW_PAUSED)])
            await eventually(
                lambda: any(line["event"] == "stopped leading" for line in logs), what="the loss noticed"
            )
            assert written(api) == {}
            gate.reopen()
            await eventually(lambda: written(api) == {"ShadowPaused": 1})


async def test_a_leader_stops_when_its_clock_passes_the_term(api: Embedded) -> None:
    skipped = 0.0
    it = recorder(api.connect, clock=Clock(lambda: time.monotonic() + skipped, time.time))
    async with running(it):
        await leading(it)
        skipped += TERMS.renew
        assert not it.leads
        await leading(it)


async def test_an_event_has_the_time_of_the_clock(api: Embedded) -> None:
    wall = 1_790_000_000.0
    it = recorder(api.connect, clock=Clock(time.monotonic, lambda: wall))
    async with running(it):
        await leading(it)
        it.put([note()])
        await eventually(lambda: written(api) == {"ShadowActive": 1})
        wall += 60
        it.put([note()])
        await eventually(lambda: written(api) == {"ShadowActive": 2})
    (found,) = api.documents("events")
    assert (found["firstTimestamp"], found["lastTimestamp"]) == (
        "2026-09-21T14:13:20Z",
        "2026-09-21T14:14:20Z",
    )


async def test_a_replica_that_does_not_lead_drops_what_the_leader_had_time_to_write(api: Embedded) -> None:
    one, two = recorder(api.connect, "one"), recorder(api.connect, "two", terms=replace(TERMS, kept=0.0))
    async with running(one):
        await leading(one)
        two.put([note()])
        async with running(two):
            await eventually(lambda: two.waiting == 0)
    assert written(api) == {}


async def test_what_no_leader_was_there_to_write_is_kept(api: Embedded) -> None:
    it = recorder(api.connect, terms=replace(TERMS, kept=0.0))
    it.put([note()])
    async with running(it):
        await eventually(lambda: written(api) == {"ShadowActive": 1})


async def test_a_namespace_for_the_lease_that_is_not_there_is_reported(api: Embedded) -> None:
    reports = Reports()
    it = EventRecorder(api.connect, identity="one", namespace="nowhere", terms=TERMS, report=reports)
    async with running(it):
        await eventually(lambda: bool(reports.now))
        (problem,) = reports.now
        assert (problem.reason, it.leads) == ("ApiUnavailable", False)
        assert "create leases in namespace nowhere" in problem.message
        assert 'namespaces "nowhere" not found' in problem.message


async def test_a_session_that_cannot_be_opened_is_reported_until_it_can(
    api: Embedded,
) -> None:
    connect = AsyncMock(side_effect=[SourceError("There is no kubeconfig"), await api.connect()])
    reports = Reports()
    it = recorder(connect, report=reports)
    async with running(it):
        await leading(it)
    assert [[problem.message for problem in each] for each in reports.all] == [["There is no kubeconfig"], []]


class Script:
    """A server that answers as told; with `status` None it never answers. It takes every bid, and rejects
    Events in the namespaces of `rejecting`."""

    def __init__(self) -> None:
        self.status: int | None = 403
        self.retry_after = ""
        self.asked: Counter[str] = Counter()
        self.url = ""
        self.rejecting: dict[str, tuple[int, str]] = {}
        self.events: Counter[str] = Counter()
        self.patches: list[int] = []

    async def connect(self) -> ApiClient:
        configuration = Configuration(host=self.url)
        configuration.client_session_kwargs = {"trust_env": False}
        return ApiClient(configuration)

    async def handle(self, request: web.Request) -> web.Response:
        self.asked[request.method] += 1
        if self.status is None:
            await asyncio.Event().wait()
        if request.method == "PATCH":
            return web.json_response({"count": 1}, status=self.patches.pop(0))
        if request.path.endswith("/events"):
            return self._event(request.path.split("/")[-2])
        headers = {"Retry-After": self.retry_after} if self.retry_after else {}
        text = {"kind": "Status", "message": "as the test says"}
        return web.json_response(text, status=self.status or 500, headers=headers)

    def _event(self, namespace: str) -> web.Response:
        self.events[namespace] += 1
        status, message = self.rejecting.get(namespace, (201, ""))
        return web.json_response({"kind": "Status", "message": message}, status=status)


@pytest.fixture
async def script() -> AsyncIterator[Script]:
    it = Script()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", it.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    it.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield it
    await runner.cleanup()


async def test_a_missing_permission_is_reported_once_with_what_to_grant(script: Script) -> None:
    reports = Reports()
    it = recorder(script.connect, report=reports)
    async with running(it):
        await eventually(lambda: script.asked["GET"] >= 3)
        (problem,) = reports.now
        assert problem.reason == "Forbidden"
        assert (
            'grant get on "leases" of API group "coordination.k8s.io" in namespace system' in problem.message
        )
        assert "as the test says" in problem.message
        assert len(reports.all) == 1


async def test_what_was_reported_is_withdrawn(script: Script) -> None:
    reports = Reports()
    it = recorder(script.connect, report=reports)
    async with running(it):
        await eventually(lambda: bool(reports.now))
        script.status = 500
        await eventually(lambda: [problem.reason for problem in reports.now] == ["ApiUnavailable"])
        script.status = 200  # an empty Lease, and every bid is taken
        await eventually(lambda: reports.now == ())
        await leading(it)


async def test_what_a_leader_could_not_write_in_time_is_not_lost(api: Embedded, gate: Gate) -> None:
    it = recorder(gate.connect)
    async with running(it):
        await leading(it)
        gate.close()
        it.put([note()])
        await eventually(lambda: not it.leads, what="the lead lost")
        assert written(api) == {}
        gate.reopen()
        await eventually(lambda: written(api) == {"ShadowActive": 1})


async def test_a_server_that_does_not_answer_does_not_block_the_caller(script: Script) -> None:
    script.status = None
    it = recorder(script.connect)
    async with running(it):
        await eventually(lambda: script.asked["GET"] > 0)
        it.put([note(message=str(number)) for number in range(20_000)])
        assert it.waiting == 1
        it.put(
            [
                Condition(Subject(Kind.DEPLOYMENT, "staging", str(number)), Reason.SHADOW_ACTIVE, "")
                for number in range(20_000)
            ]
        )
        assert it.waiting == pacing.MAX_WAITING


async def test_a_server_that_asks_for_patience_gets_it(script: Script) -> None:
    script.status, script.retry_after = 429, "3600"
    reports = Reports()
    it = recorder(script.connect, report=reports)
    async with running(it):
        await eventually(lambda: bool(reports.now))
        assert script.asked == {"GET": 1}


async def test_credentials_that_are_not_accepted_are_not_a_missing_permission(script: Script) -> None:
    script.status = 401
    reports = Reports()
    async with running(recorder(script.connect, report=reports)):
        await eventually(lambda: bool(reports.now))
        (problem,) = reports.now
        assert problem.reason == "Unauthorized"
        assert "grant" not in problem.message


async def test_a_namespace_that_rejects_events_delays_no_other(script: Script) -> None:
    script.status = 200
    script.rejecting["poor"] = (403, "exceeded quota: count/events")
    reports = Reports()
    it = recorder(script.connect, report=reports, terms=PATIENT)
    async with running(it):
        await leading(it)
        it.put(
            [
                Condition(Subject(Kind.DEPLOYMENT, "poor", f"canary-{n}"), Reason.SHADOW_ACTIVE, "")
                for n in range(20)
            ]
        )
        it.put([note()])
        await eventually(lambda: it.outcomes()["written"] == 1)
        assert script.events == {"poor": 1, "staging": 1}
        (problem,) = reports.now
        assert "create events in namespace poor" in problem.message
        assert "exceeded quota" in problem.message


async def test_a_rejection_is_withdrawn_when_events_are_accepted(script: Script) -> None:
    script.status = 200
    script.rejecting["staging"] = (403, "no")
    reports = Reports()
    it = recorder(script.connect, report=reports)
    async with running(it):
        await leading(it)
        it.put([note()])
        await eventually(lambda: bool(reports.now))
        script.rejecting.clear()
        await eventually(lambda: it.outcomes()["written"] == 1 and reports.now == ())


async def test_who_does_not_lead_any_more_says_nothing_of_events(script: Script) -> None:
    script.status = 200
    script.rejecting["staging"] = (403, "no")
    reports = Reports()
    it = recorder(script.connect, report=reports)
    async with running(it):
        await leading(it)
        it.put([note()])
        await eventually(lambda: bool(reports.now))
        script.status = None
        await eventually(lambda: reports.now == ())


async def test_a_namespace_that_is_being_deleted_costs_its_note_alone(script: Script) -> None:
    script.status = 200
    script.rejecting["staging"] = (403, "because it is being terminated")
    reports = Reports()
    it = recorder(script.connect, report=reports)
    async with running(it):
        await leading(it)
        it.put([note()])
        await eventually(lambda: it.outcomes()["failed"] == 1)
        assert it.waiting == 0
        assert reports.all == []


async def test_many_namespaces_that_reject_events_are_not_all_listed(script: Script) -> None:
    names = "abcdefghijkl"
    script.status = 200
    script.rejecting = dict.fromkeys(names, (403, "no"))
    reports = Reports()
    it = recorder(script.connect, report=reports, terms=PATIENT)
    async with running(it):
        await leading(it)
        it.put(
            [Condition(Subject(Kind.DEPLOYMENT, name, "canary"), Reason.SHADOW_ACTIVE, "") for name in names]
        )
        await eventually(lambda: set(script.events) == set(names))
        await eventually(lambda: len(reports.all) == 10)
        assert len(reports.now) == 10


async def test_an_event_that_expires_before_it_is_counted_up_is_written_again(script: Script) -> None:
    script.status = 200
    script.rejecting["staging"] = (409, "it exists")
    script.patches = [404, 200, 500, 200, 200]
    it = recorder(script.connect)
    async with running(it):
        await leading(it)
        it.put([note()])
        await eventually(lambda: it.outcomes()["repeated"] == 1)
        assert script.patches == []
    assert it.outcomes()["failed"] == 0
