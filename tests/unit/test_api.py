"""Verdicts over HTTP: the JSON API, its OpenAPI document, and Flagger's webhook."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
import yaml
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from openapi_spec_validator import OpenAPIV31SpecValidator

from tests.support.records import CANARY, record, shadow
from tests.support.waiting import eventually
from tests.unit.test_app_http import asked
from xds_server.base.address import Address
from xds_server.base.ids import NamespacedName
from xds_server.core.plan import ShadowStatus
from xds_server.core.verdict.bodies import Field, Kind
from xds_server.core.verdict.record import Record
from xds_server.server import api as api_module
from xds_server.server.api import MOST_BODY, MOST_REQUESTS, Api
from xds_server.server.http import Readiness, http_server
from xds_server.server.verdict_report import Replica
from xds_server.server.verdicts import Answer, Verdicts

ONE = "/api/v1/verdicts/staging/web-canary"
ROOT = Path(__file__).parents[2]
HOOK = "/hooks/flagger"
DATABASE = NamespacedName("staging", "statefulset/web-canary")
PAYLOAD = {
    "name": "web-canary",
    "namespace": "staging",
    "phase": "Progressing",
    "checksum": "1",
    "metadata": {},
}


class Server:
    """An HTTP server with the API, and what it has."""

    def __init__(self) -> None:
        self.records: dict[NamespacedName, Record] = {CANARY: record(20_000)}
        self.shadows: list[ShadowStatus] = [shadow()]
        self.peers: list[Answer] = []
        self.known = True
        self.address = Address("127.0.0.1", 0)
        self.verdicts = Verdicts(
            name="one", records=lambda: self.records, shadows=lambda: self.shadows, peers=self
        )
        self.api = Api(
            self.verdicts,
            known=lambda: self.known,
            hosts={"shadows.example"},
            cluster_domains=("cluster.local",),
        )

    async def ask(self) -> list[Answer]:
        return self.peers

    async def call(
        self,
        path: str,
        method: str = "GET",
        *,
        body: Any = None,
        raw: bytes | None = None,
        host: str = "",
        encoding: str = "",
    ) -> tuple[int, str]:
        """Status and text of an answer."""
        headers = {"Host": host} if host else {}
        if encoding:
            headers["Content-Encoding"] = encoding
        content = raw if body is None else json.dumps(body).encode()
        url = f"http://{self.address}{path}"
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, url, data=content, headers=headers) as answer,
        ):
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            return answer.status, await answer.text()

    async def json(self, path: str, method: str = "GET") -> tuple[int, Any]:
        status, text = await self.call(path, method)
        return status, json.loads(text)

    async def hook(self, **metadata: object) -> tuple[int, str]:
        return await self.call(HOOK, "POST", body={**PAYLOAD, "metadata": metadata})


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    found = Server()

    async def metrics() -> bytes:
        return b""

    async with http_server(
        found.address,
        readiness=lambda: Readiness(ready=True, message="ok"),
        metrics=metrics,
        api=found.api,
    ) as found.address:
        yield found


async def test_the_document_is_openapi_and_the_answers_are_as_it_says(server: Server) -> None:
    found = record(400, 20, differing={Field("GET /", "$.name", Kind.MISSING): 4})
    server.records = {CANARY: found}
    server.peers = [Answer(Replica("two", "it cannot be reached"), {})]
    status, document = await server.json("/api/v1/openapi.json")
    assert status == 200
    OpenAPIV31SpecValidator(document).validate()

    def check(path: str, code: str, answer: object) -> None:
        response = document["paths"][path]["get"]["responses"][code]
        schema = response["content"]["application/json"]["schema"]
        Draft202012Validator({**schema, "components": document["components"]}).validate(answer)

    for path, actual in (
        ("/api/v1/verdicts", "/api/v1/verdicts"),
        ("/api/v1/verdicts/{namespace}/{name}", ONE),
        ("/api/v1/verdicts/{namespace}/{kind}/{name}", "/api/v1/verdicts/staging/deploy/web-canary"),
    ):
        status, answer = await server.json(actual)
        assert status == 200
        check(path, "200", answer)
    status, answer = await server.json("/api/v1/verdicts/staging/other")
    check("/api/v1/verdicts/{namespace}/{name}", "404", answer)
    assert set(document["paths"]) == {
        *(each.path for each in server.api.routes() if each.path != "/api/v1/openapi.json")
    }


async def test_one_verdict_is_found_by_a_path_of_json(server: Server) -> None:
    status, found = await server.json(ONE)
    assert (status, found["verdict"], found["replicas"]) == (200, "NoWorse", [{"name": "one", "problem": ""}])
    assert found["total"]["pairs"] == 20_000
    status, found = await server.json(f"{ONE}?tolerance=1%25&alpha=0.01&min-pairs=30000")
    assert (status, found["verdict"]) == (200, "TooEarly")
    assert found["terms"] == {"alpha": 0.01, "tolerance": 0.01, "min_pairs": 30_000}


async def test_all_verdicts(server: Server) -> None:
    server.shadows = [shadow(), shadow(DATABASE)]
    status, found = await server.json("/api/v1/verdicts")
    assert status == 200
    assert [(each["kind"], each["verdict"]) for each in found["verdicts"]] == [
        ("Deployment", "NoWorse"),
        ("StatefulSet", "Blind"),
    ]
    status, found = await server.json("/api/v1/verdicts?min-pairs=30000")
    assert [each["verdict"] for each in found["verdicts"]] == ["TooEarly", "Blind"]


@pytest.mark.parametrize(
    ("path", "method", "status", "message"),
    [
        ("/api/v1/verdicts/staging/web-canari", "GET", 404, "did you mean staging/web-canary?"),
        ("/api/v1/verdicts/staging/cronjob/x", "GET", 400, "'cronjob' is no kind of workload"),
        (f"{ONE}?tolerance=much", "GET", 400, "tolerance 'much' is not a share"),
        (f"{ONE}?alpha=7", "GET", 400, "alpha 7 is not between"),
        (f"{ONE}?min-pairs=-1", "GET", 400, "min-pairs '-1' is not a number"),
        (f"{ONE}?min-pairs={'9' * 5000}", "GET", 400, "is not between 0 and"),
        (ONE, "DELETE", 405, "the method of /api/v1/verdicts/{namespace}/{name} is GET"),
        ("/api/v1/verdicts", "POST", 405, "the method of /api/v1/verdicts is GET"),
    ],
)
async def test_errors_are_json(server: Server, path: str, method: str, status: int, message: str) -> None:
    code, found = await server.json(path, method)
    assert code == status
    assert list(found) == ["error"]
    assert message in found["error"]


async def test_a_name_of_several_kinds_has_to_be_complete(server: Server) -> None:
    server.shadows = [shadow(), shadow(DATABASE)]
    status, found = await server.json(ONE)
    assert (status, "staging/statefulset/web-canary" in found["error"]) == (409, True)
    status, found = await server.json("/api/v1/verdicts/staging/sts/web-canary")
    assert (status, found["kind"]) == (200, "StatefulSet")


async def test_before_the_first_list_nothing_is_known(server: Server) -> None:
    server.known = False
    for path in (ONE, "/api/v1/verdicts"):
        assert (await server.json(path))[0] == 503
    assert await server.hook() == (503, "shadows are not known yet: the first list is not complete\n")


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("shadows.example", 200),
        ("xds-shadow-api.xds-shadow-system.svc:18081", 200),
        ("xds-shadow-api.xds-shadow-system.svc.cluster.local", 200),
        ("evil.example", 421),
        ("svc", 421),
        ("a.svc.evil.example", 421),
    ],
)
async def test_names_of_services_are_accepted_and_foreign_ones_are_not(
    server: Server, host: str, status: int
) -> None:
    assert (await server.call(ONE, host=host))[0] == status
    assert (await server.call(HOOK, "POST", body=PAYLOAD, host=host))[0] == status


async def test_a_hook_passes_a_canary_that_is_no_worse(server: Server) -> None:
    status, text = await server.hook()
    assert (status, text.startswith("NoWorse: In 20000 pairs the canary fails at most")) == (200, True)


@pytest.mark.parametrize(
    ("found", "sentence", "unless_worse"),
    [
        (record(400, 20), "Worse: In 400 pairs the canary failed alone in 20", 412),
        (record(10), "TooEarly: 10 of at least 1000 pairs were compared.", 200),
        (record(2_000, arrived=0.5), "Blind: Sampled pairs have been missing since ", 200),
    ],
)
async def test_a_hook_stops_others_with_one_sentence(
    server: Server, found: Record, sentence: str, unless_worse: int
) -> None:
    server.records = {CANARY: found}
    status, text = await server.hook()
    assert (status, text.startswith(sentence), text.count("\n")) == (412, True, 1)
    assert (await server.hook(**{"pass-unless-worse": "true"}))[0] == unless_worse


async def test_a_hook_does_not_guess_what_metadata_means(server: Server) -> None:
    for value in ("yes", True, ["true"]):
        status, text = await server.hook(**{"pass-unless-worse": value})
        assert (status, text.endswith(' is neither "true" nor "false"\n')) == (400, True)
    assert (await server.hook(**{"pass-unless-worse": "false"}))[0] == 200


async def test_a_hook_names_replicas_that_are_missing(server: Server) -> None:
    server.peers = [Answer(Replica("two", "it cannot be reached"), {})]
    assert (await server.hook())[1].endswith(" Replica two: it cannot be reached.\n")


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "junk"])
async def test_a_body_is_not_decompressed(server: Server, encoding: str) -> None:
    for body in (b"junk", gzip.compress(b"0" * 2**20)):
        found = await server.call(HOOK, "POST", raw=body, encoding=encoding)
        assert found == (400, "the body is not JSON\n")


async def test_metadata_selects_the_workload_and_the_terms(server: Server) -> None:
    server.shadows.append(shadow(DATABASE))
    server.records[DATABASE] = record(400, 20, canary=DATABASE)
    assert (await server.hook(kind="statefulset"))[1].startswith("Worse")
    status, text = await server.hook(kind="deployment", **{"min-pairs": "30000"})
    assert (status, text) == (412, "TooEarly: 20000 of at least 30000 pairs were compared.\n")
    payload = {**PAYLOAD, "name": "web", "metadata": {"name": "web-canary", "kind": "deployment"}}
    assert (await server.call(HOOK, "POST", body=payload))[0] == 200
    assert (await server.call(HOOK, "POST", body={**PAYLOAD, "metadata": None}))[0] == 409


def webhooks_of_the_page() -> list[dict[str, Any]]:
    page = (ROOT / "docs/commands.md").read_text(encoding="utf-8")
    [text] = [block for block in page.split("```yaml\n") if "type: confirm-promotion" in block]
    found: list[dict[str, Any]] = yaml.safe_load(text.partition("```")[0])["analysis"]["webhooks"]
    return found


async def test_the_webhooks_of_the_page_hold_and_count(server: Server) -> None:
    webhooks = webhooks_of_the_page()
    assert {urlsplit(each["url"]).path for each in webhooks} == {HOOK}
    [host] = {urlsplit(each["url"]).netloc for each in webhooks}
    metadata = {each["type"]: each["metadata"] for each in webhooks}
    server.shadows = [shadow(NamespacedName("staging", "myapp"))]

    async def answers() -> list[int]:
        found = []
        for kind in ("rollout", "confirm-promotion"):
            payload = {"name": "myapp", "namespace": "staging", "metadata": metadata[kind]}
            found.append((await server.call(HOOK, "POST", body=payload, host=host))[0])
        return found

    for pairs, failed, expected in ((10, 0, [200, 412]), (400, 20, [412, 412]), (20_000, 0, [200, 200])):
        canary = NamespacedName("staging", "myapp")
        server.records = {canary: record(pairs, failed, canary=canary)}
        assert await answers() == expected


@pytest.mark.parametrize(
    ("raw", "status", "message"),
    [
        (b"", 400, "the body is not JSON"),
        (b"\xff", 400, "the body is not JSON"),
        (b"[" * 10_000, 400, "the body is not JSON"),
        (b"[]", 400, "the body is not a JSON object"),
        (b"{}", 400, "the body needs a name and a namespace"),
        (b'{"name": 1, "namespace": "a"}', 400, "the body needs a name and a namespace"),
        (b'{"name": "a", "namespace": "b", "metadata": []}', 404, "no workload b/a"),
        (b'{"name": "a", "namespace": "b", "metadata": [1]}', 400, "metadata is not an object"),
        (b'{"name": "a", "namespace": "b"}', 404, "no workload b/a with the label"),
        (b'{"name": "a\\u001b", "namespace": "b"}', 404, "no workload b/a with the label"),
        (b" " * (MOST_BODY + 1), 413, f"the body exceeds {MOST_BODY} bytes"),
    ],
)
async def test_what_is_no_payload_is_answered_with_a_sentence(
    server: Server, raw: bytes, status: int, message: str
) -> None:
    code, text = await server.call(HOOK, "POST", raw=raw)
    assert (code, text[: len(message)]) == (status, message)
    assert text.count("\n") == 1
    assert (await server.call(HOOK)) == (405, "the method of /hooks/flagger is POST\n")


async def test_a_body_that_does_not_arrive_is_not_waited_for(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_module, "_BODY_S", 0.05)
    reader, writer = await asyncio.open_connection(*server.address)
    writer.write(f"POST {HOOK} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n".encode())
    assert (await reader.readline()).split()[1] == b"408"
    writer.close()


async def test_requests_beyond_the_limit_are_rejected_at_once(server: Server) -> None:
    release = asyncio.Event()

    async def ask() -> list[Answer]:
        await release.wait()
        return []

    server.ask = ask  # type: ignore[method-assign]
    async with asyncio.TaskGroup() as group:
        waiting = [group.create_task(server.json(ONE)) for _ in range(MOST_REQUESTS)]
        await eventually(lambda: server.api._requests == MOST_REQUESTS, what="the limit")
        assert await server.json(ONE) == (429, {"error": "32 requests are being answered"})
        release.set()
    assert {task.result()[0] for task in waiting} == {200}
    assert server.api._requests == 0


async def test_without_the_api_there_are_no_verdicts() -> None:
    async def metrics() -> bytes:
        return b""

    ready = Readiness(ready=True, message="ok")
    async with http_server(Address("127.0.0.1", 0), readiness=lambda: ready, metrics=metrics) as address:
        for path in (ONE, "/api/v1/verdicts", "/api/v1/openapi.json", HOOK):
            assert (await asked(address, path, "Host: localhost"))[0] == 404
