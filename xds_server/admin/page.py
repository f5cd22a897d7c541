"""The live page and the JSON that it is made of: what `status` says, for a browser. Read-only.

The page is one file without anything from elsewhere, and its policy lets it load nothing and talk to nobody
but this server.
"""

import base64
import hashlib
import re
from collections.abc import Iterable
from importlib.resources import files
from typing import Final, Protocol

from aiohttp import web

from xds_server.admin.plain import as_data
from xds_server.pb import status_pb2

_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class Status(Protocol):
    """Who knows what is shown."""

    def overview(self) -> status_pb2.GetStatusResponse: ...
    def nodes(self) -> Iterable[status_pb2.Node]: ...


def routes(status: Status) -> list[web.RouteDef]:
    """``/`` and ``/api/v1/{shadows,nodes,config}``."""
    text = files("xds_server.admin").joinpath("page.html").read_text(encoding="utf-8")
    headers = _HEADERS | {"Content-Security-Policy": _policy(text)}

    async def page(_request: web.Request) -> web.Response:
        return web.Response(text=text, content_type="text/html", headers=headers)

    async def shadows(_request: web.Request) -> web.Response:
        return _answer(status_pb2.GetStatusResponse(shadows=status.overview().shadows), "shadows")

    async def nodes(_request: web.Request) -> web.Response:
        return _answer(status_pb2.GetStatusResponse(nodes=status.nodes()), "nodes")

    async def config(_request: web.Request) -> web.Response:
        found = status.overview()
        found.ClearField("shadows")
        return _answer(found, "server", "problems", "changes")

    return [
        web.get("/", page),
        web.get("/api/v1/shadows", shadows),
        web.get("/api/v1/nodes", nodes),
        web.get("/api/v1/config", config),
    ]


def _answer(found: status_pb2.GetStatusResponse, *keys: str) -> web.Response:
    data = as_data(found)
    return web.json_response({key: data[key] for key in keys}, headers=_HEADERS)


def _policy(page: str) -> str:
    """Nothing but the page's own script and style, by their hashes, and questions to this server."""
    script, style = (_hash(page, tag) for tag in ("script", "style"))
    return (
        f"default-src 'none'; script-src {script}; style-src {style}; connect-src 'self';"
        " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def _hash(page: str, tag: str) -> str:
    [content] = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
