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
    "copies begun",
)
COST_COLUMNS: Final = ("the copies", "CPU", "more than without", "ratio")
ABOUT_COST: Final = (
    "One worker of a real Envoy with the control plane's own configuration; a good canary. Every request is a"
    " POST of {body:,} bytes of JSON with five headers, from eight connections, as fast as they are answered;"
    " 100 percent are copied, and each copy is checked to have been answered. Processor time of the whole"
    " Envoy process through the number of requests, median of {rounds} rounds of {seconds:g} s that take"
    " turns."
)
ABOUT_HOSTILE: Final = (
    "Uploads of {size} MB to the stable version, {rate:g} a second, each when it is due however long others"
    " take, through one worker of a real Envoy. Figures are without the shadow / with it as it is by default"
    " / with `max-body: 8Mi`. By default no upload of more than 1 MiB reaches the canary; with 8 MiB all of"
    " them are sent to it. The sides take turns, {rounds} rounds of {seconds:g} s each; each round begins"
    " with a canary that nothing is known of yet. The good canary shows what copying itself costs on this"
    " machine, whose processors clients, backends and Envoy share. Memory is Envoy's; what one side has"
    " taken, the next still has."
)
_KINDS: Final = {
    "good": "good",
    "stalls": "accepts, and reads nothing",
    "floods": "answers with 1 GiB",
    "resets": "resets the connection",
    "hints": "answers 103 for ever, a hundred a second",
    "hints-fast": "answers 103 for ever, as fast as it can",
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
        (each["case"], f"{each['cpu_us']:.1f} µs", f"{each['added_us']:+.1f} µs", f"{each['ratio']:.2f}")
        for each in results["cases"]
    ]


def within(results: dict[str, Any], bound: float) -> str:
    """Which kinds of canary keep the 99th percentile within the bound."""
    found = []
    for place, side in enumerate(("As it is by default", "With `max-body: 8Mi`")):
        over = [_KINDS[kind] for kind, sides in results["kinds"].items() if ratios(sides)[place] > bound]
        kept = len(results["kinds"]) - len(over)
        rest = f"; not for the one that {', nor the one that '.join(over)}" if over else ""
        found.append(f"{side} it is for {kept} of {len(results['kinds'])}{rest}")
    return f"Is the 99th percentile within {bound:g} of that without the shadow? {'. '.join(found)}."
