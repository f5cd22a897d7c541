"""Describes the health of the Kubernetes source in a sentence: which queries fail, since when, and why."""

from collections.abc import Iterable, Mapping, Sequence

from xds_server.core.conditions import Condition
from xds_server.core.objects import Kind
from xds_server.kube.outage import Down
from xds_server.kube.query import Query

_NAMED = 5
"""Queries that the sentence names. There can be one for each canary."""

_REASONS = 3
"""Conditions that it repeats; `status` has all of them."""


def message(
    server: str,
    *,
    unsynced: Sequence[Query],
    down: Mapping[Query, Down],
    failures: Sequence[Condition],
    now: float,
) -> str:
    """One or more sentences, without the last full stop. `unsynced` is what the start waits for, `down` are
    the queries that fail, and `failures` are the conditions of both."""
    where = f"Kubernetes at {server}"
    if unsynced:
        retries = ". Retrying" if failures else ""
        return f"{where}: waiting for the first list of {_named(unsynced)}{_why(failures)}{retries}"
    clauses = [
        f"{verb} for {now - min(down[query].since for query in queries):.0f} s ({_named(queries)})"
        for rejected, verb in ((False, "has not answered"), (True, "has rejected requests"))
        if (queries := [query for query, each in down.items() if each.rejected is rejected])
    ]
    if clauses:
        return f"{where} {' and '.join(clauses)}; the last known objects stay in use{_why(failures)}"
    return f"{where} is being watched"


def outages(down: Mapping[Query, Down], *, now: float) -> dict[Kind, float]:
    """For each kind, the longest time in seconds for which one of its queries has failed; 0 if none fails."""
    found = dict.fromkeys(Kind, 0.0)
    for query, each in down.items():
        found[query.kind] = max(found[query.kind], now - each.since)
    return found


def _named(queries: Iterable[Query]) -> str:
    names = sorted(map(str, queries))
    more = f", and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _why(failures: Iterable[Condition]) -> str:
    messages = sorted({each.message for each in failures})
    more = f" {len(messages) - _REASONS} more problems." if len(messages) > _REASONS else ""
    said = f"{' '.join(messages[:_REASONS])}{more}".removesuffix(".")
    return f". {said}" if said else ""
