"""The composition root, in this process: readiness, the status API, what a broken source costs."""

import asyncio
import base64
import contextlib
import hashlib
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
from envoy.service.status.v3 import csds_pb2, csds_pb2_grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from rich.console import Console, RenderableType
from structlog.testing import capture_logs

from tests.support import objects
from tests.support.waiting import PATIENCE_S, eventually
from tests.unit.test_pipeline import _changes
from tests.wire.rig import Stream, node
from xds_server.base.address import Address
from xds_server.base.errors import SourceError, XdsShadowError
from xds_server.core.objects import Kind, Ref
from xds_server.core.source import Health, Sink, WatchCounts
from xds_server.core.transitions import transitions
from xds_server.core.world import Delete
from xds_server.server import app as app_module
from xds_server.server import csds, reporting
from xds_server.server.app import App
from xds_server.server.config import ServeConfig, SourceConfig
from xds_server.server.display import explanation_view, status_view
from xds_server.server.gateway_file import read_gateway
from xds_server.server.pipeline import Pipeline
from xds_server.server.status_client import get_explanation, get_status
from xds_server.translate.node_metadata import GATEWAY_PORT
from xds_server.translate.readable import readable
from xds_server.xds.stream_events import Variant
from xds_server.xds.types import CLUSTER, ENDPOINT, LISTENER, SHORT_NAMES

ANY_PORT = Address("127.0.0.1", 0)


class ScriptedSource:
    """A source that puts what the test says, when it says it."""

    def __init__(self) -> None:
        self.sink: Sink | None = None
        self.fails: Exception | None = None
        self.outage_s: float | None = None
        self.outages: dict[Kind, float] = {}
        self.watches: dict[Kind, WatchCounts] = {}

    def health(self) -> Health:
        return Health(
            message="as the test says", outage_s=self.outage_s, outages=self.outages, watches=self.watches
        )

    async def run(self, sink: Sink) -> None:
        if self.fails:
            raise self.fails
        self.sink = sink
        await asyncio.Event().wait()

    async def opened(self) -> Sink:
        await eventually(lambda: self.sink)
        assert self.sink is not None
        return self.sink


def _config(
    *,
    xds_address: Address = ANY_PORT,
    http_address: Address = ANY_PORT,
    page: bool = False,
    ready_file: Path | None = None,
    plaintext_credentials: bool = False,
    gateway_file: Path | None = None,
) -> ServeConfig:
    return ServeConfig(
        source=SourceConfig(),
        xds_address=xds_address,
        admin_address=ANY_PORT,
        http_address=http_address,
        page=page,
        ready_file=ready_file,
        plaintext_credentials=plaintext_credentials,
        gateway=read_gateway(gateway_file),
        gateway_file=gateway_file,
        drain_s=0.0,
    )


@contextlib.asynccontextmanager
async def running(source: ScriptedSource, **config: Any) -> AsyncIterator[App]:
    app = App(_config(**config), source=source)
    task = asyncio.create_task(app.run())
    try:
        yield app
    finally:
        app.stop()
        await task


def _text(view: RenderableType) -> str:
    console = Console(width=200)
    with console.capture() as captured:
        console.print(view)
    return captured.get()


async def test_it_is_ready_once_the_source_has_synced(tmp_path: Path) -> None:
    source, ready_file = ScriptedSource(), tmp_path / "ready"
    async with running(source, ready_file=ready_file) as app:
        sink = await source.opened()
        sink.put(_changes(objects.namespace()))
        await eventually(lambda: app.addresses.admin.port)
        async with (
            grpc.aio.insecure_channel(str(app.addresses.admin)) as admin,
            grpc.aio.insecure_channel(str(app.addresses.xds)) as xds,
        ):
            stubs = [health_pb2_grpc.HealthStub(each) for each in (admin, xds)]

            async def health() -> list[int]:
                return [(await stub.Check(health_pb2.HealthCheckRequest())).status for stub in stubs]  # type: ignore[attr-defined]

            assert await health() == [health_pb2.HealthCheckResponse.NOT_SERVING] * 2
            assert not ready_file.exists()
            sink.synced()
            await app.ready.wait()
            assert await health() == [health_pb2.HealthCheckResponse.SERVING] * 2
    assert json.loads(ready_file.read_text()) == {
        "xds_address": str(app.addresses.xds),
        "admin_address": str(app.addresses.admin),
        "http_address": str(app.addresses.http),
    }


async def test_an_empty_source_is_served_too() -> None:
    source = ScriptedSource()
    async with running(source) as app:
        (await source.opened()).synced()
        await asyncio.wait_for(app.ready.wait(), PATIENCE_S)
        status = await asyncio.to_thread(get_status, app.addresses.admin)
    assert set(status.server.versions) == {"LDS", "RDS"}
    assert "No shadows" in _text(status_view(status))
    assert "No Envoy is connected" in _text(status_view(status))


async def test_an_xds_address_is_recognized_as_such() -> None:
    source = ScriptedSource()
    async with running(source) as app:
        (await source.opened()).synced()
        await app.ready.wait()
        with pytest.raises(XdsShadowError, match="does not serve the status API, for example because"):
            await asyncio.to_thread(get_status, app.addresses.xds)


async def test_before_the_first_list_nothing_is_said_about_shadows() -> None:
    source = ScriptedSource()
    async with running(source) as app:
        await source.opened()
        status = await asyncio.to_thread(get_status, app.addresses.admin)
        with pytest.raises(XdsShadowError, match="shadows are not known yet: the first list is not complete"):
            await asyncio.to_thread(get_explanation, app.addresses.admin, "staging", "web-canary")
    shown = _text(status_view(status))
    assert "Shadows are not known yet: the first list is not complete." in shown
    assert "No shadows" not in shown


async def test_a_gateway_file_that_changes_is_served_and_a_bad_one_is_a_problem(
    tmp_path: Path,
) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text("profile: hardened")
    source = ScriptedSource()

    async def status() -> Any:
        return await asyncio.to_thread(get_status, app.addresses.admin)

    async def versions() -> str:
        return str((await status()).server.versions["LDS"])

    async with running(source, gateway_file=file) as app:
        (await source.opened()).synced()
        await app.ready.wait()
        hardened = await versions()
        file.write_text("profile: transparent")
        await eventually(lambda: _differs(versions, hardened), what="another listener")
        transparent = await versions()
        file.write_text("profile: hardened\nnormalize-path: false")

        async def problems() -> list[Any]:
            return list((await status()).conditions)

        await eventually(problems, what="a problem")
        [problem] = await problems()
        file.write_text("profile: hardened")
        await eventually(lambda: _differs(versions, transparent), what="the first listener again")
        assert (await versions(), await problems()) == (hardened, [])
    assert (problem.reason, problem.origin, problem.subject) == ("InvalidGateway", str(file), "")
    assert problem.message == (
        f"--gateway {file}: 'normalize-path' is not a key of a gateway file; did you mean normalize-paths?"
        " The last valid gateway configuration stays in use."
    )


async def _differs(found: Callable[[], Awaitable[str]], known: str) -> bool:
    return await found() != known


async def test_status_and_explain_show_what_was_resolved() -> None:
    source = ScriptedSource()
    async with running(source) as app:
        sink = await source.opened()
        sink.put(
            _changes(
                objects.namespace(),
                objects.service(),
                *objects.endpoint_slice("myapp", [("stable-1", Address("10.0.0.1", 80))]),
                objects.canary(percent="12.5", methods="GET"),
                objects.pod("canary-1", Address("10.0.0.2", 80)),
                objects.service("portless", ports=[]),
            )
        )
        sink.synced()
        await app.ready.wait()
        status = await asyncio.to_thread(get_status, app.addresses.admin)
        explanation = await asyncio.to_thread(get_explanation, app.addresses.admin, "staging", "myapp-canary")
        with pytest.raises(XdsShadowError, match="no workload staging/other"):
            await asyncio.to_thread(get_explanation, app.addresses.admin, "staging", "other")
    [shadow] = status.shadows
    assert (shadow.state, shadow.percent, list(shadow.methods)) == ("Active", "12.5", ["GET"])
    assert list(shadow.endpoints) == ["10.0.0.2:80"]
    assert [problem.reason for problem in status.conditions] == ["NoHttpPort"]
    overview, detail = _text(status_view(status)), _text(explanation_view(explanation))
    assert "staging/myapp-canary" in overview
    assert "Service staging/portless" in overview
    for fact in ("10.0.0.1:80", "10.0.0.2:80", "myapp.staging.svc.cluster.local", "12.5", "Routed on  "):
        assert fact in detail
    names = {resource.name for resource in explanation.resources}
    assert "staging/myapp/http/shadow/myapp-canary" in names


async def test_the_log_has_the_state_and_the_reason_of_a_shadow() -> None:
    source = ScriptedSource()
    with capture_logs() as logs:
        async with running(source) as app:
            sink = await source.opened()
            sink.put(_changes(objects.namespace(), objects.canary(shadow_of="myapp")))
            sink.synced()
            await app.ready.wait()
            sink.put([Delete(Ref(Kind.DEPLOYMENT, "staging", "myapp-canary"))])
            await eventually(lambda: any(each["event"] == "shadow stopped" for each in logs))
    changed, stopped = (each for each in logs if each["event"] in ("shadow state changed", "shadow stopped"))
    assert "Service staging/myapp" in changed.pop("message")
    assert changed == {
        "event": "shadow state changed",
        "log_level": "warning",
        "subject": "Deployment staging/myapp-canary",
        "state": "Rejected",
        "reason": "ServiceNotFound",
    }
    assert stopped["subject"] == "Deployment staging/myapp-canary"


async def test_ports_that_are_not_routed_are_notices_and_nothing_else() -> None:
    source = ScriptedSource()
    two = [{"name": "http", "port": 80}, {"name": "metrics", "port": 9113}]
    async with running(source) as app:
        sink = await source.opened()
        many = [objects.service(f"db-{i}", ports=[{"name": "redis", "port": 6379}]) for i in range(30)]
        mirrored = [objects.service(ports=two), objects.canary(shadow_of="myapp")]
        sink.put(_changes(objects.namespace(), *mirrored, *many))
        sink.synced()
        await app.ready.wait()
        status = await asyncio.to_thread(get_status, app.addresses.admin)
        explanation = await asyncio.to_thread(get_explanation, app.addresses.admin, "staging", "myapp-canary")
    assert {change.reason for change in status.changes} == {"ShadowPending"}
    assert {(notice.severity, notice.reason) for notice in status.conditions} == {("Info", "PortsNotRouted")}
    assert len(status.conditions) == 31
    assert [notice.subject for notice in explanation.conditions] == ["Service staging/myapp"]
    overview, detail = _text(status_view(status)), _text(explanation_view(explanation))
    assert "Service staging/db-11" in overview
    assert "and 11 more notices" in overview
    assert "Port 9113 (metrics) is not routed" in detail
    assert "more notices" not in detail


@pytest.mark.parametrize(("said", "state"), [(False, "CredentialNeedsTLS"), (True, "Configured")])
async def test_a_credential_is_sent_in_plain_text_only_if_that_is_said(said: bool, state: str) -> None:
    source = ScriptedSource()
    async with running(source, plaintext_credentials=said) as app:
        sink = await source.opened()
        sink.put(
            _changes(
                objects.namespace(),
                objects.service(),
                *objects.endpoint_slice("myapp", [("stable-1", Address("10.0.0.1", 80))]),
                objects.canary(credential_from_secret="token/key"),  # noqa: S106 - a name
                objects.pod("canary-1", Address("10.0.0.2", 80)),
                {**objects.secret("token"), "data": {"key": "QmVhcmVyIGFiYw=="}},
            )
        )
        sink.synced()
        await app.ready.wait()
        status = await asyncio.to_thread(get_status, app.addresses.admin)
    [shadow] = status.shadows
    assert shadow.reason == state


async def test_a_shadow_ends_at_its_time_though_nothing_happens() -> None:
    source = ScriptedSource()
    async with running(source) as app:
        sink = await source.opened()
        until = datetime.now(UTC) + timedelta(seconds=0.6)
        sink.put(_changes(objects.namespace(), objects.service(), objects.canary(until=until.isoformat())))
        sink.synced()

        async def expired() -> bool:
            found = (await asyncio.to_thread(get_status, app.addresses.admin)).shadows
            return [shadow.state for shadow in found] == ["Expired"]

        await asyncio.wait_for(app.ready.wait(), PATIENCE_S)  # the first step is done, well before the time
        await eventually(expired)
        assert datetime.now(UTC) >= until


async def test_status_shows_connected_envoys_and_what_they_rejected() -> None:
    source = ScriptedSource()
    async with running(source) as app:
        sink = await source.opened()
        sink.put(_changes(objects.namespace(), objects.service()))
        sink.synced()
        await app.ready.wait()
        async with grpc.aio.insecure_channel(str(app.addresses.xds)) as channel:
            envoy = Stream(channel, Variant.DELTA)
            await envoy.ask(CLUSTER, node=node("gateway-7"))
            await envoy.ask(CLUSTER, answers=await envoy.take())
            await envoy.ask(LISTENER)
            await envoy.ask(LISTENER, answers=await envoy.take(), error="no such filter")
            await eventually(lambda: _syncs(app) == {"CDS": "SYNCED", "LDS": "ERROR"})
            status = await asyncio.to_thread(get_status, app.addresses.admin)
        await eventually(lambda: app.fleet.connections() == [])
    [connected] = status.nodes
    assert (connected.id, connected.cluster, connected.variant) == ("gateway-7", "edge", "delta")
    clusters, listeners = connected.types
    assert clusters.acked_version == clusters.sent_version == status.server.versions["CDS"]
    assert (listeners.acked_version, listeners.last_nack.message) == ("", "no such filter")
    overview = _text(status_view(status))
    assert "gateway-7 rejected LDS" in overview
    assert "no such filter" in overview


def _syncs(app: App) -> dict[str, str]:
    return {
        SHORT_NAMES[url]: state.sync.value
        for connection in app.fleet.connections()
        for url, state in connection.types.items()
    }


async def test_a_nack_is_shown_with_the_canary_that_it_concerns() -> None:
    source = ScriptedSource()
    async with running(source) as app:
        sink = await source.opened()
        sink.put(_changes(objects.namespace(), objects.service(), objects.canary(), objects.canary("other")))
        sink.synced()
        await app.ready.wait()
        words = "Error adding/updating cluster(s) staging/myapp/http/shadow/myapp-canary: \x1b[31mno\n"
        async with grpc.aio.insecure_channel(str(app.addresses.xds)) as channel:
            envoy = Stream(channel, Variant.DELTA)
            await envoy.ask(CLUSTER, node=node("gateway-7"))
            await envoy.ask(CLUSTER, answers=await envoy.take(), error=words)
            await eventually(lambda: _syncs(app) == {"CDS": "ERROR"})
            status = await asyncio.to_thread(get_status, app.addresses.admin)
            explained = await asyncio.to_thread(
                get_explanation, app.addresses.admin, "staging", "myapp-canary"
            )
            other = await asyncio.to_thread(get_explanation, app.addresses.admin, "staging", "other")
        await eventually(lambda: app.fleet.connections() == [])
        after = await asyncio.to_thread(get_status, app.addresses.admin)
    nacks = {shadow.name: list(shadow.conditions) for shadow in status.shadows}
    [nack] = nacks["myapp-canary"]
    assert (nack.subject, nack.reason) == ("Deployment staging/myapp-canary", "RejectedByEnvoy")
    assert (nacks["other"], list(other.shadow.conditions)) == ([], [])
    overview, detail = _text(status_view(status)), _text(explanation_view(explained))
    assert "CDS rejected by Envoy gateway-7: Error adding/updating cluster(s)" in overview
    assert "CDS rejected by Envoy gateway-7: Error adding/updating cluster(s)" in detail
    assert "\x1b" not in overview + detail
    # What is over is over.
    assert not any(shadow.conditions for shadow in after.shadows)


async def test_tools_that_know_xds_find_the_clients_status_on_the_admin_address() -> None:
    source = ScriptedSource()
    async with running(source) as app:
        (await source.opened()).synced()
        await app.ready.wait()
        async with (
            grpc.aio.insecure_channel(str(app.addresses.xds)) as channel,
            grpc.aio.insecure_channel(str(app.addresses.admin)) as admin,
        ):
            envoy = Stream(channel, Variant.SOTW)
            await envoy.ask(ENDPOINT, "not/there/80", node=node("gateway-7"))
            await eventually(lambda: _syncs(app) == {"EDS": "NOT_SENT"})
            clients = csds_pb2_grpc.ClientStatusDiscoveryServiceStub(admin)
            found = await clients.FetchClientStatus(csds_pb2.ClientStatusRequest())
            reflection: Any = (
                reflection_pb2_grpc.ServerReflectionStub
            )  # grpcio-reflection has no types for it
            questions = [
                reflection_pb2.ServerReflectionRequest(list_services=""),
                reflection_pb2.ServerReflectionRequest(file_containing_symbol=csds.SERVICE),
            ]
            services, files = [
                answer async for answer in reflection(admin).ServerReflectionInfo(iter(questions))
            ]
        await eventually(lambda: app.fleet.connections() == [])
    [client] = found.config
    [config] = client.generic_xds_configs
    assert (client.node.id, config.type_url) == ("gateway-7", ENDPOINT)
    assert config.config_status == csds_pb2.ConfigStatus.NOT_SENT
    assert csds.SERVICE in {service.name for service in services.list_services_response.service}
    assert files.file_descriptor_response.file_descriptor_proto


async def test_a_node_may_have_a_gateway_port_of_its_own() -> None:
    source = ScriptedSource()
    async with running(source) as app:
        (await source.opened()).synced()
        await app.ready.wait()
        ports = {}
        async with grpc.aio.insecure_channel(str(app.addresses.xds)) as channel:
            for name, metadata in (("own", {GATEWAY_PORT: "9090"}), ("default", {})):
                envoy = Stream(channel, Variant.DELTA)
                await envoy.ask(LISTENER, node=node(name, **metadata))
                [listener] = (await envoy.take()).resources
                shown = readable(LISTENER, listener.resource.value)
                ports[name] = shown["address"]["socket_address"]["port_value"]
                envoy.cancel()
    assert ports == {"own": 9090, "default": 8080}


async def test_a_bug_in_building_keeps_the_last_good_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    source = ScriptedSource()
    async with running(source) as app:
        sink = await source.opened()
        sink.put(_changes(objects.namespace(), objects.service()))
        sink.synced()
        await app.ready.wait()
        before = app.reporter.server_state()
        with monkeypatch.context() as patch:
            patch.setattr(Pipeline, "step", _raise(RuntimeError("a bug")))
            sink.put(_changes(objects.service("second")))
            await eventually(lambda: app.reporter.server_state().build_failures == 1)
        assert app.reporter.server_state().versions == before.versions
        sink.put(_changes(objects.service("third")))
        await eventually(lambda: app.reporter.server_state().versions != before.versions)


async def test_a_bug_in_reporting_what_changed_costs_the_report_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = ScriptedSource()
    async with running(source) as app:
        sink = await source.opened()
        sink.put(_changes(objects.namespace(), objects.service()))
        sink.synced()
        await app.ready.wait()
        before = app.reporter.server_state()
        with monkeypatch.context() as patch:
            patch.setattr(reporting, "transitions", _raise(RuntimeError("a bug")))
            sink.put(_changes(objects.service("second")))
            await eventually(lambda: app.reporter.server_state().versions != before.versions)
        between = app.reporter.server_state()
        sink.put(_changes(objects.service("third")))
        await eventually(lambda: app.reporter.server_state().versions != between.versions)


async def test_a_bug_in_reporting_one_service_suppresses_no_report_of_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = transitions

    def fails_for_one(before: Any, after: Any, moved: Any) -> Any:
        if any(target.name == "broken" for target in moved):
            raise RuntimeError("a bug")
        return real(before, after, moved)

    monkeypatch.setattr(reporting, "transitions", fails_for_one)
    source = ScriptedSource()
    async with running(source) as app:
        sink = await source.opened()
        sink.put(_changes(objects.namespace(), objects.service()))
        sink.synced()
        await app.ready.wait()
        bad_host = {"xds-shadow.io/hosts": "no host"}
        sink.put(
            _changes(
                objects.service("broken", annotations=bad_host),
                objects.service("second", annotations=bad_host),
            )
        )
        state = app.reporter.server_state
        await eventually(lambda: state().changes)
        assert [str(each.subject) for each in state().changes] == ["Service staging/second"]
        assert state().build_failures == 1


async def test_what_a_step_changed_is_reported_though_its_commit_failed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(app_module, "_RETRY_S", 0.01)
    source = ScriptedSource()
    async with running(source) as app:
        sink = await source.opened()
        sink.put(_changes(objects.namespace(), objects.service()))
        sink.synced()
        await app.ready.wait()
        real = App._commit
        failures = [RuntimeError("a bug")]

        def fails_once(self: App, snapshot: Any, *, seen: float | None) -> None:
            if failures:
                raise failures.pop()
            real(self, snapshot, seen=seen)

        monkeypatch.setattr(App, "_commit", fails_once)
        sink.put(_changes(objects.service("second", annotations={"xds-shadow.io/hosts": "no host"})))
        # No other change comes: the step is tried again.
        state = app.reporter.server_state
        await eventually(lambda: state().conditions)
        [condition], [change] = state().conditions, state().changes
        assert condition.since is not None
        assert (str(condition.subject), condition.reason) == ("Service staging/second", "InvalidHost")
        assert change.message == condition.message
        assert state().build_failures == 1


@pytest.mark.parametrize(("host", "level"), [("no host", "warning"), ("ok.example", None)])
async def test_what_has_to_be_corrected_is_a_warning_in_the_log(host: str, level: str | None) -> None:
    source = ScriptedSource()
    with capture_logs() as found:
        async with running(source) as app:
            sink = await source.opened()
            sink.put(
                _changes(objects.namespace(), objects.service(annotations={"xds-shadow.io/hosts": host}))
            )
            sink.synced()
            await app.ready.wait()
    levels = [each["log_level"] for each in found if each["event"] == "service condition reported"]
    assert levels == ([level] if level else [])


def _raise(error: Exception) -> Callable[..., None]:
    def fail(*_: object) -> None:
        raise error

    return fail


async def test_a_source_that_cannot_be_opened_ends_it() -> None:
    source = ScriptedSource()
    source.fails = SourceError("there is no such directory")
    with pytest.raises(SourceError, match="no such directory"):
        await App(_config(), source=source).run()


async def test_an_address_in_use_ends_it_with_the_option_to_change() -> None:
    source = ScriptedSource()
    async with running(source) as app:
        (await source.opened()).synced()
        await app.ready.wait()
        config = _config(xds_address=app.addresses.xds)
        with pytest.raises(XdsShadowError, match="--xds-address"):
            await App(config, source=ScriptedSource()).run()
        with pytest.raises(XdsShadowError, match="--http-address"):
            await App(_config(http_address=app.addresses.http), source=ScriptedSource()).run()


async def _get(app: App, path: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(f"http://{app.addresses.http}{path}") as found:
        return found.status, await found.text()


async def test_it_is_unready_while_it_shuts_down() -> None:
    source = ScriptedSource()
    async with running(source) as app:
        (await source.opened()).synced()
        await app.ready.wait()
        assert app.readiness().ready
        app.stop()
        assert tuple(app.readiness()) == (False, "shutting down")


async def test_readiness_comes_with_the_first_sync_and_outlasts_an_outage() -> None:
    source = ScriptedSource()
    async with running(source) as app:
        sink = await source.opened()
        await eventually(lambda: app.addresses.http.port)
        assert await _get(app, "/readyz") == (503, "as the test says\n")
        assert await _get(app, "/healthz") == (200, "ok\n")
        sink.synced()
        await app.ready.wait()
        source.outage_s = 61.5
        assert await _get(app, "/readyz") == (200, "as the test says\n")
        status = await asyncio.to_thread(get_status, app.addresses.admin)
        assert (status.server.source.message, status.server.source.outage_seconds) == (
            "as the test says",
            61.5,
        )
        assert "Source: as the test says." in _text(status_view(status))


async def test_what_an_annotation_says_does_not_steer_a_terminal() -> None:
    source = ScriptedSource()
    async with running(source) as app:
        sink = await source.opened()
        canary = objects.canary(redact="form:\x1b[31mred")
        sink.put(_changes(objects.namespace(), objects.service(), canary))
        sink.synced()
        await app.ready.wait()
        explanation = await asyncio.to_thread(get_explanation, app.addresses.admin, "staging", "myapp-canary")
    shown = _text(explanation_view(explanation))
    assert "form: [31mred" in shown
    assert "\x1b" not in shown


async def test_the_page_and_its_api_say_what_status_says() -> None:
    source = ScriptedSource()
    async with running(source) as app:
        sink = await source.opened()
        sink.put(_changes(objects.namespace(), objects.service(), objects.canary(percent="25")))
        sink.synced()
        await app.ready.wait()
        async with grpc.aio.insecure_channel(str(app.addresses.xds)) as channel:
            envoy = Stream(channel, Variant.DELTA)
            await envoy.ask(CLUSTER, node=node("gateway-7"))
            await envoy.take()
            shadows, nodes, config = [
                json.loads((await _get(app, f"/api/v1/{what}"))[1]) for what in ("shadows", "nodes", "config")
            ]
    [shadow] = shadows["shadows"]
    assert (shadow["name"], shadow["state"], shadow["percent"]) == ("myapp-canary", "Pending", "25")
    assert [each["id"] for each in nodes["nodes"]] == ["gateway-7"]
    assert config["server"]["source"]["message"] == "as the test says"
    [change] = config["changes"]
    assert (change["subject"], change["reason"]) == ("Deployment staging/myapp-canary", "ShadowPending")
    assert change["since"]
    assert config["conditions"] == []


async def test_what_has_not_changed_is_not_sent_again() -> None:
    source = ScriptedSource()
    async with running(source) as app, aiohttp.ClientSession() as session:
        sink = await source.opened()
        sink.put(_changes(objects.namespace(), objects.service(), objects.canary(percent="25")))
        sink.synced()
        await app.ready.wait()

        async def ask(what: str, *tags: str) -> tuple[int, bytes, str]:
            headers = {"If-None-Match": ", ".join(tags)} if tags else {}
            url = f"http://{app.addresses.http}/api/v1/{what}"
            async with session.get(url, headers=headers) as found:
                return found.status, await found.read(), found.headers["ETag"]

        tags = {what: (await ask(what))[2] for what in ("shadows", "nodes", "config")}
        for what, tag in tags.items():
            assert await ask(what, tag) == (304, b"", tag)
            assert (await ask(what, '"another"', tag))[0] == 304
            assert (await ask(what, '"another"'))[0] == 200
        sink.put(_changes(objects.canary(percent="30")))

        async def changed() -> bool:
            return (await ask("shadows", tags["shadows"]))[0] == 200

        await eventually(changed, what="the shadow's other percentage")
        _, body, tag = await ask("shadows", tags["shadows"])
        assert json.loads(body)["shadows"][0]["percent"] == "30"
        assert (await ask("shadows", tag))[0] == 304


async def test_the_page_loads_nothing_from_elsewhere() -> None:
    source = ScriptedSource()
    async with running(source) as app:
        (await source.opened()).synced()
        await app.ready.wait()
        async with aiohttp.ClientSession() as session:
            url = f"http://{app.addresses.http}/"
            async with session.get(url) as found:
                text, headers = await found.text(), found.headers
            async with session.post(url) as posted:
                assert posted.status == 405
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    for tag in ("script", "style"):
        [content] = re.findall(rf"<{tag}[^>]*>(.*?)</{tag}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    text = text.replace("http://www.w3.org/2000/svg", "")  # the name of a language
    assert not re.findall(r"(?:src|href)=(?!\"data:)|https?://|innerHTML", text)


@pytest.mark.parametrize(("page", "status"), [(False, 404), (True, 200)])
async def test_beyond_loopback_the_page_is_served_only_if_asked_for(page: bool, status: int) -> None:
    source = ScriptedSource()
    async with running(source, http_address=Address("0.0.0.0", 0), page=page) as app:
        (await source.opened()).synced()
        await app.ready.wait()
        port = app.addresses.http.port
        async with aiohttp.ClientSession() as session:
            for path, expected in (("/", status), ("/api/v1/shadows", status), ("/healthz", 200)):
                async with session.get(f"http://127.0.0.1:{port}{path}") as found:
                    assert found.status == expected
