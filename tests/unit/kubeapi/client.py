"""A client of the embedded API that shows everything of an answer."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from tests.support.waiting import PATIENCE_S
from xds_server.local.kubeapi.doc import Doc
from xds_server.local.kubeapi.server import Call, EmbeddedApi
from xds_server.local.kubeapi.store import Store

SERVICES = "/api/v1/namespaces/default/services"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
MERGE_PATCH = "application/merge-patch+json"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
METADATA = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    doc: Doc
    text: str

    @property
    def message(self) -> str:
        return str(self.doc["message"])

    @property
    def names(self) -> list[str]:
        return [item["metadata"]["name"] for item in self.doc["items"]]

    @property
    def version(self) -> str:
        return str(self.doc["metadata"]["resourceVersion"])


@dataclass
class Stream:
    """An open watch."""

    response: aiohttp.ClientResponse

    async def next(self) -> tuple[str, Doc]:
        """The next event's type and object."""
        line = await asyncio.wait_for(self.response.content.readline(), PATIENCE_S)
        assert line, "the watch has ended"
        event = json.loads(line)
        return event["type"], event["object"]

    async def names(self, count: int) -> list[tuple[str, str]]:
        """Type and name of each of the next events."""
        events = [await self.next() for _ in range(count)]
        return [(kind, obj["metadata"]["name"]) for kind, obj in events]

    async def rest(self) -> list[tuple[str, Doc]]:
        """What comes until the server ends the watch."""
        lines = (await asyncio.wait_for(self.response.read(), PATIENCE_S)).splitlines()
        return [(event["type"], event["object"]) for event in map(json.loads, lines)]


@dataclass
class Client:
    api: EmbeddedApi
    store: Store
    session: aiohttp.ClientSession
    calls: list[Call] = field(default_factory=list)

    async def send(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        kind: str = "application/json",
        headers: dict[str, str] | None = None,
        **query: str,
    ) -> Answer:
        """One request; `body` is sent as JSON, bytes as they are."""
        sent = dict(headers or {})
        if body is not None and kind:
            sent["Content-Type"] = kind
        data = body if isinstance(body, bytes | None) else json.dumps(body)
        url = f"{self.api.url}{path}"
        skip = [] if kind else ["Content-Type"]
        async with self.session.request(
            method, url, data=data, params=query, headers=sent, skip_auto_headers=skip
        ) as response:
            text = await response.text()
            is_json = "json" in response.headers.get("Content-Type", "")
            doc: Any = json.loads(text) if is_json and text else {}
            return Answer(response.status, dict(response.headers), doc, text)

    async def get(self, path: str, accept: str = "application/json", **query: str) -> Answer:
        return await self.send("GET", path, headers={"Accept": accept}, **query)

    async def create(self, doc: Doc, **query: str) -> Answer:
        return await self.send("POST", path_of(doc), doc, headers=None, **query)

    async def merge(self, path: str, change: Doc, **query: str) -> Answer:
        return await self.send("PATCH", path, change, kind=MERGE_PATCH, headers=None, **query)

    async def label(self, path: str, **labels: str | None) -> Answer:
        return await self.merge(path, {"metadata": {"labels": labels}})

    @asynccontextmanager
    async def watch(self, path: str, accept: str = "application/json", **query: str) -> AsyncIterator[Stream]:
        async with self.session.get(
            f"{self.api.url}{path}", params={"watch": "true", **query}, headers={"Accept": accept}
        ) as response:
            assert response.status == 200, await response.text()
            yield Stream(response)


def path_of(doc: Doc) -> str:
    """The collection that an object is created in."""
    version = doc["apiVersion"]
    root = f"/apis/{version}" if "/" in version else f"/api/{version}"
    namespace = doc["metadata"].get("namespace")
    inside = f"/namespaces/{namespace}" if namespace else ""
    return f"{root}{inside}/{doc['kind'].lower()}s"


@asynccontextmanager
async def client(store: Store | None = None, **options: Any) -> AsyncIterator[Client]:
    """An API of its own, and a client of it."""
    store = store or Store()
    calls: list[Call] = []
    async with (
        EmbeddedApi(store, audit=calls.append, **options) as api,
        aiohttp.ClientSession() as session,
    ):
        yield Client(api, store, session, calls)
