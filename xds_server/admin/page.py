"""The live page and the JSON that it is made of: what `status` says, for a browser. Read-only.

The page is one file without anything from elsewhere, and its policy lets it load nothing and talk to nobody
but this server.
"""

import base64
import hashlib
import re
from collections.abc import Callable
from importlib.resources import files
from typing import Any, Final

from aiohttp import web
from google.protobuf.json_format import MessageToDict

from xds_server.pb import status_pb2

_PAGE: Final = files("xds_server.admin").joinpath("page.html").read_text(encoding="utf-8")
Status = Callable[[], status_pb2.GetStatusResponse]


def routes(status: Status) -> list[web.RouteDef]:
    """``/`` and ``/api/v1/{shadows,nodes,config}``."""

    def answering(*keys: str) -> Callable[[web.Request], Any]:
        async def answer(_request: web.Request) -> web.Response:
            found = MessageToDict(
                status(), preserving_proto_field_name=True, always_print_fields_with_no_presence=True
            )
            return web.json_response({key: found.get(key, {}) for key in keys}, headers=_HEADERS)

        return answer

    async def page(_request: web.Request) -> web.Response:
        return web.Response(text=_PAGE, content_type="text/html", headers=_HEADERS | {_POLICY: _policy()})

    return [
        web.get("/", page),
        web.get("/api/v1/shadows", answering("shadows")),
        web.get("/api/v1/nodes", answering("nodes")),
        web.get("/api/v1/config", answering("server", "problems", "changes")),
    ]


_POLICY: Final = "Content-Security-Policy"
_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def _policy() -> str:
    """Nothing but the page's own script and style, by their hashes, and questions to this server."""
    script, style = (_hash(tag) for tag in ("script", "style"))
    return (
        f"default-src 'none'; script-src {script}; style-src {style}; connect-src 'self';"
        " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def _hash(tag: str) -> str:
    [content] = re.findall(rf"<{tag}>(.*?)</{tag}>", _PAGE, re.DOTALL)
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
