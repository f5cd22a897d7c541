"""What `bench.policy` measured, as rows of tables."""

from typing import Any, Final

HOSTILE_COLUMNS: Final = (
    "canary",
    "p50",
    "p99",
    "p99 ratio",
    "worst",
    "failed",
    "memory at most",
    "mirrored requests begun",
)
COST_COLUMNS: Final = ("mirrored requests", "CPU", "difference", "ratio", "of a mirror by hand")
ABOUT_COST: Final = (
    "One worker of a real Envoy with the control plane's configuration, and a good canary. Every request"
    " is a POST of {body:,} bytes of JSON with five headers, over eight connections, as fast as the"
    " responses arrive. 100 percent are mirrored, and a check confirms that the canary responded to each."
    " The figure is processor time of the whole Envoy process divided by the number of requests, median of"
    " {rounds} rounds of {seconds:g} s that take turns. *By hand* is another Envoy in the same run, whose"
    " configuration is written by hand: a route with `request_mirror_policies`, and a cluster without limits"
    " and filters. Ratios are medians of the ratios of each round."
    " Only the last row is with pairs: its Envoy logs {entries:.2f} entries for each mirrored request."
    " Other programs ran, too: the load average was {load:.0f}."
)
ABOUT_HOSTILE: Final = (
    "Uploads of {size} MB to the stable version, {rate:g} a second, each at its due time whatever the"
    " duration of others, through one worker of a real Envoy. The three figures are without the shadow,"
    " with the default shadow, and with `max-body: 8Mi`. By default no upload of more than 1 MiB reaches"
    " the canary; with 8 MiB all of them do. The three take turns, {rounds} rounds of {seconds:g} s each."
    " Each round begins with a canary without history. The good canary shows the cost of mirroring itself"
    " on this machine, whose processors clients, backends and Envoy share. Memory is Envoy's; memory that"
    " one case has taken stays for the next. Other programs ran, too: the load average was {load:.0f}."
)
_KINDS: Final = {
    "good": "good",
    "stalls": "accepts and does not read",
    "floods": "responds with 1 GiB",
    "resets": "resets the connection",
    "hints": "sends 103 for ever, a hundred a second",
    "hints-fast": "sends 103 for ever, as fast as it can",
    "closes": "closes in the middle of the body",
}


def hostile(results: dict[str, Any]) -> list[tuple[str, ...]]:
    """A row for each kind of canary."""
    return [
        (
            _KINDS[kind],
            _each(sides, "p50_ms", "{:,.1f}", " ms"),
            _each(sides, "p99_ms", "{:,.1f}", " ms"),
            " / ".join(f"{ratio:.2f}" for ratio in ratios(sides)),
            _each(sides, "worst_ms", "{:,.0f}", " ms"),
            _each(sides, "failed", "{}"),
            _each(sides, "peak_mib", "{:.0f}", " MiB"),
            _each(sides, "copies", "{}"),
        )
        for kind, sides in results["kinds"].items()
    ]


def _each(sides: dict[str, Any], name: str, form: str, unit: str = "") -> str:
    return " / ".join(form.format(side[name]) for side in sides.values()) + unit


def ratios(sides: dict[str, Any]) -> list[float]:
    """The 99th percentiles with the shadow, through the one without."""
    off, *on = (side["p99_ms"] for side in sides.values())
    return [each / off for each in on]


def cost(results: dict[str, Any]) -> list[tuple[str, ...]]:
    """A row for each policy."""
    return [
        (
            each["case"],
            f"{each['cpu_us']:.1f} µs",
            f"{each['added_us']:+.1f} µs",
            f"{each['ratio']:.2f}",
            f"{each['of_bare']:.2f}",
        )
        for each in results["cases"]
    ]


def within(results: dict[str, Any], bound: float) -> str:
    """Which kinds of canary keep the 99th percentile within the bound."""
    found = []
    for place, side in enumerate(("By default", "With `max-body: 8Mi`")):
        over = [_KINDS[kind] for kind, sides in results["kinds"].items() if ratios(sides)[place] > bound]
        kept = len(results["kinds"]) - len(over)
        rest = f" (exceeded by the one that {', and the one that '.join(over)})" if over else ""
        found.append(f"{side}: {kept} of {len(results['kinds'])}{rest}")
    return f"Canaries with a p99 ratio of at most {bound:g}. {'. '.join(found)}."
