"""The server: listens, routes requests, and writes errors as a Status.

It listens on loopback and requires no credentials. It rejects what a web page could make a browser send: a
foreign Host header (DNS rebinding), and bodies with the content types of forms (`bodies`).
"""

import asyncio
import traceback
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Final, NamedTuple, Self

import structlog
from aiohttp import web

from xds_server.base.address import Address
from xds_server.base.errors import XdsShadowError
from xds_server.local.kubeapi import bodies, discovery, errors, openapi, paths
from xds_server.local.kubeapi.errors import StatusError
from xds_server.local.kubeapi.handlers import Handlers, Settings, verb_of
from xds_server.local.kubeapi.registry import Registry, utc_now
from xds_server.local.kubeapi.store import Store

LOCAL_NAMES: Final = ("localhost", "127.0.0.1", "::1")

_HEALTH: Final = ("healthz", "livez", "readyz")
_CLOSE_S: Final = 1.0
_BACKLOG: Final = 4096
"""The listen backlog. A client whose connection finds no place retries only after a second, and a client with
hundreds of watches opens as many connections at once."""
_EXPIRE_EVERY_S: Final = 60.0

_log = structlog.stdlib.get_logger(__name__)


class Call(NamedTuple):
    """A request for a resource in RBAC's terms."""

    user_agent: str
    verb: str
    group: str
    resource: str
    subresource: str
    namespace: str
    name: str


def _named_by(field_selector: str) -> str:
    """The name that a list or watch selects by field selector, which RBAC uses as the request's name;
    otherwise empty."""
    prefix = "metadata.name="
    return field_selector.removeprefix(prefix) if field_selector.startswith(prefix) else ""


class EmbeddedApi:
    """Serves a store. A context manager; `url` is set on entering.

    `audit` is called with each request for a resource. `any_host` accepts any Host header, for a server that
    intentionally listens on more than loopback.

    Raises:
        XdsShadowError: on entering, if the address cannot be listened on.
    """

    def __init__(
        self,
        store: Store,
        *,
        address: tuple[str, int] = ("127.0.0.1", 0),
        audit: Callable[[Call], None] | None = None,
        settings: Settings | None = None,
        any_host: bool = False,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self.address = Address(*address)
        self._settings = settings or Settings()
        self._audit = audit
        self._hosts = None if any_host else {*LOCAL_NAMES, self.address.host}
        self._now = now
        self._registry = Registry(store, now=now)
        self._registry.ensure_namespaces()
        self._handlers = Handlers(store, self._registry, self._settings, now)
        self._runner: web.AppRunner | None = None
        self._expiry: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """The base URL, without a trailing slash."""
        return f"http://{self.address}"

    @property
    def watching(self) -> list[str]:
        """The resource of each open watch."""
        return sorted(watch.resource.plural for watch in self._handlers.watches)

    def end_watches(self) -> None:
        """End every open watch cleanly, as the API server does at a watch's timeout."""
        for watch in self._handlers.watches:
            watch.end()

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=bodies.LIMIT)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(
            app, access_log=None, handler_cancellation=True, shutdown_timeout=_CLOSE_S
        )
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, *self.address, backlog=_BACKLOG).start()
        except OSError as error:
            await self._runner.cleanup()
            raise XdsShadowError(
                f"cannot listen on {self.address}: the address may be in use; select another with --listen"
            ) from error
        self.address = Address(self.address.host, self._runner.addresses[0][1])
        self._expiry = asyncio.create_task(self._expire_events(), name="xds-shadow/kube-events")
        return self

    async def __aexit__(self, *_error: object) -> None:
        if self._expiry:
            self._expiry.cancel()
            with suppress(asyncio.CancelledError):
                await self._expiry
        self.end_watches()
        if self._runner:
            await self._runner.cleanup()

    async def _expire_events(self) -> None:
        kept = timedelta(seconds=self._settings.events_kept_for)
        while True:
            await asyncio.sleep(min(_EXPIRE_EVERY_S, self._settings.events_kept_for))
            self._registry.expire_events(self._now() - kept)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        try:
            self._check_host(request)
            return await self._route(request)
        except StatusError as error:
            return bodies.error_response(error)
        except RecursionError:
            return bodies.error_response(errors.bad_request("the request's body is nested too deep"))
        except Exception:  # noqa: BLE001  a bug costs one request, not the server
            # Not as `exc_info`, whose output may include local variables, which hold Secrets.
            trace = traceback.format_exc()
            _log.error("request failed", method=request.method, path=request.path, traceback=trace)
            return bodies.error_response(errors.internal())

    def _check_host(self, request: web.Request) -> None:
        """Reject a foreign Host header: a web page whose name was rebound to this address sends its own
        name."""
        given = request.headers.get("Host", "")
        host = given.partition("]")[0][1:] if given.startswith("[") else given.partition(":")[0]
        if self._hosts is not None and host.lower() not in self._hosts:
            text = f"forbidden: the Host {given!r} is not this server's; use localhost"
            raise StatusError(HTTPStatus.FORBIDDEN, "Forbidden", text)

    async def _route(self, request: web.Request) -> web.StreamResponse:
        parts = paths.segments(request.rel_url.raw_path)
        target = paths.parse(parts)
        if target is None:
            found = self._about(parts, request)
            if found is None:
                raise errors.no_such_path()
            if request.method != "GET":
                raise errors.method_not_allowed()
            return found
        verb = verb_of(request.method, target, request.query)
        if self._audit:
            kind = target.resource
            agent = request.headers.get("User-Agent", "")
            name = target.name or _named_by(request.query.get("fieldSelector", ""))
            where = (target.subresource, target.namespace, name)
            self._audit(Call(agent, verb, kind.group, kind.plural, *where))
        return await self._handlers.handle(verb, target, request)

    def _about(self, parts: list[str], request: web.Request) -> web.Response | None:
        """Non-resource paths: health, versions, discovery and schemas; None for any other path."""
        aggregated = "as=APIGroupDiscoveryList" in request.headers.get("Accept", "")
        match parts:
            case [check] if check in _HEALTH:
                return web.Response(text="ok")
            case ["api" | "apis"] if aggregated:
                listed = discovery.aggregated(core=parts == ["api"])
                return bodies.document(listed, discovery.AGGREGATED)
        doc = openapi.document(parts) or discovery.document(parts)
        return bodies.document(doc) if doc is not None else None
