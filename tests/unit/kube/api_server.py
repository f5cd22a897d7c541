"""An API server small enough to read, for the tests of the Kubernetes source.

It keeps objects and a history of their changes, and answers list and watch as the real one does: paging with
continue tokens, label and field selectors (an object that stops matching is DELETED for that watch), resuming
at a version, 410 for versions it has forgotten. Tests script what goes wrong.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from aiohttp import web
from kubernetes.aio.client import ApiClient, Configuration

from tests.support.waiting import PATIENCE_S
from tests.unit.kube.manifests import Doc
from xds_server.core.objects import WORKLOADS, Kind
from xds_server.kube.source import KubeSource, Timing

PLURALS = {kind.resource: kind.value for kind in Kind}
OPTIONAL = tuple(kind for kind in Kind if not kind.built_in)
"""The kinds that a cluster need not have."""


MARKED_POD = "marked Pod"
"""The kind of requests for Pods that carry the label by mistake, which are apart from those of canaries."""


ALWAYS = (
    "Namespace",
    "Service",
    *(kind.value for kind in WORKLOADS if kind.built_in),
    "EndpointSlice",
    MARKED_POD,
)
"""The kinds of requests that there are from the start to the end, without the optional kinds."""


class Key(NamedTuple):
    kind: str
    namespace: str
    name: str


class Request(NamedTuple):
    """One request as it came in. `verb` is list, watch, or stream for a list that turns into a watch."""

    verb: str
    kind: str
    namespace: str
    parameters: dict[str, str]

    def sees(self, key: Key, obj: Doc | None) -> bool:
        """Whether an object is within the request's scope and selectors."""
        if (
            obj is None
            or key.kind != self.kind.removeprefix("marked ")
            or (self.namespace and key.namespace != self.namespace)
        ):
            return False
        field_selector = self.parameters.get("fieldSelector")
        if field_selector and field_selector != f"metadata.name={key.name}":
            return False
        labels = obj["metadata"].get("labels", {})
        terms = [term for term in self.parameters.get("labelSelector", "").split(",") if term]
        return all(
            labels.get(term.partition("=")[0]) == term.partition("=")[2] if "=" in term else term in labels
            for term in terms
        )


@dataclass
class Step:
    """One change in the history."""

    version: int
    key: Key
    before: Doc | None
    after: Doc | None


@dataclass(eq=False)
class Watcher:
    """One open watch; bytes put in `out` are sent, None ends the response."""

    request: Request
    out: asyncio.Queue[bytes | None]
    transport: asyncio.Transport


@dataclass
class ApiServer:
    """Its state, its history, and the script.

    `reject` gives the status to answer requests of a verb and kind with, and `retry_after` the header beside
    it, and queries with one of `rejected_selectors` get 400; kinds in `absent` are not
    served, by default those that a cluster need not have; `forgotten` is the last version that cannot be
    resumed from; `expire_tokens` how many continue tokens are answered with 410; `down` drops every
    connection; `hang_up` ends every watch at once; `credential` is asked for, if there is one. `streams` says
    whether streaming lists are known, `completes` whether their first part ends with its bookmark, and
    `cut_after` how many bytes of a kind's get through, once.
    """

    url: str = ""
    page_size: int = 500
    reject: dict[tuple[str, str], int] = field(default_factory=dict)
    rejected_selectors: set[str] = field(default_factory=set)
    absent: set[str] = field(default_factory=lambda: {*OPTIONAL})
    forgotten: int = 0
    expire_tokens: int = 0
    down: bool = False
    credential: str = ""
    hang_up: bool = False
    streams: bool = False
    completes: bool = True
    cut_after: dict[str, int] = field(default_factory=dict)
    retry_after: int | None = None
    version: int = 1
    objects: dict[Key, Doc] = field(default_factory=dict)
    history: list[Step] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    watchers: set[Watcher] = field(default_factory=set)
    clients: list[ApiClient] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    async def connect(self) -> ApiClient:
        """What `KubeSource` is given to connect with."""
        configuration = Configuration(host=self.url)
        configuration.connection_pool_maxsize = 0
        configuration.client_session_kwargs = {"trust_env": False}
        if self.credential:
            configuration.api_key["BearerToken"] = f"Bearer {self.credential}"
        self.clients.append(ApiClient(configuration))
        return self.clients[-1]

    @property
    def open_sessions(self) -> int:
        pools = [client.rest_client.pool_manager for client in self.clients]
        return sum(1 for pool in pools if pool is not None and not pool.closed)

    def count(self, verb: str, kind: str) -> int:
        return sum(1 for request in self.requests if (request.verb, request.kind) == (verb, kind))

    async def until_watched(self, *kinds: str, verb: str = "") -> None:
        """Wait until each kind has an open watch, so that what follows arrives as events."""
        async with asyncio.timeout(PATIENCE_S):
            while not self._watched(verb) >= set(kinds):
                self.news.clear()
                await self.news.wait()

    def _watched(self, verb: str) -> set[str]:
        return {each.request.kind for each in self.watchers if verb in ("", each.request.verb)}

    async def until_asked(self, verb: str, kind: str, times: int) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while self.count(verb, kind) < times:
                self.news.clear()
                await self.news.wait()

    # --- the script ------------------------------------------------------------------------------------

    def put(self, *docs: Doc) -> None:
        """Create or change objects."""
        for doc in docs:
            self._step(key_of(doc), doc)

    def delete(self, doc: Doc) -> None:
        self._step(key_of(doc), None)

    def bookmark(self, kind: str) -> None:
        obj = {"kind": kind, "metadata": {"resourceVersion": str(self.version)}}
        self.say(kind, event("BOOKMARK", obj))

    def say(self, kind: str, data: bytes) -> None:
        """Send bytes on the open watches of a kind."""
        for watcher in self.watchers:
            if watcher.request.kind == kind:
                watcher.out.put_nowait(data)

    def end(self, kind: str) -> None:
        """End the watches of a kind, as the server does after timeoutSeconds."""
        for watcher in self.watchers:
            if watcher.request.kind == kind:
                watcher.out.put_nowait(None)

    def cut(self) -> None:
        """Break every open connection, after what was sent on it."""
        for watcher in self.watchers:
            watcher.transport.close()

    def _step(self, key: Key, doc: Doc | None) -> None:
        self.version += 1
        before = self.objects.pop(key, None)
        if doc is not None:
            metadata = {**doc["metadata"], "resourceVersion": str(self.version)}
            self.objects[key] = {**doc, "metadata": metadata}
        step = Step(self.version, key, before, self.objects.get(key))
        self.history.append(step)
        for watcher in self.watchers:
            for data in seen_by(watcher.request, step):
                watcher.out.put_nowait(data)

    # --- the API ---------------------------------------------------------------------------------------

    async def handle(self, http: web.Request) -> web.StreamResponse:
        request = self._request(http)
        self.requests.append(request)
        self.news.set()
        transport = http.transport
        assert isinstance(transport, asyncio.Transport)
        if self.down:
            transport.abort()
            return web.Response()
        scheme, _, credential = http.headers.get("Authorization", "").partition(" ")
        if self.credential and (scheme.lower(), credential) != ("bearer", self.credential):
            return failure(401, "Unauthorized")
        status = self.reject.get((request.verb, request.kind))
        if request.kind in self.absent:
            status = 404
        if request.parameters.get("labelSelector") in self.rejected_selectors:
            status = 400
        if status is not None:
            return failure(status, "as the test says", self.retry_after)
        if request.verb == "stream" and not self.streams:
            return failure(422, "sendInitialEvents is forbidden for watch")
        if request.verb in ("watch", "stream"):
            return await self._watch(request, http, transport)
        return self._list(request)

    def _request(self, http: web.Request) -> Request:
        *_, plural = parts = http.path.strip("/").split("/")
        namespace = parts[parts.index("namespaces") + 1] if "namespaces" in parts[:-1] else ""
        verb = "watch" if http.query.get("watch") == "true" else "list"
        verb = "stream" if "sendInitialEvents" in http.query else verb
        kind = PLURALS[plural]
        if kind == "Pod" and http.query.get("labelSelector") == "xds-shadow.io/shadow-of":
            kind = MARKED_POD
        return Request(verb, kind, namespace, dict(http.query))

    def _list(self, request: Request) -> web.Response:
        start = int(request.parameters.get("continue", "0"))
        if start and self.expire_tokens:
            self.expire_tokens -= 1
            return failure(410, "The provided continue parameter is too old")
        size = min(self.page_size, int(request.parameters["limit"]))
        found = [doc for key, doc in sorted(self.objects.items()) if request.sees(key, doc)]
        metadata = {"resourceVersion": str(self.version)}
        if start + size < len(found):
            metadata["continue"] = str(start + size)
        return web.json_response({"metadata": metadata, "items": found[start : start + size] or None})

    async def _watch(
        self, request: Request, http: web.Request, transport: asyncio.Transport
    ) -> web.StreamResponse:
        since = int(request.parameters.get("resourceVersion", self.version))
        if since < self.forgotten:
            return failure(410, "too old resource version")
        response = web.StreamResponse()
        await response.prepare(http)
        if self.hang_up:
            return response
        watcher = Watcher(request, asyncio.Queue(), transport)
        if request.verb == "stream":
            first_part = b"".join(self._initial_events(request))
            if request.kind in self.cut_after:
                await response.write(first_part[: self.cut_after.pop(request.kind)])
                transport.close()
                return response
            watcher.out.put_nowait(first_part)
        for step in self.history:
            if step.version > since:
                for data in seen_by(request, step):
                    watcher.out.put_nowait(data)
        self.watchers.add(watcher)
        self.news.set()
        try:
            while (chunk := await watcher.out.get()) is not None:
                await response.write(chunk)
        finally:
            self.watchers.discard(watcher)
            self.news.set()
        return response

    def _initial_events(self, request: Request) -> Iterator[bytes]:
        for key, doc in sorted(self.objects.items()):
            if request.sees(key, doc):
                yield event("ADDED", doc)
        if not self.completes:
            return
        annotations = {"k8s.io/initial-events-end": "true"}
        metadata = {"resourceVersion": str(self.version), "annotations": annotations}
        yield event("BOOKMARK", {"kind": request.kind, "metadata": metadata})


def key_of(doc: Doc) -> Key:
    return Key(doc["kind"], doc["metadata"].get("namespace", ""), doc["metadata"]["name"])


def event(kind: str, obj: Doc) -> bytes:
    return json.dumps({"type": kind, "object": obj}).encode() + b"\n"


def error_event(code: int, message: str = "as the test says") -> bytes:
    return event("ERROR", {"kind": "Status", "code": code, "message": message})


def seen_by(request: Request, step: Step) -> list[bytes]:
    """What a watch is told of a change. A deletion carries the change's version, as the real one's does."""
    was, still = request.sees(step.key, step.before), request.sees(step.key, step.after)
    if still and step.after is not None:
        return [event("MODIFIED" if was else "ADDED", step.after)]
    if was and step.before is not None:
        metadata = {**step.before["metadata"], "resourceVersion": str(step.version)}
        return [event("DELETED", {**step.before, "metadata": metadata})]
    return []


def failure(code: int, message: str, retry_after: int | None = None) -> web.Response:
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    status = {"kind": "Status", "code": code, "message": message}
    return web.json_response(status, status=code, headers=headers)


@asynccontextmanager
async def api_server() -> AsyncIterator[ApiServer]:
    """An API server on a port of the system's choice."""
    server = ApiServer()
    app = web.Application()
    app.router.add_get("/{path:.*}", server.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    server.url = f"http://{host}:{port}"
    try:
        yield server
    finally:
        for kind in PLURALS.values():
            server.end(kind)
        await runner.cleanup()


FAST = Timing(backoff_base=0.005, backoff_cap=0.02, renew_after=0.0, give_up_after=3600.0)
"""So that no test waits for a delay that is kind to a real server. Nothing is given up."""

HASTY = replace(FAST, give_up_after=0.0)
"""What is forbidden is given up at once, where that may be."""


def source(api: ApiServer, namespaces: Sequence[str] = (), timing: Timing = FAST) -> KubeSource:
    """A source that follows the scripted server."""
    return KubeSource(api.connect, namespaces, timing=timing)
