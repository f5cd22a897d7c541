"""The live page and its JSON API: the content of `status` in a browser. Read-only.

The page is one document. Its Content-Security-Policy allows no other resources, and requests only to this
server.

The page polls every second, so responses have an ETag and are sent only if they changed. To make a response
for 1,000 shadows or Envoys takes more than 50 ms. It is made in a thread, because this process serves the
Envoys.
"""

import asyncio
import base64
import hashlib
import json
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from http import HTTPStatus
from importlib.resources import files
from typing import Any, Final, NamedTuple, Protocol

from aiohttp import ETag, web

from xds_server.base.ids import NamespacedName
from xds_server.base.text import plain
from xds_server.core.verdict.history import Series
from xds_server.pb import status_pb2
from xds_server.server.hosts import is_ours
from xds_server.server.pictures import details, pictures
from xds_server.server.plain import as_data
from xds_server.server.verdict_report import VerdictReport

_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_TAG_BYTES: Final = 16
_LONGEST_HOST: Final = 100
_NO_REPORT: Final = VerdictReport((), ())
_Handler = Callable[[web.Request], Awaitable[web.Response]]

_Facts = Callable[[], Mapping[str, Any]]
"""Returns fields of GetStatusResponse. Lists may be converted to messages later, in a thread."""


class Status(Protocol):
    """The source of the content."""

    def overview(self) -> status_pb2.GetStatusResponse: ...
    def shadows(self) -> Iterable[status_pb2.Shadow]: ...
    def nodes(self) -> Iterable[status_pb2.Node]: ...


class Stats(Protocol):
    """The source of the pictures."""

    @property
    def report(self) -> VerdictReport | None: ...
    def series(self) -> Mapping[NamespacedName, Series]: ...


def routes(status: Status, stats: Stats, hosts: Collection[str] = ()) -> list[web.RouteDef]:
    """``/`` and ``/api/v1/{shadows,nodes,config,pictures}``, for the host names of `is_ours` and those in
    `hosts`."""
    text, policy = _page()
    headers = _HEADERS | {"Content-Security-Policy": policy}

    async def page(_request: web.Request) -> web.Response:
        return web.Response(text=text, content_type="text/html", headers=headers)

    def config() -> Mapping[str, Any]:
        found = status.overview()
        return {
            "server": found.server,
            "conditions": found.conditions,
            "changes": found.changes,
        }

    def guarded(handler: _Handler) -> _Handler:
        async def handle(request: web.Request) -> web.Response:
            host, listening = request.headers.get("Host", ""), request.get_extra_info("sockname")[0]
            if is_ours(host, listening, hosts):
                return await handler(request)
            shown = plain(host, _LONGEST_HOST)
            sentence = f"Host {shown!r} is not a name of this page; use localhost, or add it with --page-host"
            return web.Response(status=HTTPStatus.MISDIRECTED_REQUEST, text=f"{sentence}\n", headers=_HEADERS)

        return handle

    return [
        web.get("/", guarded(page)),
        web.get("/api/v1/shadows", guarded(_Part(lambda: {"shadows": status.shadows()}).respond)),
        web.get("/api/v1/nodes", guarded(_Part(lambda: {"nodes": status.nodes()}).respond)),
        web.get("/api/v1/config", guarded(_Part(config).respond)),
        web.get("/api/v1/pictures", guarded(_Pictures(stats).respond)),
    ]


class _Made(NamedTuple):
    tag: str
    body: bytes


class _Part:
    """One document of the API. The last one is cached until the content changes."""

    def __init__(self, facts: _Facts) -> None:
        self._facts = facts
        self._last = _Made("", b"")

    async def respond(self, request: web.Request) -> web.Response:
        """The document, or 304 if the client has it."""
        made = self._last = await asyncio.to_thread(_make, self._facts(), self._last)
        return _response(request, made)


class _Pictures:
    """The pictures of all shadows; with `namespace`, `kind` and `name`, the details of one. Both are of the
    last look of `stats`, so the pictures are made once for it."""

    def __init__(self, stats: Stats) -> None:
        self._stats = stats
        self._of: VerdictReport | None = None
        self._last = _Made("", b"")

    async def respond(self, request: web.Request) -> web.Response:
        """The document, or 304 if the client has it; 404 if there is no such shadow."""
        report = self._stats.report or _NO_REPORT
        if not request.query:
            if self._of is not report:
                series = self._stats.series()
                self._last = await asyncio.to_thread(_tagged, pictures, report, series)
                self._of = report
            return _response(request, self._last)
        wanted = tuple(request.query.get(key, "") for key in ("namespace", "kind", "name"))
        for each in report.shadows:
            if (each.namespace, each.kind, each.name) == wanted:
                return _response(request, await asyncio.to_thread(_tagged, details, each))
        return web.Response(status=404, text="there is no such shadow\n", headers=_HEADERS)


def _response(request: web.Request, made: _Made) -> web.Response:
    tag = ETag(made.tag)
    response = (
        web.Response(status=304, headers=_HEADERS)
        if tag in (request.if_none_match or ())
        else web.Response(body=made.body, content_type="application/json", headers=_HEADERS)
    )
    response.etag = tag
    return response


def _tagged(make: Callable[..., Mapping[str, Any]], *of: object) -> _Made:
    body = json.dumps(make(*of), separators=(",", ":")).encode()
    return _Made(_hashed(body), body)


def _hashed(body: bytes) -> str:
    return hashlib.blake2b(body, digest_size=_TAG_BYTES).hexdigest()


def _make(facts: Mapping[str, Any], last: _Made) -> _Made:
    """Compare the serialized message, which takes a quarter of the time of its JSON."""
    message = status_pb2.GetStatusResponse(**facts)
    raw = message.SerializeToString(deterministic=True)
    tag = _hashed(raw)
    if tag == last.tag:
        return last
    data = as_data(message)
    return _Made(tag, json.dumps({key: data[key] for key in facts}).encode())


def _page() -> tuple[str, str]:
    """The document and its policy: its own script, style and icon, and requests to this server."""
    folder = files("xds_server.server")
    page, style, drawing, showing = (
        folder.joinpath(name).read_text(encoding="utf-8")
        for name in ("page.html", "page.css", "pictures.js", "page.js")
    )
    script = drawing + showing
    text = page.replace("<style></style>", f"<style>{style}</style>")
    text = text.replace("></script>", f">{script}</script>")
    policy = (
        f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; img-src data:;"
        " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return text, policy


def _hash(content: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
