"""The Kubernetes object source: which queries are watched, and for how long.

Namespaces, Services, EndpointSlices and marked workloads are always watched. Other Pods and Secrets are
watched only while a canary needs them (`demand`), so that memory and load grow with the number of canaries
and not with the cluster. `reflector` follows a single query, and `pods` holds changes back while Pods are not
followed.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set

from xds_server.base.aio import spawn
from xds_server.base.errors import SourceError
from xds_server.core.decode import DecodeError
from xds_server.core.keys import SHADOW_OF
from xds_server.core.objects import WORKLOADS, Kind, Ref, ref_of
from xds_server.core.source import Health, Sink, WatchCounts
from xds_server.core.world import Awaiting, Change, Delete, Report, Upsert, key_of
from xds_server.kube.api import KubeApi, Timing
from xds_server.kube.client import FORBIDDEN, NOT_FOUND
from xds_server.kube.demand import Wanted
from xds_server.kube.health import message, outages
from xds_server.kube.namespaces import Namespaces
from xds_server.kube.outage import Outage
from xds_server.kube.pods import PodGate
from xds_server.kube.query import ApiError, Query
from xds_server.kube.reflector import Holdings, Moment, Patience, Reflector, list_all
from xds_server.kube.session import Connect, connect

__all__ = ["Connect", "KubeSource", "Timing", "connect", "read_once_kube"]

_DEFAULT_TIMING = Timing()
_NO_SETTINGS: Mapping[str, str] = {}

_OWN = frozenset({400, NOT_FOUND, 413, 414, 422, 431})
"""The statuses with which a server, or a proxy in front of it, rejects one query: its selector is not
valid, or too long."""


class KubeSource:
    """Watches a cluster, or some of its namespaces. `connect` is called once, and again when the server no
    longer accepts the credentials. `installation` are the settings of ``--policy``."""

    def __init__(
        self,
        connect: Connect,
        namespaces: Sequence[str] = (),
        *,
        installation: Mapping[str, str] = _NO_SETTINGS,
        timing: Timing = _DEFAULT_TIMING,
    ) -> None:
        self._connect = connect
        self._namespaces = tuple(namespaces)
        self._installation = installation
        self._timing = timing
        self._counts = {kind: WatchCounts() for kind in Kind}
        self._watches: _Watches | None = None

    def health(self) -> Health:
        """See `Source.health`."""
        if self._watches is None:
            return Health(message="Kubernetes is not connected to yet", watches=self._counts)
        return self._watches.health()

    async def run(self, sink: Sink) -> None:
        """See `Source.run`. Raises `SourceError` if no session can be opened. A server that does not respond
        is retried."""
        api = await KubeApi.open(self._connect, self._timing)
        try:
            async with asyncio.TaskGroup() as group:
                wanted = Wanted(self._installation)
                self._watches = _Watches(
                    api, group, sink, wanted=wanted, timing=self._timing, counts=self._counts
                )
                await self._watches.run(self._namespaces)
        finally:
            if self._watches:
                self._watches.close()
            await api.close()


async def read_once_kube(
    connect: Connect,
    namespaces: Sequence[str] = (),
    *,
    installation: Mapping[str, str] = _NO_SETTINGS,
    timing: Timing = _DEFAULT_TIMING,
) -> list[Change]:
    """The current objects of the cluster. Raises `SourceError` if a kind cannot be listed."""
    api = await KubeApi.open(connect, timing)
    changes: list[Change] = []
    wanted, known = Wanted(installation), Namespaces()
    try:
        for query in _queries(namespaces):
            changes += await _list_once(api, query, known)
        for change in changes:
            wanted.note(change)
        for query in sorted(wanted.queries()):
            changes += await _list_once(api, query, known, wanted.covered_by(query))
    finally:
        await api.close()
    return list({key_of(change): change for change in changes}.values())


async def _list_once(
    api: KubeApi, query: Query, known: Namespaces, selectors: Set[str] = frozenset()
) -> list[Change]:
    holdings = Holdings()
    try:
        changes = holdings.replace(await list_all(api, query))
    except ApiError as error:
        patience = _patience(query, _DEFAULT_TIMING)
        report = Report(query.origin, (error.problem,))
        if query.kind is Kind.POD and error.status in {FORBIDDEN, *patience.own}:
            return [report, *(Awaiting(query.namespace, each, waiting=True) for each in sorted(selectors))]
        if error.status in patience.own:
            return [report]
        if error.status in patience.absent:
            return []
        if error.status == FORBIDDEN and patience.give_up_after is not None:
            return [report, *(known.give_up(query.name) if query.kind is Kind.NAMESPACE else ())]
        raise SourceError(f"Kubernetes at {api.server}: {error.problem.message}") from error
    except DecodeError as error:
        raise SourceError(error.problem.message) from error
    changes += known.note(changes)
    return [*changes, Report(query.origin, holdings.problems)] if holdings.problems else changes


def _queries(namespaces: Sequence[str]) -> Iterator[Query]:
    """The queries that are always watched. Because of the label selector the server sends DELETED when a
    label is removed, and never sends a workload without the label. A Pod with the label is a mistake, and is
    reported."""
    if not namespaces:
        yield Query(Kind.NAMESPACE)
    for name in sorted(set(namespaces)):
        yield Query(Kind.NAMESPACE, name=name)
    for namespace in sorted(set(namespaces)) or ("",):
        yield Query(Kind.SERVICE, namespace)
        for kind in (*WORKLOADS, Kind.POD):
            yield Query(kind, namespace, labels=SHADOW_OF)
        yield Query(Kind.ENDPOINT_SLICE, namespace)


def _patience(query: Query, timing: Timing) -> Patience:
    """How long the start waits for a query that the API server answers with an error.

    A namespaced installation may not be allowed to read Namespaces, which are cluster-scoped: the labels of
    Services then decide alone. A canary without its Secret is not mirrored to, and Roles grant Secrets one by
    one. An older installation may be allowed to read no workload but Deployments, and a cluster need not have
    the kinds that are not built in. Without the Pods of a canary its endpoints are not known, so a missing
    permission for Pods blocks the start. A selector that the API server rejects blocks its canary alone."""
    match query.kind:
        case Kind.POD:
            return Patience(own=_OWN | {FORBIDDEN} if query.labels == SHADOW_OF else _OWN)
        case kind if kind in WORKLOADS and kind is not Kind.DEPLOYMENT:
            absent = () if kind.built_in else (NOT_FOUND,)
            return Patience(give_up_after=timing.give_up_after, absent=frozenset(absent))
        case Kind.SECRET:
            return Patience(own=_OWN | {FORBIDDEN})
        case Kind.NAMESPACE if query.name:
            return Patience(give_up_after=timing.give_up_after)
        case _:
            return Patience()


class Claims:
    """Which queries hold an object, and what each of them saw last. Selectors of canaries can overlap. A Pod
    is deleted only when the last query that holds it releases it; until then the view of another query
    counts."""

    def __init__(self) -> None:
        self._seen: dict[Ref, dict[Query, Upsert]] = {}

    def filter(self, query: Query, changes: Iterable[Change]) -> list[Change]:
        """Note what `query` sees. If another query still sees an object that this one deleted, the other view
        replaces the deletion."""
        return [self._noted(query, change) for change in changes]

    def release(self, query: Query) -> list[Change]:
        """Release everything that `query` holds; return the resulting changes."""
        held = sorted(ref for ref, seen in self._seen.items() if query in seen)
        return self.filter(query, (Delete(ref) for ref in held))

    def _noted(self, query: Query, change: Change) -> Change:
        match change:
            case Upsert(obj):
                self._seen.setdefault(ref_of(obj), {})[query] = change
            case Delete(ref):
                seen = self._seen.get(ref, {})
                seen.pop(query, None)
                if seen:
                    return next(iter(seen.values()))
                self._seen.pop(ref, None)
        return change


class _Watches:
    """The reflectors of one run. All methods but `run` are synchronous, so that a canary and its Pods leave
    the world in one step."""

    def __init__(
        self,
        api: KubeApi,
        group: asyncio.TaskGroup,
        sink: Sink,
        *,
        wanted: Wanted,
        timing: Timing,
        counts: Mapping[Kind, WatchCounts],
    ) -> None:
        self._api = api
        self._group = group
        self._pods = PodGate(sink, reopen=timing.reopen_pods)
        self._timing = timing
        self._counts = counts
        self._outage = Outage(self._pods, timing.regroup)
        self._synced = False
        self._namespaces = Namespaces()
        self._wanted = wanted
        self._always: list[Reflector] = []
        self._needed: dict[Query, tuple[Reflector, asyncio.Task[None]]] = {}
        self._claims = Claims()

    async def run(self, namespaces: Sequence[str]) -> None:
        """Start the queries that are always watched, and call `synced` once all of them were listed. Ends
        with the group."""
        self._always = [self._start(query)[0] for query in _queries(namespaces)]
        for reflector in self._always:
            await reflector.synced.wait()
        # All workloads are known. Those that are marked later are changes, and not part of the first sync.
        for reflector, _ in list(self._needed.values()):
            await reflector.synced.wait()
        self._synced = True
        self._pods.synced()
        self._outage.begin_regrouping()

    def close(self) -> None:
        """Note that the group has ended."""
        self._outage.close()
        self._pods.close()

    def health(self) -> Health:
        """See `Source.health`."""
        now, down, reflectors = asyncio.get_running_loop().time(), self._outage.down, self._reflectors()
        unsynced = [] if self._synced else [each.query for each in reflectors if not each.synced.is_set()]
        concerned = {*unsynced, *(query for query, each in down.items() if each.rejected)}
        return Health(
            message=message(
                self._api.server,
                unsynced=unsynced,
                down=down,
                failures=[each.failure for each in reflectors if each.failure and each.query in concerned],
                now=now,
            ),
            outage_s=self._outage.lasted,
            outages=outages(down, now=now),
            watches=self._counts,
            silence=self._silence(now),
        )

    def _reflectors(self) -> list[Reflector]:
        return [*self._always, *(reflector for reflector, _ in self._needed.values())]

    def _silence(self, now: float) -> dict[Kind, float]:
        found = dict[Kind, float]()
        for reflector in self._reflectors():
            kind = reflector.query.kind
            found[kind] = max(found.get(kind, 0.0), now - reflector.heard)
        return found

    def _start(self, query: Query) -> tuple[Reflector, asyncio.Task[None]]:
        def emit(changes: Sequence[Change], moment: Moment) -> None:
            self._take(query, changes, moment)

        reflector = Reflector(
            self._api,
            query,
            emit,
            timing=self._timing,
            outage=self._outage,
            counts=self._counts[query.kind],
            patience=_patience(query, self._timing),
        )
        return reflector, spawn(self._group, query.origin, reflector.run())

    def _take(self, query: Query, changes: Sequence[Change], moment: Moment) -> None:
        follow: list[Change] = []
        match query.kind:
            case Kind.POD | Kind.SECRET:
                changes = self._claims.filter(query, changes)
            case kind if kind is Kind.NAMESPACE or kind in WORKLOADS:
                for change in changes:
                    self._wanted.note(change)
                follow += self._follow_wanted()
        if moment is Moment.LISTED and query.kind is Kind.POD and query in self._needed:
            follow += [*self._pods.listed(query), *self._follow_wanted()]
        elif moment is Moment.GIVEN_UP and query.kind is Kind.NAMESPACE:
            follow += self._namespaces.give_up(query.name)
        self._outage.pass_on([*changes, *follow, *self._namespaces.note(changes)])

    def _follow_wanted(self) -> list[Change]:
        wanted = self._wanted.queries()
        changes: list[Change] = []
        for query in sorted(wanted - self._needed.keys()):
            self._needed[query] = reflector, _ = self._start(query)
            if query.kind is Kind.POD:
                self._pods.add(query, reflector)
        changes += self._pods.want(self._wanted.selectors())
        for query in sorted(self._needed.keys() - wanted):
            if not self._still_needed(query, wanted):
                changes += self._stop(query)
        return changes

    def _still_needed(self, query: Query, wanted: Set[Query]) -> bool:
        """Whether the query covers some Pods until the query for all of them has a list."""
        whole = Query(Kind.POD, query.namespace)
        still = query.labels in self._wanted.selectors().get(query.namespace, ())
        return query.kind is Kind.POD and still and whole in wanted and not self._pods.knows(whole)

    def _stop(self, query: Query) -> list[Change]:
        reflector, task = self._needed.pop(query)
        task.cancel()
        reflector.synced.set()  # `run` must not wait for it
        self._outage.forget(query)
        pods = self._pods.remove(query) if query.kind is Kind.POD else []
        return [*self._claims.release(query), Report(query.origin, ()), *pods]
