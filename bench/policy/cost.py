"""What mirroring costs an Envoy by request: its processor time at 100 percent, with nothing done to the
copies, and with each thing that can be done to them.

The cases take turns, round after round; figures are medians over the rounds. All send the same requests, so
that they differ in nothing but the policy.
"""

import statistics
import tempfile
from pathlib import Path
from typing import Any, Final

from bench.policy.backend import Kind
from bench.policy.stage import HOST, SHADOW, Stage, secret, stage
from bench.policy.users import Load, send
from bench.process import cpu_s

_OFF: Final = "no mirror"
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
    with tempfile.TemporaryDirectory(prefix="xds-shadow-bench-") as directory:
        async with stage(Path(directory), Kind.GOOD) as on:
            for number in range(rounds):
                for case, annotations in CASES.items():
                    progress(f"round {number + 1} of {rounds}: {case}")
                    await on.annotate(annotations | _UNBOUNDED, _TOKEN)
                    cost, wrong = await _one(on, seconds, mirrored=case != _OFF)
                    found.setdefault(case, []).append(cost)
                    failed += wrong
    medians = {case: statistics.median(costs) for case, costs in found.items()}
    return {
        "rounds": rounds,
        "seconds": seconds,
        "body": len(_JSON),
        "failed": failed,
        "cases": [
            {
                "case": case,
                "cpu_us": cost,
                "added_us": cost - medians[_OFF],
                "ratio": cost / medians[_OFF],
            }
            for case, cost in medians.items()
        ],
    }


async def _one(on: Stage, seconds: float, *, mirrored: bool) -> tuple[float, int]:
    """Microseconds by request, and how many requests or copies failed."""
    headers = (*_HEADERS, ("content-type", "application/json"))
    load = Load(on.port, HOST, seconds, method="POST", headers=headers, body=_JSON)
    await send(Load(on.port, HOST, min(_WARM_UP_S, seconds), method="POST", headers=headers, body=_JSON))
    pid = on.envoy.process.pid
    copies, before = await on.envoy.stat(f"{SHADOW}upstream_rq_200"), cpu_s(pid)
    answers = await send(load)
    cost, requests = cpu_s(pid) - before, len(answers["took_ms"])
    copies = await on.envoy.stat(f"{SHADOW}upstream_rq_200") - copies
    # The last few may still be on their way.
    missing = max(0, requests - copies - load.connections) if mirrored else copies
    return cost / requests * 1e6, answers["failed"] + missing
