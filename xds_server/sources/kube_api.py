"""List and watch over HTTP: raw bodies out, one kind of error.

The client's deserializer is left aside (`wire` decodes). When to try again is `reflector`'s; the one retry
here follows renewed credentials, of which nobody above has to know.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import structlog
from kubernetes.aio.client import ApiClient
from kubernetes.aio.config import ConfigException

from xds_server.model.problems import Problem
from xds_server.sources.kube_query import UNAUTHORIZED, ApiError, Query, refused, unreachable
from xds_server.sources.kube_session import Connect, Session, Sessions
from xds_server.sources.wire import decode_status

_PAGE_SIZE = 500
"""Objects a page, as client-go asks for."""

_OK = 200

_NETWORK_ERRORS = (aiohttp.ClientError, TimeoutError, OSError)

log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """All durations of the Kubernetes source, in seconds.

    A watch is asked to end after `watch`; a connection on which nothing came for `silence` longer than that
    is dead, as is a list on which nothing came for `read`. Failures are tried again after `backoff_base`,
    doubled up to `backoff_cap`. For `renew_after` see `Sessions.renew`.
    """

    watch: int = 120
    silence: float = 15.0
    connect: float = 10.0
    read: float = 60.0
    backoff_base: float = 0.2
    backoff_cap: float = 30.0
    renew_after: float = 10.0


@dataclass(frozen=True, slots=True)
class _Call:
    """One GET request. `verb` is what RBAC calls it."""

    query: Query
    verb: str
    parameters: list[tuple[str, str]]
    limits: aiohttp.ClientTimeout


class KubeApi:
    """An API server that can be asked. Use `open`, and `close` in the end."""

    def __init__(self, sessions: Sessions, timing: Timing) -> None:
        self._sessions = sessions
        self._timing = timing

    @classmethod
    async def open(cls, connect: Connect, timing: Timing) -> "KubeApi":
        """Raises `SourceError`."""
        return cls(await Sessions.open(connect, timing.renew_after), timing)

    async def close(self) -> None:
        """Close the session; whoever still uses it has been cancelled."""
        await self._sessions.close()

    async def page(self, query: Query, token: str) -> bytes:
        """The body of one page of a list; `token` is empty for the first. Raises `ApiError`."""
        parameters = [*query.selectors, ("limit", str(_PAGE_SIZE))]
        if token:
            parameters.append(("continue", token))
        limits = aiohttp.ClientTimeout(sock_connect=self._timing.connect, sock_read=self._timing.read)
        async with self._get(_Call(query, "list", parameters, limits)) as response:
            try:
                return await response.read()
            except _NETWORK_ERRORS as error:
                raise unreachable(query, "list", error) from error

    @asynccontextmanager
    async def watch(self, query: Query, version: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """The lines of a watch that starts after `version`. They end when the server ends the watch and when
        the connection breaks, which mean the same: go on at the last version. Raises `ApiError`."""
        parameters = [
            *query.selectors,
            ("watch", "true"),
            ("allowWatchBookmarks", "true"),
            ("resourceVersion", version),
            ("timeoutSeconds", str(self._timing.watch)),
        ]
        silence = self._timing.watch + self._timing.silence
        limits = aiohttp.ClientTimeout(sock_connect=self._timing.connect, sock_read=silence)
        async with (
            self._get(_Call(query, "watch", parameters, limits)) as response,
            aclosing(_lines(response.content)) as lines,
        ):
            yield lines

    @asynccontextmanager
    async def _get(self, call: _Call) -> AsyncIterator[aiohttp.ClientResponse]:
        session = self._sessions.current
        async with _send(session, call) as response:
            if response.status == _OK:
                yield response
                return
            error = await _refused(call, response)
        if error.status != UNAUTHORIZED or not await self._sessions.renew(session):
            raise error
        async with _send(self._sessions.current, call) as response:
            if response.status != _OK:
                raise await _refused(call, response)
            yield response


@asynccontextmanager
async def _send(session: Session, call: _Call) -> AsyncIterator[aiohttp.ClientResponse]:
    async with session.use() as client:
        response = await _request(client, call)
        try:
            yield response
        finally:
            response.close()


async def _request(client: ApiClient, call: _Call) -> aiohttp.ClientResponse:
    try:
        method, url, headers, _, _ = await client.param_serialize(
            "GET",
            call.query.path,
            query_params=call.parameters,
            header_params={"Accept": "application/json"},
            auth_settings=["BearerToken"],
        )
        answer: Any = await client.call_api(method, url, headers, _request_timeout=call.limits)
    except ConfigException as error:
        message = f"The service account's token cannot be read ({error}); check how it is mounted."
        raise ApiError(0, Problem("", "Unauthorized", message, call.query.origin)) from error
    except _NETWORK_ERRORS as error:
        raise unreachable(call.query, call.verb, error) from error
    response: aiohttp.ClientResponse = answer.response
    return response


async def _refused(call: _Call, response: aiohttp.ClientResponse) -> ApiError:
    try:
        detail = decode_status(await response.read()).message
    except _NETWORK_ERRORS:
        detail = ""
    return refused(call.query, call.verb, response.status, detail)


async def _lines(content: aiohttp.StreamReader) -> AsyncGenerator[bytes, None]:
    """Complete lines of any length. A last line that was cut off is dropped: the next watch repeats it."""
    parts: list[bytes] = []
    try:
        async for chunk in content.iter_any():
            head, *more = chunk.split(b"\n")
            parts.append(head)
            for rest in more:
                yield b"".join(parts)
                parts = [rest]
    except _NETWORK_ERRORS as error:
        log.debug("watch broke off", error=str(error))
