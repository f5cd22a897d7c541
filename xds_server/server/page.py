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

from xds_server.base.text import plain
from xds_server.pb import status_pb2
from xds_server.server.hosts import is_ours
from xds_server.server.plain import as_data

_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_TAG_BYTES: Final = 16
_LONGEST_HOST: Final = 100
_Handler = Callable[[web.Request], Awaitable[web.Response]]

_Facts = Callable[[], Mapping[str, Any]]
"""Returns fields of GetStatusResponse. Lists may be converted to messages later, in a thread."""


class Status(Protocol):
    """The source of the content."""

    def overview(self) -> status_pb2.GetStatusResponse: ...
    def shadows(self) -> Iterable[status_pb2.Shadow]: ...
    def nodes(self) -> Iterable[status_pb2.Node]: ...


def routes(status: Status, hosts: Collection[str] = ()) -> list[web.RouteDef]:
    """``/`` and ``/api/v1/{shadows,nodes,config}``, for the host names of `is_ours` and those in `hosts`."""
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
        tag = ETag(made.tag)
        response = (
            web.Response(status=304, headers=_HEADERS)
            if tag in (request.if_none_match or ())
            else web.Response(body=made.body, content_type="application/json", headers=_HEADERS)
        )
        response.etag = tag
        return response


def _make(facts: Mapping[str, Any], last: _Made) -> _Made:
    """Compare the serialized message, which takes a quarter of the time of its JSON."""
    message = status_pb2.GetStatusResponse(**facts)
    raw = message.SerializeToString(deterministic=True)
    tag = hashlib.blake2b(raw, digest_size=_TAG_BYTES).hexdigest()
    if tag == last.tag:
        return last
    data = as_data(message)
    return _Made(tag, json.dumps({key: data[key] for key in facts}).encode())


def _page() -> tuple[str, str]:
    """The document and its policy: its own script, style and icon, and requests to this server."""
    folder = files("xds_server.server")
    page, style, script = (
        folder.joinpath(f"page.{kind}").read_text(encoding="utf-8") for kind in ("html", "css", "js")
    )
    text = page.replace("<style></style>", f"<style>{style}</style>")
    text = text.replace("></script>", f">{script}</script>")
    policy = (
        f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; img-src data:;"
        " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return text, policy


def _hash(content: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
