"""The HTTP handlers of the verbs: each parses its request, calls the `store` or the `registry`, and writes
the response."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any, Final

import msgspec
from aiohttp import web

from xds_server.local.kubeapi import bodies, options, patch, selectors, strategic, views
from xds_server.local.kubeapi.admission import Place
from xds_server.local.kubeapi.doc import Doc, metadata
from xds_server.local.kubeapi.errors import (
    StatusError,
    from_the_future,
    invalid_options,
    method_not_allowed,
    too_many,
)
from xds_server.local.kubeapi.history import Entry, Key
from xds_server.local.kubeapi.options import ListOptions, Token
from xds_server.local.kubeapi.paths import Target
from xds_server.local.kubeapi.registry import Registry, WriteOptions, scale_of
from xds_server.local.kubeapi.schemas import FieldValidation
from xds_server.local.kubeapi.store import Page, Store
from xds_server.local.kubeapi.watch import INITIAL_END, Pace, Watch, stream

_ON_OBJECTS: Final = {"GET": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_ON_COLLECTIONS: Final = {"GET": "list", "POST": "create", "DELETE": "deletecollection"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Settings that tests change. Times are in seconds.

    `streams` says whether streaming lists are supported. With `gone_as_status`, a watch at an expired version
    fails with HTTP 410, as with some proxies and older servers, instead of an ERROR event. `capacity` is how
    many events may wait for one watch, and `stalled` how long its client may take none.
    """

    bookmarks_every: float = 60.0
    watch_for: tuple[float, float] = (1800.0, 3600.0)  # if the client does not set a timeout; chosen randomly
    streams: bool = True
    gone_as_status: bool = False
    capacity: int = 10_000
    stalled: float = 30.0
    watches: int = 1_000
    events_kept_for: float = 3600.0


def verb_of(method: str, target: Target, query: options.Parameters) -> str:
    """The verb of the request in RBAC's terms. Raises 405."""
    verb = (_ON_OBJECTS if target.name else _ON_COLLECTIONS).get(method)
    if verb is None or (verb == "create" and not target.creatable):
        raise method_not_allowed()
    if verb == "delete" and target.subresource:
        raise method_not_allowed()
    if verb == "list" and query.get("watch", "false") not in ("false", "0"):
        return "watch"
    return verb


class Handlers:
    """Handles requests for resources. Methods raise `StatusError`."""

    def __init__(
        self, store: Store, registry: Registry, settings: Settings, now: Callable[[], datetime]
    ) -> None:
        self.watches: set[Watch] = set()
        self._store = store
        self._registry = registry
        self._settings = settings
        self._now = now

    async def handle(self, verb: str, target: Target, request: web.Request) -> web.StreamResponse:
        """Handle one request; `verb` is the result of `verb_of`."""
        answers: Mapping[str, Callable[[Target, web.Request], Awaitable[web.StreamResponse]]] = {
            "get": self._get,
            "list": self._list,
            "watch": self._watch,
            "create": self._create,
            "update": self._update,
            "patch": self._patch,
            "delete": self._delete,
            "deletecollection": self._delete_all,
        }
        return await answers[verb](target, request)

    # --- reading ---------------------------------------------------------------------------------------

    async def _get(self, target: Target, request: web.Request) -> web.Response:
        self._check_reached(options.list_options(request.query, streams=True).version)
        entry = self._store.get(target.resource, Key(target.namespace, target.name))
        return self._answer(entry, target, request)

    async def _list(self, target: Target, request: web.Request) -> web.Response:
        asked = options.list_options(request.query, streams=True)
        view = self._view(request)
        matches = selectors.parse(target.resource, asked.labels, asked.fields)
        at = asked.version if asked.match == options.EXACT else None
        if at is None:
            self._check_reached(asked.version)
        page = self._store.list(
            target.resource,
            namespace=target.namespace,
            matches=matches,
            limit=asked.limit,
            after=asked.token.key if asked.token else None,
            at=asked.token.version if asked.token else at,
        )
        token = Token(page.version, *page.last).text() if page.last else ""
        return bodies.answer(view.many(target.resource, page, token), content_type=view.content_type)

    async def _watch(self, target: Target, request: web.Request) -> web.StreamResponse:
        asked = options.list_options(request.query, streams=self._settings.streams)
        if len(self.watches) >= self._settings.watches:
            raise too_many(f"there are {len(self.watches)} open watches already")
        watch = Watch(
            target.resource,
            self._view(request),
            selectors.parse(target.resource, asked.labels, asked.fields),
            bookmarks=asked.bookmarks,
            capacity=self._settings.capacity,
        )
        try:
            self._start(watch, target, asked)
        except StatusError as error:
            if self._settings.gone_as_status or error.code != HTTPStatus.GONE:
                raise
            watch.fail(error)
        unsubscribe = self._store.subscribe(target.resource, target.namespace, watch.take)
        self.watches.add(watch)
        try:
            return await self._tell(watch, request, asked.timeout)
        finally:
            self.watches.discard(watch)
            unsubscribe()

    def _start(self, watch: Watch, target: Target, asked: ListOptions) -> None:
        """The events at the start of a watch. There must be no await between this and subscribing."""
        if asked.initial or (asked.initial is None and not asked.version):
            self._check_reached(asked.version)
            page = self._store.list(target.resource, namespace=target.namespace, matches=watch.matches)
            watch.start(page.entries)
            if asked.initial:
                watch.bookmark(page.version, INITIAL_END)
        elif asked.version:
            for step in self._store.events_since(target.resource, asked.version):
                if target.namespace in ("", step.key.namespace):
                    watch.take(step)

    async def _tell(self, watch: Watch, request: web.Request, seconds: int | None) -> web.StreamResponse:
        settings = self._settings
        lasts = seconds or random.uniform(*settings.watch_for)  # noqa: S311  spreads load
        response = web.StreamResponse(headers={"Content-Type": watch.view.content_type})
        try:
            await response.prepare(request)
            pace = Pace(lasts, settings.bookmarks_every, settings.stalled)
            await stream(watch, response, pace, lambda: self._store.version)
            await response.write_eof()
        except TimeoutError:
            if isinstance(request.transport, asyncio.Transport):
                request.transport.abort()
        except ConnectionError:
            pass  # the client disconnected, which is how watches usually end
        return response

    def _check_reached(self, version: int | None) -> None:
        if version and version > self._store.version:
            raise from_the_future(version, self._store.version)

    # --- writing ---------------------------------------------------------------------------------------

    async def _create(self, target: Target, request: web.Request) -> web.Response:
        how = _write_options(request)
        known = FieldValidation(target.resource, how.validation)
        entry = self._registry.create(_place(target), known(await bodies.read_object(request)), how)
        return self._answer(entry, target, request, HTTPStatus.CREATED, known.warnings)

    async def _update(self, target: Target, request: web.Request) -> web.Response:
        how = _write_options(request)
        known = FieldValidation(target.resource, how.validation)
        body = known(await bodies.read_object(request))
        entry = self._change(target, lambda _live: body, how)
        return self._answer(entry, target, request, warnings=known.warnings)

    async def _patch(self, target: Target, request: web.Request) -> web.Response:
        how = _write_options(request)
        known = FieldValidation(target.resource, how.validation)
        kind, body = await bodies.read_patch(request)
        _check_patch(kind, request, how)
        if kind == bodies.APPLY_PATCH and target.subresource != "scale":
            there = self._store.find(target.resource, Key(target.namespace, target.name))
            entry = self._registry.apply(_place(target), known(body), how, target.subresource)
            status = HTTPStatus.OK if there else HTTPStatus.CREATED
            return self._answer(entry, target, request, status, known.warnings)
        change = _patch(kind, body, target)
        entry = self._change(target, lambda live: known(change(live)), how)
        return self._answer(entry, target, request, warnings=known.warnings)

    def _change(self, target: Target, change: Callable[[Doc], Doc], how: WriteOptions) -> Entry:
        if target.subresource == "scale":
            return self._registry.rescale(_place(target), change, how)
        return self._registry.patch(_place(target), change, how, target.subresource)

    async def _delete(self, target: Target, request: web.Request) -> web.Response:
        body = await bodies.read_delete_options(request)
        how = options.delete_options(request.query, body)
        entry, gone = self._registry.delete(_place(target), how)
        return bodies.document(_deleted(entry)) if gone else self._answer(entry, target, request)

    async def _delete_all(self, target: Target, request: web.Request) -> web.Response:
        body = await bodies.read_delete_options(request)
        asked = options.list_options(request.query, streams=True)
        matches = selectors.parse(target.resource, asked.labels, asked.fields)
        how = options.delete_options(request.query, body)
        gone = self._registry.delete_all(target.resource, target.namespace, matches, dry_run=how.dry_run)
        view = self._view(request)
        page = Page(gone, self._store.version)
        return bodies.answer(view.many(target.resource, page, ""), content_type=view.content_type)

    # --- answers ---------------------------------------------------------------------------------------

    def _view(self, request: web.Request) -> views.View:
        accept = request.headers.get("Accept", "")
        return views.negotiate(accept, include=request.query.get("includeObject", "Metadata"), now=self._now)

    def _answer(
        self,
        entry: Entry,
        target: Target,
        request: web.Request,
        status: int = HTTPStatus.OK,
        warnings: Sequence[str] = (),
    ) -> web.Response:
        if target.subresource == "scale":
            return bodies.answer(msgspec.json.encode(scale_of(entry)), status)
        view = self._view(request)
        return bodies.answer(view.one(entry), status, view.content_type, warnings)


def _place(target: Target) -> Place:
    return Place(resource=target.resource, namespace=target.namespace, name=target.name)


def _write_options(request: web.Request) -> WriteOptions:
    return options.write_options(request.query, request.headers.get("User-Agent", ""))


def _check_patch(kind: str, request: web.Request, how: WriteOptions) -> None:
    if kind == bodies.APPLY_PATCH and not request.query.get("fieldManager"):
        text = "Required value: is required for apply patch"
        raise invalid_options("PatchOptions", "fieldManager", text)
    if kind != bodies.APPLY_PATCH and how.force:
        text = "Forbidden: may not be specified for non-apply patch"
        raise invalid_options("PatchOptions", "force", text)


def _patch(kind: str, body: Any, target: Target) -> Callable[[Doc], Doc]:
    """Apply a patch to an object."""
    match kind:
        case bodies.JSON_PATCH:
            return lambda live: patch.json_patch(live, body)
        case bodies.STRATEGIC_MERGE_PATCH if target.subresource != "scale":
            return lambda live: strategic.merge(live, body, target.resource)
        case _:
            return lambda live: patch.merge_patch(live, body)


def _deleted(entry: Entry) -> Doc:
    """The API server's response for a deleted object."""
    details = {
        "name": entry.key.name,
        "group": entry.resource.group,
        "kind": entry.resource.plural,
        "uid": metadata(entry.doc).get("uid"),
    }
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": {name: value for name, value in details.items() if value},
    }
