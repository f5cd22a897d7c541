"""Verdicts over HTTP, for programs: a JSON API, and the webhook that Flagger calls.

Nothing here changes anything. `--http-address` on loopback serves it to the programs of this machine. On
another address it needs ``--api``, because it tells more than the metrics: groups of requests, and fields of
bodies. The webhook is called from inside the cluster, by a name of a Service. So besides the names of the
page it accepts names that end in ``.svc`` or in ``.svc.`` and a cluster domain: no foreign web page can have
such a name, which is what `hosts` guards against.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Collection, Mapping
from http import HTTPStatus
from typing import Any, Final

from aiohttp import web

from xds_server.base.errors import AmbiguousNameError, UnknownNameError, UsageError, XdsShadowError
from xds_server.base.text import plain, shown
from xds_server.core.verdict.judgement import Terms, Verdict
from xds_server.core.workload_names import kind_called
from xds_server.server.hosts import is_ours, without_port
from xds_server.server.openapi import document
from xds_server.server.plain import one_verdict, with_numbers
from xds_server.server.terms import share, terms
from xds_server.server.verdict_messages import message_of
from xds_server.server.verdict_report import DEFAULT_TERMS, VerdictReport
from xds_server.server.verdicts import Verdicts

MOST_REQUESTS: Final = 32
"""At one time. A verdict takes milliseconds of the process that serves the Envoys."""

MOST_BODY: Final = 16 * 1024
_BODY_S: Final = 5.0
_LONGEST_HOST: Final = 100
_LONGEST_SENTENCE: Final = 1_000
_LONGEST_NUMBER: Final = 20
_HEADERS: Final = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}
_STATUS: Final[Mapping[type[XdsShadowError], HTTPStatus]] = {
    UnknownNameError: HTTPStatus.NOT_FOUND,
    AmbiguousNameError: HTTPStatus.CONFLICT,
    UsageError: HTTPStatus.BAD_REQUEST,
}
_UNLESS_WORSE: Final = "pass-unless-worse"
_TERMS: Final = ("alpha", "tolerance", "min-pairs")
_Handler = Callable[[web.Request], Awaitable[web.Response]]


class Api:
    """The routes. `known` says whether the shadows are known yet; `hosts` are further names of the page and
    `cluster_domains` those of the cluster's DNS."""

    def __init__(
        self,
        verdicts: Verdicts,
        *,
        known: Callable[[], bool],
        hosts: Collection[str],
        cluster_domains: Collection[str],
    ) -> None:
        self._verdicts = verdicts
        self._known = known
        self._hosts = hosts
        self._endings = (".svc", *(f".svc.{domain}" for domain in cluster_domains))
        self._requests = 0

    def routes(self) -> list[web.RouteDef]:
        """``/api/v1/verdicts…``, ``/api/v1/openapi.json`` and ``/hooks/flagger``."""
        return [
            self._route("GET", "/api/v1/openapi.json", self._document, _json),
            self._route("GET", "/api/v1/verdicts", self._all, _json),
            self._route("GET", "/api/v1/verdicts/{namespace}/{name}", self._one, _json),
            self._route("GET", "/api/v1/verdicts/{namespace}/{kind}/{name}", self._one, _json),
            self._route("POST", "/hooks/flagger", self._flagger, _sentence),
        ]

    def _route(
        self, method: str, path: str, handler: _Handler, error: Callable[[HTTPStatus, str], web.Response]
    ) -> web.RouteDef:
        """A route whose errors have the form that `error` makes of them."""

        async def handle(request: web.Request) -> web.Response:
            if request.method not in (method, "HEAD" if method == "GET" else method):
                response = error(HTTPStatus.METHOD_NOT_ALLOWED, f"the method of {path} is {method}")
                response.headers["Allow"] = method
                return response
            if not self._is_ours(request):
                name = plain(request.headers.get("Host", ""), _LONGEST_HOST)
                message = f"Host {name!r} is not a name of this server; add it with --page-host"
                return error(HTTPStatus.MISDIRECTED_REQUEST, message)
            if self._requests >= MOST_REQUESTS:
                return error(HTTPStatus.TOO_MANY_REQUESTS, f"{MOST_REQUESTS} requests are being answered")
            self._requests += 1
            try:
                return await handler(request)
            except web.HTTPException as answer:
                return error(HTTPStatus(answer.status), answer.text or answer.reason)
            except XdsShadowError as problem:
                return error(_STATUS[type(problem)], str(problem))
            finally:
                self._requests -= 1

        return web.route("*", path, handle)

    def _is_ours(self, request: web.Request) -> bool:
        host, listening = request.headers.get("Host", ""), request.get_extra_info("sockname")[0]
        return is_ours(host, listening, self._hosts) or without_port(host).lower().endswith(self._endings)

    async def _document(self, _request: web.Request) -> web.Response:
        return _json_response(document())

    async def _all(self, request: web.Request) -> web.Response:
        self._check_known()
        report = await self._verdicts.all(_terms_in(request.query))
        # In a thread: a thousand verdicts take seconds.
        return await asyncio.to_thread(lambda: _json_response(with_numbers(message_of(report))))

    async def _one(self, request: web.Request) -> web.Response:
        names = request.match_info
        wanted = _terms_in(request.query)
        report = await self._report(names["namespace"], names["name"], names.get("kind", ""), wanted)
        return _json_response(one_verdict(message_of(report)))

    async def _flagger(self, request: web.Request) -> web.Response:
        """200 if the canary passes. Otherwise 412 with a sentence: Flagger shows the body of a 4xx as its
        Event, and repeats after a 5xx, whose body it drops."""
        payload = await _payload(request)
        metadata = payload.get("metadata") or {}
        if not isinstance(metadata, dict):
            raise UsageError("metadata is not an object")
        namespace, name = payload.get("namespace"), metadata.get("name", payload.get("name"))
        kind = metadata.get("kind", "")
        if not all(isinstance(each, str) for each in (namespace, name, kind)) or not (namespace and name):
            raise UsageError("the body needs a name and a namespace")
        if (unless_worse := metadata.get(_UNLESS_WORSE, "false")) not in ("true", "false"):
            raise UsageError(f'{_UNLESS_WORSE} {shown(str(unless_worse))} is neither "true" nor "false"')
        report = await self._report(str(namespace), str(name), str(kind), _terms_in(metadata))
        [found] = report.shadows
        passing = [Verdict.NO_WORSE]
        if unless_worse == "true":
            passing += [Verdict.TOO_EARLY, Verdict.BLIND]
        status = HTTPStatus.OK if found.verdict in passing else HTTPStatus.PRECONDITION_FAILED
        missing = "".join(f" Replica {each.name}: {each.problem}." for each in report.missing)
        return _sentence(status, f"{found.verdict}: {found.message}{missing}")

    async def _report(self, namespace: str, name: str, kind: str, wanted: Terms) -> VerdictReport:
        self._check_known()
        workload = kind_called(kind)
        if kind and workload is None:
            raise UsageError(f"{shown(kind)} is no kind of workload, such as deployment or statefulset")
        found = self._verdicts.find(namespace, name, workload or "")
        return await self._verdicts.judge([found], wanted)

    def _check_known(self) -> None:
        if not self._known():
            raise web.HTTPServiceUnavailable(text="shadows are not known yet: the first list is not complete")


async def _payload(request: web.Request) -> dict[str, Any]:
    try:
        async with asyncio.timeout(_BODY_S):
            body = await request.content.read(MOST_BODY + 1)
            while len(body) <= MOST_BODY and (more := await request.content.read(MOST_BODY + 1 - len(body))):
                body += more
    except TimeoutError:
        raise web.HTTPRequestTimeout(text=f"the body did not arrive within {_BODY_S:.0f} s") from None
    if len(body) > MOST_BODY:
        raise web.HTTPRequestEntityTooLarge(MOST_BODY, len(body), text=f"the body exceeds {MOST_BODY} bytes")
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        raise UsageError("the body is not JSON") from None
    if not isinstance(found, dict):
        raise UsageError("the body is not a JSON object")
    return found


def _terms_in(values: Mapping[str, Any]) -> Terms:
    """The terms that the query, or the metadata of a webhook, asks for."""
    alpha, tolerance, pairs = (values.get(name) for name in _TERMS)
    if pairs is not None and not (isinstance(pairs, str) and pairs.isascii() and pairs.isdecimal()):
        raise UsageError(f"min-pairs {shown(str(pairs))} is not a number such as 1000")
    return terms(
        DEFAULT_TERMS.alpha if alpha is None else share(str(alpha), "alpha"),
        DEFAULT_TERMS.tolerance if tolerance is None else share(str(tolerance), "tolerance"),
        DEFAULT_TERMS.min_pairs if pairs is None else int(pairs[:_LONGEST_NUMBER]),
    )


def _json(status: HTTPStatus, message: str) -> web.Response:
    return _json_response({"error": plain(message, _LONGEST_SENTENCE)}, status)


def _json_response(data: Mapping[str, Any], status: HTTPStatus = HTTPStatus.OK) -> web.Response:
    return web.json_response(data, status=status, headers=_HEADERS)


def _sentence(status: HTTPStatus, message: str) -> web.Response:
    return web.Response(status=status, text=f"{plain(message, _LONGEST_SENTENCE)}\n", headers=_HEADERS)
