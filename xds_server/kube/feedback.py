"""Writes conditions as Events, if this replica is the one that does; never in the way of anything.

`put` only remembers. While another replica leads, this one forgets what it was given after a minute: the
leader told it. If the leader is gone, this one tells it, as far as it is not there already. So a takeover
loses nothing and tells nothing twice, and the replicas need not talk.
"""

import asyncio
import contextlib
import random
import time
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Final, Protocol

import msgspec
import structlog

from xds_server.base.aio import spawn
from xds_server.base.errors import SourceError
from xds_server.core.conditions import NO_SUBJECT, Condition
from xds_server.kube.client import (
    CONFLICT,
    FORBIDDEN,
    NETWORK_ERRORS,
    NOT_FOUND,
    UNAUTHORIZED,
    Call,
    CredentialsError,
    KubeClient,
    UnreachableError,
    retry_after,
)
from xds_server.kube.event_rate import Pace
from xds_server.kube.event_writer import again, event, event_name
from xds_server.kube.lease import Election, Terms
from xds_server.kube.session import Connect

_KEPT_S: Final = 60.0
_MOST_COUNTS: Final = 10_000
_MOST_REPORTED: Final = 10  # a permission may be missing in every namespace
_SLOW_S: Final = 30.0  # where trying again soon would not help
_MERGE_PATCH: Final = "application/merge-patch+json"
_INVALID: Final = frozenset({400, 409, 413, 422})

_log = structlog.stdlib.get_logger(__name__)


class Report(Protocol):
    """Takes everything that is now wrong with writing."""

    def __call__(self, problems: tuple[Condition, ...], /) -> None: ...


class _Answer:
    """What came back: an HTTP status, or 0 for nothing; and the body."""

    def __init__(self, status: int, body: bytes = b"", wait: float = 0.0, detail: str = "") -> None:
        self.status = status
        self.wait = wait
        self.detail = detail
        self._body = body

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300  # noqa: PLR2004 - HTTP's own

    def document(self) -> dict[str, Any]:
        try:
            found = msgspec.json.decode(self._body)
        except msgspec.DecodeError:
            return {}
        return found if isinstance(found, dict) else {}

    @property
    def message(self) -> str:
        return str(self.document().get("message", "")) or self.detail


class KubeFeedback:
    """Tells conditions in the cluster that `connect` leads to. `identity` names this replica among those that
    share the Lease `namespace`/`name`."""

    def __init__(
        self,
        connect: Connect,
        *,
        identity: str,
        namespace: str,
        name: str = "xds-shadow",
        terms: Terms | None = None,
        report: Report,
    ) -> None:
        self._counts = dict.fromkeys(("written", "repeated", "known", "failed"), 0)
        self._connect = connect
        self._identity = identity
        self._namespace = namespace
        self._lease = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
        self._lease_name = name
        self._terms = terms or Terms()
        self._election = Election(identity, namespace=namespace, name=name, terms=self._terms)
        self._report = report
        self._pace = Pace()
        self._led = False  # as last noticed; `leads` says how it is
        self._event_counts: OrderedDict[str, int] = OrderedDict()
        self._news = asyncio.Event()
        self._problems: dict[tuple[str, str], Condition] = {}  # by resource and namespace
        self._reported: tuple[Condition, ...] = ()

    @property
    def leads(self) -> bool:
        """Whether this replica writes now."""
        return self._election.leads(time.monotonic())

    def outcomes(self) -> dict[str, int]:
        """How many conditions came to what, since the start."""
        return {**self._counts, "dropped": self._pace.dropped}

    def put(self, conditions: Sequence[Condition], *, initial: bool = False) -> None:
        """Queue conditions. `initial` ones hold when this process starts, so a previous process may have
        reported them. Never waits, never raises."""
        now = time.monotonic()
        fresh = self._election.leads(now) and not initial
        for condition in conditions:
            self._pace.put(condition, now=now, fresh=fresh)
        self._news.set()

    async def run(self) -> None:
        """Take part in the election and write, until cancelled; then give the Lease up."""
        client = await self._open()
        self._right("session", "")
        try:
            async with asyncio.TaskGroup() as group:
                spawn(group, "feedback/election", self._elect(client))
                spawn(group, "feedback/write", self._write(client))
        finally:
            await self._resign(client)
            await client.close()

    async def _open(self) -> KubeClient:
        while True:
            try:
                return await KubeClient.open(self._connect)
            except SourceError as error:
                self._wrong("session", "", Condition(NO_SUBJECT, "Unauthorized", str(error)))
                await asyncio.sleep(_jittered(_SLOW_S))

    # --- who writes ------------------------------------------------------------------------------------

    async def _elect(self, client: KubeClient) -> None:
        while True:
            wait = await self._candidate(client)
            led, self._led = self._led, self.leads
            if self._led:
                self._news.set()
            if self._led and not led:
                _log.info("this replica writes the Events", identity=self._identity)
            elif led and not self._led:
                _log.warning("another replica may write the Events now", identity=self._identity)
                self._pace.doubt()
                self._right("events")
            await asyncio.sleep(max(_jittered(self._terms.retry), wait))

    async def _candidate(self, client: KubeClient) -> float:
        """One look at the Lease, and a bid if it can be had; returns how long the server wants to be left
        alone."""
        election = self._election
        if not election.holds:
            seen = await self._ask(client, Call(path=f"{self._lease}/{self._lease_name}"))
            if not (seen.ok or seen.status == NOT_FOUND):
                return self._failed("get", "leases", self._namespace, seen)
            election.observe(seen.document() if seen.ok else None, time.monotonic())
        asked = time.monotonic()
        bid = election.bid(asked, time.time())
        if bid is None:  # another leads
            self._pace.forget(before=asked - _KEPT_S)
            self._right("leases")
            return 0.0
        exists = "resourceVersion" in bid["metadata"]
        answer = await self._put_lease(client, bid)
        if answer.ok:
            election.won(answer.document(), asked)
            self._right("leases")
        elif answer.status == CONFLICT or (exists and answer.status == NOT_FOUND):
            election.observe(None, time.monotonic())  # it is not what it was: look again
        else:
            return self._failed("update" if exists else "create", "leases", self._namespace, answer)
        return 0.0

    async def _put_lease(self, client: KubeClient, lease: dict[str, Any]) -> _Answer:
        exists = "resourceVersion" in lease["metadata"]
        path = f"{self._lease}/{self._lease_name}" if exists else self._lease
        method = "PUT" if exists else "POST"
        return await self._ask(client, Call(method=method, path=path, body=lease))

    async def _resign(self, client: KubeClient) -> None:
        lease = self._election.resign(time.time())
        if lease is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._terms.retry):
                    await self._put_lease(client, lease)

    # --- writing ---------------------------------------------------------------------------------------

    async def _write(self, client: KubeClient) -> None:
        while True:
            now = time.monotonic()
            if self.leads and (taken := self._pace.take(now)):
                condition, fresh = taken
                if wait := await self._tell(client, condition, fresh=fresh):
                    self._pace.put_back(condition, now=time.monotonic(), fresh=fresh)
                    await asyncio.sleep(wait)
                continue
            self._news.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._pace.wait(now) if self.leads else None):
                    await self._news.wait()

    async def _tell(self, client: KubeClient, condition: Condition, *, fresh: bool) -> float:
        """Write one condition; returns 0, or after how many seconds to try again."""
        path = f"/api/v1/namespaces/{condition.subject.namespace}/events"
        body = event(condition, instance=self._identity, now=time.time())
        call = Call(method="POST", path=path, body=body)
        answer = await self._ask(client, call)
        if answer.ok:
            self._counts["written"] += 1
            self._remember(event_name(condition), 1)
        elif answer.status == CONFLICT and not fresh:
            self._counts["known"] += 1
        elif answer.status == CONFLICT:
            answer = await self._count_up(client, f"{path}/{event_name(condition)}", event_name(condition))
            self._counts["repeated"] += answer.ok
            if answer.status == NOT_FOUND:  # it expired in between
                return _jittered(self._terms.retry)
            if not answer.ok:
                return self._not_told(condition, "patch", answer)
        if answer.ok or answer.status == CONFLICT:
            self._right("events", condition.subject.namespace)
            return 0.0
        return self._not_told(condition, "create", answer)

    def _not_told(self, condition: Condition, verb: str, answer: _Answer) -> float:
        namespace = condition.subject.namespace
        ending = answer.status == FORBIDDEN and "being terminated" in answer.message
        if ending or answer.status == NOT_FOUND or answer.status in _INVALID:
            self._counts["failed"] += 1
            _log.info(
                "an Event cannot be written", subject=str(condition.subject), message=answer.message[:200]
            )
            self._right("events", namespace)
            return 0.0
        wait = self._failed(verb, "events", namespace, answer)
        if answer.status == FORBIDDEN:  # a quota or a missing Role: of this namespace, not of the others
            self._pace.hold(namespace, now=time.monotonic(), seconds=wait)
            wait = 0.0
        return wait or _jittered(self._terms.retry)

    async def _count_up(self, client: KubeClient, path: str, name: str) -> _Answer:
        count = self._event_counts.get(name)
        if count is None:  # another replica's, or from before a restart
            unchanged = Call(method="PATCH", path=path, body={}, content_type=_MERGE_PATCH)
            found = await self._ask(client, unchanged)
            if not found.ok:
                return found
            count = int(found.document().get("count") or 1)
        body = again(count + 1, time.time())
        call = Call(method="PATCH", path=path, body=body, content_type=_MERGE_PATCH)
        answer = await self._ask(client, call)
        if answer.ok:
            self._remember(name, count + 1)
        else:
            self._event_counts.pop(name, None)
        return answer

    def _remember(self, name: str, count: int) -> None:
        self._event_counts[name] = count
        self._event_counts.move_to_end(name)
        while len(self._event_counts) > _MOST_COUNTS:
            self._event_counts.popitem(last=False)

    # --- asking, and what is wrong ---------------------------------------------------------------------

    async def _ask(self, client: KubeClient, call: Call) -> _Answer:
        try:
            async with asyncio.timeout(self._terms.renew / 2), client.request(call) as response:
                return _Answer(response.status, await response.read(), retry_after(response))
        except (UnreachableError, CredentialsError, *NETWORK_ERRORS) as error:
            return _Answer(0, detail=str(error) or type(error).__name__)

    def _failed(self, verb: str, resource: str, namespace: str, answer: _Answer) -> float:
        """Report it; returns how long to wait."""
        what, said = f"{verb} {resource} in namespace {namespace}", f"(it says: {answer.message[:300]})"
        match answer.status:
            case 0:  # an outage, which the source reports
                return 0.0
            case 401:
                reason = "Unauthorized"
                message = f"The API server does not accept the credentials to {what} {said}; renew them."
            case 403:
                reason, group = "Forbidden", "coordination.k8s.io" if resource == "leases" else ""
                message = (
                    f"The API server forbids to {what} {said}; if a permission is missing,"
                    f' grant {verb} on "{resource}" of API group "{group}" in namespace {namespace}.'
                )
            case _:
                reason = "ApiUnavailable"
                message = f"The API server answers {answer.status} to {what} {said}; it is tried again."
        message += " Until then no Event tells what became of the labels."
        self._wrong(resource, namespace, Condition(NO_SUBJECT, reason, message))
        return _jittered(_SLOW_S) if answer.status in (UNAUTHORIZED, FORBIDDEN) else answer.wait

    def _wrong(self, resource: str, namespace: str, problem: Condition) -> None:
        self._problems[resource, namespace] = problem
        self._tell_problems()

    def _right(self, resource: str, namespace: str | None = None) -> None:
        """In the one namespace, or in all."""
        for key in list(self._problems):
            if key[0] == resource and namespace in (None, key[1]):
                del self._problems[key]
        self._tell_problems()

    def _tell_problems(self) -> None:
        problems = tuple(sorted(self._problems.values()))[:_MOST_REPORTED]
        if problems != self._reported:
            self._reported = problems
            self._report(problems)


def _jittered(seconds: float) -> float:
    return seconds * random.uniform(0.8, 1.2)  # noqa: S311 - spreads load, guards nothing
