"""Compares the bodies of one request, and counts how they differ."""

from typing import NamedTuple

from xds_server.core.verdict.bodies import Bodies
from xds_server.core.verdict.body_diff import Difference, differences
from xds_server.core.verdict.body_joining import Joined, Response
from xds_server.core.verdict.body_text import MOST_BYTES, Content, Skipped, content_of


class Compared(NamedTuple):
    """How the canary's body differs from the stable version's, and how two of the stable version's differ
    from each other; None if there is only one, or it cannot be compared."""

    group: str
    canary: frozenset[Difference]
    stable: frozenset[Difference] | None


def compared(joined: Joined) -> Compared | Skipped:
    """Compare the bodies of a request. Takes up to 0.2 s for each of two comparisons."""
    first, *others = joined.stable
    reference, canary = _content(first), _content(joined.canary)
    if isinstance(reference, Skipped):
        return reference
    if isinstance(canary, Skipped):
        return canary
    if first.status != joined.canary.status:
        return Skipped.STATUS
    return Compared(first.group, differences(reference, canary), _noise(first, reference, others))


def _noise(first: Response, reference: Content, others: list[Response]) -> frozenset[Difference] | None:
    for other in others:
        content = _content(other)
        if other.status == first.status and isinstance(content, Content):
            return differences(reference, content)
    return None


def _content(response: Response) -> Content | Skipped:
    return Skipped.TOO_LARGE if response.size > MOST_BYTES else content_of(response.body)


def count(bodies: Bodies, outcome: Compared | Skipped) -> None:
    """Count the outcome of one request."""
    if isinstance(outcome, Skipped):
        bodies.skipped[outcome] += 1
    else:
        bodies.add(outcome.group, outcome.canary, outcome.stable)
