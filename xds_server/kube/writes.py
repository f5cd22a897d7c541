"""Single requests of the writers of Leases and Events, and what prevents them, as conditions."""

import asyncio
import random
from collections.abc import Callable
from typing import Any, Final

import msgspec

from xds_server.core.conditions import NO_SUBJECT, Condition, Reason
from xds_server.kube.client import (
    FORBIDDEN,
    NETWORK_ERRORS,
    UNAUTHORIZED,
    Call,
    CredentialsError,
    KubeClient,
    UnreachableError,
    cause_of,
    retry_after,
)

Report = Callable[[tuple[Condition, ...]], None]
"""Takes every condition that prevents writing now."""

_MAX_REPORTED: Final = 10
"""Conditions that are reported at once: a permission may be missing in every namespace."""

_MAX_MESSAGE: Final = 300


class Answer:
    """The response to a request: its HTTP status, or 0 if there was none, and its body. `wait` is how many
    seconds the server asks to wait before the next request."""

    def __init__(self, status: int, body: bytes = b"", wait: float = 0.0, detail: str = "") -> None:
        self.status = status
        self.wait = wait
        self._detail = detail
        self._body = body

    @property
    def ok(self) -> bool:
        """Whether the request succeeded."""
        return 200 <= self.status < 300  # noqa: PLR2004 - HTTP's own

    def document(self) -> dict[str, Any]:
        """The object in the body; empty if there is none."""
        try:
            found = msgspec.json.decode(self._body)
        except msgspec.DecodeError:
            return {}
        return found if isinstance(found, dict) else {}

    @property
    def message(self) -> str:
        """The server's message."""
        return str(self.document().get("message", "")) or self._detail


async def send(client: KubeClient, call: Call, *, within: float) -> Answer:
    """Send a request and wait `within` seconds for the response."""
    try:
        async with asyncio.timeout(within), client.request(call) as response:
            return Answer(response.status, await response.read(), retry_after(response))
    except (UnreachableError, CredentialsError, *NETWORK_ERRORS) as error:
        return Answer(0, detail=cause_of(error))


class Obstacles:
    """What prevents writing, by resource and namespace. `report` is called on each change. `slow` is how many
    seconds to wait after a rejection that a retry does not end soon."""

    def __init__(self, report: Report, *, slow: float) -> None:
        self._report = report
        self._slow = slow
        self._found: dict[tuple[str, str], Condition] = {}
        self._reported: tuple[Condition, ...] = ()

    def no_session(self, error: Exception) -> float:
        """Report that no session can be opened; returns how many seconds to wait."""
        self._found["session", ""] = Condition(NO_SUBJECT, Reason.UNAUTHORIZED, str(error))
        self._report_changes()
        return jittered(self._slow)

    def failed(self, verb: str, resource: str, namespace: str, answer: Answer) -> float:
        """Report a request that failed; returns how many seconds to wait."""
        condition = _condition(verb, resource, namespace, answer)
        if condition is not None:
            self._found[resource, namespace] = condition
            self._report_changes()
        return jittered(self._slow) if answer.status in (UNAUTHORIZED, FORBIDDEN) else answer.wait

    def gone(self, resource: str, namespace: str | None = None) -> None:
        """Withdraw what was reported for a resource, in one namespace or in all."""
        for key in list(self._found):
            if key[0] == resource and namespace in (None, key[1]):
                del self._found[key]
        self._report_changes()

    def _report_changes(self) -> None:
        found = tuple(sorted(self._found.values()))[:_MAX_REPORTED]
        if found != self._reported:
            self._reported = found
            self._report(found)


def jittered(seconds: float) -> float:
    """About that long, so that replicas do not retry at the same moment."""
    return seconds * random.uniform(0.8, 1.2)  # noqa: S311 - spreads load, guards nothing


def _condition(verb: str, resource: str, namespace: str, answer: Answer) -> Condition | None:
    what = f"{verb} {resource} in namespace {namespace}"
    said = f"(message: {answer.message[:_MAX_MESSAGE]})"
    match answer.status:
        case 0:  # the source reports the outage
            return None
        case 401:
            reason = Reason.UNAUTHORIZED
            message = f"The API server rejects the credentials to {what} {said}; renew them."
        case 403:
            reason, group = Reason.FORBIDDEN, "coordination.k8s.io" if resource == "leases" else ""
            message = (
                f"The API server forbids to {what} {said}. If a permission is missing,"
                f' grant {verb} on "{resource}" of API group "{group}" in namespace {namespace}.'
            )
        case _:
            reason = Reason.API_UNAVAILABLE
            message = f"The API server responds with {answer.status} to {what} {said}. Retrying."
    return Condition(NO_SUBJECT, reason, f"{message} Until then no Events are written.")
