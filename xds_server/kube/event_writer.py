"""Writes single conditions as Kubernetes Events."""

from collections import OrderedDict
from typing import Final, NamedTuple

import structlog

from xds_server.base.clock import Clock
from xds_server.core.conditions import Condition
from xds_server.kube.client import CONFLICT, FORBIDDEN, NOT_FOUND, Call, KubeClient
from xds_server.kube.events import again, event, event_name
from xds_server.kube.writes import Answer, Obstacles, jittered, send

_MAX_COUNTS: Final = 10_000
_MERGE_PATCH: Final = "application/merge-patch+json"
_INVALID: Final = frozenset({400, 409, 413, 422})
_MAX_MESSAGE: Final = 200

_log = structlog.stdlib.get_logger(__name__)


class Retry(NamedTuple):
    """An Event was not written. The writer waits `wait` seconds; the namespace of the Event is left alone for
    `hold` seconds, and the others are not."""

    wait: float = 0.0
    hold: float = 0.0


class EventWriter:
    """Writes through a client, as the replica `identity`. `within` is the deadline of a request in seconds,
    `retry` the pause after one that got no answer."""

    def __init__(
        self, identity: str, *, within: float, retry: float, clock: Clock, obstacles: Obstacles
    ) -> None:
        self._identity = identity
        self._within = within
        self._retry = retry
        self._clock = clock
        self._obstacles = obstacles
        self._event_counts: OrderedDict[str, int] = OrderedDict()
        self.outcomes = dict.fromkeys(("written", "repeated", "known", "failed"), 0)
        """The number of conditions by outcome, since the start."""

    async def write(self, client: KubeClient, condition: Condition, *, fresh: bool) -> Retry | None:
        """Write the Event of a condition, or count it up if it exists. A condition that is not `fresh` may
        have been written by another replica, and is not counted up. Returns None unless it has to be
        retried."""
        namespace, name = condition.subject.namespace, event_name(condition)
        path = f"/api/v1/namespaces/{namespace}/events"
        body = event(condition, instance=self._identity, now=self._clock.wall())
        answer = await self._send(client, Call(method="POST", path=path, body=body))
        if answer.ok:
            self.outcomes["written"] += 1
            self._remember(name, 1)
        elif answer.status != CONFLICT:
            return self._failed(condition, "create", answer)
        elif not fresh:
            self.outcomes["known"] += 1
        else:
            answer = await self._count_up(client, f"{path}/{name}", name)
            if answer.status == NOT_FOUND:  # the Event expired in between
                return Retry(wait=jittered(self._retry))
            if not answer.ok:
                return self._failed(condition, "patch", answer)
            self.outcomes["repeated"] += 1
        self._obstacles.gone("events", namespace)
        return None

    def _failed(self, condition: Condition, verb: str, answer: Answer) -> Retry | None:
        namespace = condition.subject.namespace
        terminating = answer.status == FORBIDDEN and "being terminated" in answer.message
        if terminating or answer.status == NOT_FOUND or answer.status in _INVALID:
            self.outcomes["failed"] += 1
            message = answer.message[:_MAX_MESSAGE]
            _log.info("event rejected", subject=str(condition.subject), message=message)
            self._obstacles.gone("events", namespace)
            return None
        wait = self._obstacles.failed(verb, "events", namespace, answer)
        if answer.status == FORBIDDEN:  # a quota or a missing Role: of this namespace alone
            return Retry(wait=jittered(self._retry), hold=wait)
        return Retry(wait=wait or jittered(self._retry))

    async def _count_up(self, client: KubeClient, path: str, name: str) -> Answer:
        count = self._event_counts.get(name)
        if count is None:  # another replica wrote it, or a previous process
            unchanged = Call(method="PATCH", path=path, body={}, content_type=_MERGE_PATCH)
            found = await self._send(client, unchanged)
            if not found.ok:
                return found
            count = int(found.document().get("count") or 1)
        body = again(count + 1, self._clock.wall())
        call = Call(method="PATCH", path=path, body=body, content_type=_MERGE_PATCH)
        answer = await self._send(client, call)
        if answer.ok:
            self._remember(name, count + 1)
        else:
            self._event_counts.pop(name, None)
        return answer

    def _remember(self, name: str, count: int) -> None:
        self._event_counts[name] = count
        self._event_counts.move_to_end(name)
        while len(self._event_counts) > _MAX_COUNTS:
            self._event_counts.popitem(last=False)

    async def _send(self, client: KubeClient, call: Call) -> Answer:
        return await send(client, call, within=self._within)
