"""List and watch over HTTP. Bodies are raw; every failure is an `ApiError`.

`watch_events` decodes the bodies, and `reflector` retries.
"""

import random
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass

import aiohttp
import structlog

from xds_server.core.conditions import NO_SUBJECT, Condition, Reason
from xds_server.core.decode import DecodeError, unreadable
from xds_server.core.objects import Kind
from xds_server.kube.client import (
    NETWORK_ERRORS,
    OK,
    UNAUTHORIZED,
    Call,
    CredentialsError,
    KubeClient,
    UnreachableError,
    cause_of,
    retry_after,
)
from xds_server.kube.query import ApiError, Query, rejection, unreachable
from xds_server.kube.session import Connect
from xds_server.kube.watch_events import decode_status

_PAGE_SIZE = 500
"""Objects of a page, as in client-go."""

_MAX_LINE = 16 << 20
"""Bytes of one event of a watch. An object in etcd has 1.5 MiB at most by default."""

_MAX_PAGE = 256 << 20
"""Bytes of one page of a list: more than a page of the largest EndpointSlices."""

_MAX_ERROR = 64 << 10
"""Bytes of an error's body that are read."""

_SPREAD = (0.7, 1.0)

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """The durations of the Kubernetes source, in seconds. A watch is requested for `watch` seconds or a
    little less, so that not all end together, and a watch of Pods for `watch_pods`. A connection on which
    nothing arrives for `silence` longer than that is dead, and so is a list on which nothing arrives for
    `read`. So a new Pod of a canary stays unseen for `watch_pods` and `silence` at most if a connection
    stalls, which looks the same as a connection on which nothing happens. A failure is retried after
    `backoff_base`, doubled up to `backoff_cap`. After an outage, changes are held for `regroup` at most
    (`outage`). A query that is not essential is left out only after it was forbidden for `give_up_after`,
    because an API server that starts responds with 403 to all requests for a moment. For `reopen_pods` see
    `PodGate`, for `renew_after` see `Sessions.renew`. A kind that the server does not have is listed again
    after `retry_absent`."""

    watch: int = 120
    watch_pods: int = 30
    reopen_pods: float = 1.0
    silence: float = 15.0
    connect: float = 10.0
    read: float = 60.0
    backoff_base: float = 0.2
    backoff_cap: float = 30.0
    regroup: float = 5.0
    give_up_after: float = 60.0
    renew_after: float = 10.0
    retry_absent: float = 60.0


class KubeApi:
    """The list and watch requests of a source. Create it with `open`, and call `close` in the end."""

    def __init__(self, client: KubeClient, timing: Timing) -> None:
        self._client = client
        self._timing = timing

    @classmethod
    async def open(cls, connect: Connect, timing: Timing) -> "KubeApi":
        """Raises `SourceError`."""
        return cls(await KubeClient.open(connect, timing.renew_after), timing)

    async def close(self) -> None:
        """Close the session. Requests that still use it were cancelled."""
        await self._client.close()

    @property
    def server(self) -> str:
        """The server's URL."""
        return self._client.server

    async def page(self, query: Query, token: str) -> bytes:
        """The body of one page of a list. `token` is empty for the first page. Raises `ApiError`, and
        `DecodeError` if the page is too large."""
        parameters = [*query.selectors, ("limit", str(_PAGE_SIZE))]
        if token:
            parameters.append(("continue", token))
        async with self._get(query, "list", parameters, silence=self._timing.read) as response:
            try:
                body = await _read(response.content, _MAX_PAGE)
            except NETWORK_ERRORS as error:
                raise unreachable(cause_of(error)) from error
        if len(body) > _MAX_PAGE:
            raise _too_long(query, f"a page of more than {_MAX_PAGE} bytes")
        return body

    @asynccontextmanager
    async def watch(self, query: Query, version: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """The lines of a watch that starts after `version`. They end when the server ends the watch and when
        the connection breaks; both mean that the watch resumes at the last version. Raises `ApiError`, and
        `DecodeError` for a line that is too long."""
        async with self._stream(query, [("resourceVersion", version)]) as lines:
            yield lines

    @asynccontextmanager
    async def streaming_list(self, query: Query) -> AsyncIterator[AsyncIterator[bytes]]:
        """The lines of a watch that begins with every object and a bookmark, and continues as any other
        (Kubernetes' streaming lists). The server never builds the whole list at once. Raises `ApiError`, with
        400 or 422 if the server does not support it."""
        parameters = [("sendInitialEvents", "true"), ("resourceVersionMatch", "NotOlderThan")]
        async with self._stream(query, parameters) as lines:
            yield lines

    @asynccontextmanager
    async def _stream(
        self, query: Query, parameters: list[tuple[str, str]]
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        longest = self._timing.watch_pods if query.kind is Kind.POD else self._timing.watch
        lasts = max(1, round(longest * random.uniform(*_SPREAD)))  # noqa: S311 - guards nothing
        parameters = [
            *query.selectors,
            ("watch", "true"),
            ("allowWatchBookmarks", "true"),
            ("timeoutSeconds", str(lasts)),
            *parameters,
        ]
        async with (
            self._get(query, "watch", parameters, silence=lasts + self._timing.silence) as response,
            aclosing(_lines(query, response.content)) as lines,
        ):
            yield lines

    @asynccontextmanager
    async def _get(
        self, query: Query, verb: str, parameters: list[tuple[str, str]], *, silence: float
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """`verb` is the verb of the request in RBAC."""
        limits = aiohttp.ClientTimeout(sock_connect=self._timing.connect, sock_read=silence)
        call = Call(path=query.path, parameters=parameters, limits=limits)
        try:
            async with self._client.request(call) as response:
                if response.status != OK:
                    raise await _rejection(query, verb, response)
                yield response
        except UnreachableError as error:
            raise unreachable(str(error)) from error
        except CredentialsError as error:
            message = f"The service account's token cannot be read ({error}); check how it is mounted."
            raise ApiError(
                UNAUTHORIZED, Condition(NO_SUBJECT, Reason.UNAUTHORIZED, message, origin=query.origin)
            ) from error


async def _rejection(query: Query, verb: str, response: aiohttp.ClientResponse) -> ApiError:
    try:
        detail = decode_status(await _read(response.content, _MAX_ERROR)).message
    except NETWORK_ERRORS:
        detail = ""
    error = rejection(query, verb, response.status, detail)
    error.retry_after = retry_after(response)
    return error


async def _read(content: aiohttp.StreamReader, most: int) -> bytes:
    """The body, or one byte more than `most` of it."""
    parts: list[bytes] = []
    size = 0
    async for chunk in content.iter_any():
        parts.append(chunk)
        size += len(chunk)
        if size > most:
            break
    return b"".join(parts)[: most + 1]


def _too_long(query: Query, what: str) -> DecodeError:
    return DecodeError(unreadable(None, query.origin, what))


async def _lines(query: Query, content: aiohttp.StreamReader) -> AsyncGenerator[bytes, None]:
    """Complete lines. A last line that was cut off is dropped; the next watch repeats it."""
    parts: list[bytes] = []
    size = 0
    try:
        async for chunk in content.iter_any():
            head, *more = chunk.split(b"\n")
            parts.append(head)
            size += len(head)
            for rest in more:
                yield b"".join(parts)
                parts, size = [rest], len(rest)
            if size > _MAX_LINE:
                raise _too_long(query, f"an event of more than {_MAX_LINE} bytes")
    except NETWORK_ERRORS as error:
        _log.debug("watch broke off", error=str(error))
