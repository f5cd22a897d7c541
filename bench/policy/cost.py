"""What mirroring costs an Envoy by request: its processor time at 100 percent, with nothing done to the
mirrored requests, and with each thing that can be done to them; beside an Envoy that mirrors by a
configuration written by hand.

The cases take turns, round after round; figures are medians over the rounds. All send the same requests, so
that they differ in nothing but the policy.
"""

import os
import statistics
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple

from bench.policy.backend import Kind
from bench.policy.by_hand import MIRRORED, PLAIN, by_hand
from bench.policy.by_hand import SHADOW as BARE_SHADOW
from bench.policy.stage import HOST, SHADOW, Stage, secret, stage
from bench.policy.users import Load, send
from bench.process import cpu_s
from xds_server.local.demo.envoy import Envoy

_OFF: Final = "no mirror"
_BARE: Final = "by hand: mirror"
_PAIRS: Final = "mirror, no policy, with pairs"
_PAIRS_WARM_UP_S: Final = 5.0
"""Until the share of the requests that are logged has settled."""
_BY_HAND: Final = {"by hand: no mirror": PLAIN, _BARE: MIRRORED}
_TOKEN: Final = secret("token", "authorization", "Bearer of-the-canary")
_HEADERS: Final = (
    ("authorization", "Bearer of-the-user"),
    ("cookie", "session=0123456789abcdef"),
    ("x-tracking-id", "0123456789"),
    ("accept", "*/*"),
    ("user-agent", "bench"),
)
_JSON: Final = (
    '{"order": 42, "card": {"number": "4111111111111111", "name": "A"}, "text": "' + "x" * 920 + '"}'
)
_UNBOUNDED: Final = {"max-concurrent": "1000", "max-body": "128Ki"}
_WARM_UP_S: Final = 0.5
_LOGGED: Final = "access_logs.grpc_access_log.logs_written"

CASES: Final = {
    _OFF: {"paused": "true"},
    "mirror, no policy": {},
    "headers": {
        "remove-headers": "cookie,x-tracking-id",
        "set-headers": "x-env=shadow,x-path=%REQ(:path)%",
        "host": "canary.example.com",
    },
    "credentials": {"credential-from-secret": "token/authorization"},
    "rewrite-path-prefix": {"rewrite-path-prefix": "/api=/v2"},
    "redact": {"redact": "json:/card/number"},
    "all of these and max-rps": {
        "remove-headers": "x-tracking-id",
        "set-headers": "x-env=shadow,x-path=%REQ(:path)%",
        "host": "canary.example.com",
        "credential-from-secret": "token/authorization",
        "rewrite-path-prefix": "/api=/v2",
        "redact": "json:/card/number",
        "max-rps": "1000000",
    },
}


async def measure(*, rounds: int, seconds: float, progress: Any) -> dict[str, Any]:
    """Microseconds of Envoy's processor time by request."""
    found: dict[str, list[float]] = {}
    failed = 0
    with tempfile.TemporaryDirectory(prefix="xds-shadow-bench-") as name:
        directory = Path(name)
        async with stage(directory, Kind.GOOD) as on, by_hand(directory, on.stable, on.canary) as hand:
            for number in range(rounds):
                names = [*_BY_HAND, *CASES]
                first = number % len(names)
                for case in names[first:] + names[:first]:
                    progress(f"round {number + 1} of {rounds}: {case}")
                    cost, wrong = await _one(await _target(case, on, hand), seconds)
                    found.setdefault(case, []).append(cost)
                    failed += wrong
            progress("pairs")
            of_bare, entries, wrong = await _pairs(on, hand, rounds, seconds)
    costs = {case: statistics.median(each) for case, each in found.items()}
    with_pairs = {
        "case": _PAIRS,
        "cpu_us": costs[_BARE] * of_bare,
        "added_us": costs[_BARE] * of_bare - costs[_OFF],
        "ratio": costs[_BARE] * of_bare / costs[_OFF],
        "of_bare": of_bare,
    }
    return {
        "rounds": rounds,
        "seconds": seconds,
        "load": os.getloadavg()[1],
        "body": len(_JSON),
        "failed": failed + wrong,
        "entries": entries,
        "cases": [*(_result(case, found) for case in [*_BY_HAND, *CASES]), with_pairs],
    }


async def _pairs(on: Stage, hand: Envoy, rounds: int, seconds: float) -> tuple[float, float, int]:
    """What a mirrored request costs with pairs, of one that is mirrored by hand; how many entries are logged
    for each; and how many failed. One shadow all the time, as a new one has all its requests logged."""
    await on.annotate(_UNBOUNDED)
    bare = _Target(hand, MIRRORED, f"{BARE_SHADOW}upstream_rq_200")
    paired = _Target(on.envoy, HOST, f"{SHADOW}upstream_rq_200")
    ratios, entries, failed = [], [], 0
    for _ in range(rounds):
        await send(_load(paired, min(_PAIRS_WARM_UP_S, 5 * seconds)))
        logged, mirrored = await on.envoy.stat(_LOGGED), await _copies(paired)
        cost, wrong = await _one(paired, seconds)
        mirrored = await _copies(paired) - mirrored
        entries.append((await on.envoy.stat(_LOGGED) - logged) / max(1, mirrored))
        base, also_wrong = await _one(bare, seconds)
        ratios.append(cost / base)
        failed += wrong + also_wrong
    return statistics.median(ratios), statistics.median(entries), failed


def _result(case: str, found: dict[str, list[float]]) -> dict[str, Any]:
    """Medians over the rounds; each ratio is one of the same round."""

    def ratio(base: str) -> float:
        return statistics.median(one / other for one, other in zip(found[case], found[base], strict=True))

    added = (one - off for one, off in zip(found[case], found[_OFF], strict=True))
    return {
        "case": case,
        "cpu_us": statistics.median(found[case]),
        "added_us": statistics.median(added),
        "ratio": ratio(_OFF),
        "of_bare": ratio(_BARE),
    }


class _Target(NamedTuple):
    """Where requests go, and what counts the canary's responses, if they are mirrored."""

    envoy: Envoy
    host: str
    counter: str


async def _target(case: str, on: Stage, hand: Envoy) -> _Target:
    if host := _BY_HAND.get(case):
        return _Target(hand, host, f"{BARE_SHADOW}upstream_rq_200" if host == MIRRORED else "")
    await on.annotate(CASES[case] | _UNBOUNDED, _TOKEN)
    counter = f"{SHADOW}upstream_rq_200" if case != _OFF else ""
    return _Target(on.silent, HOST, counter)


async def _one(at: _Target, seconds: float) -> tuple[float, int]:
    """Microseconds by request, and how many requests or mirrored requests failed."""
    load = _load(at, seconds)
    await send(replace(load, seconds=min(_WARM_UP_S, seconds)))
    pid = at.envoy.process.pid
    copies, before = await _copies(at), cpu_s(pid)
    answers = await send(load)
    cost, requests = cpu_s(pid) - before, len(answers["took_ms"])
    copies = await _copies(at) - copies
    # The last few may still be on their way.
    missing = max(0, requests - copies - load.connections) if at.counter else 0
    return cost / requests * 1e6, answers["failed"] + missing


def _load(at: _Target, seconds: float) -> Load:
    headers = (*_HEADERS, ("content-type", "application/json"))
    return Load(at.envoy.gateway_port, at.host, seconds, method="POST", headers=headers, body=_JSON)


async def _copies(at: _Target) -> int:
    return await at.envoy.stat(at.counter) if at.counter else 0
