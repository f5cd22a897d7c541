"""The comparison as rows of text. A ratio is ours through theirs, so less is better for us; rows that we lose
stand beside those that we win.
"""

from collections.abc import Iterator
from typing import Any, Final

from bench.peers.measure import OURS, THEIRS

CPU_TARGET: Final = 0.25
"""Of the other side's processor time, at `TARGET_SERVICES` or more."""

WALL_TARGET: Final = 0.5
"""Of the other side's time from a commit to the last acknowledgement, at this many streams and Services."""

TARGET_SERVICES: Final = 1_000
TARGET_STREAMS: Final = 500

_NONE: Final = "-"

TIME_COLUMNS: Final = (
    "Services",
    "streams",
    "variant",
    "scenario",
    "CPU: ours",
    "theirs",
    "ratio",
    "target",
    "of a response: ratio",
    "to the last ACK: ours",
    "theirs",
    "ratio",
    "target",
    "CPU of the client: ours",
    "theirs",
)
SIZE_COLUMNS: Final = (
    "Services",
    "streams",
    "variant",
    "scenario",
    "responses: ours",
    "theirs",
    "bytes a stream: ours",
    "theirs",
    "ratio",
    "memory: ours",
    "theirs",
    "ratio",
)


def times(ads: dict[str, Any]) -> list[tuple[str, ...]]:
    """Rows for `TIME_COLUMNS`."""
    rows = []
    for setting, scenario, ours, theirs in _pairs(ads):
        cpu, wall = _ratio(ours, theirs, "cpu_us"), _ratio(ours, theirs, "wall_ms")
        cpu_target = CPU_TARGET if setting["services"] >= TARGET_SERVICES else None
        at_target = setting["services"] == TARGET_SERVICES and setting["streams"] == TARGET_STREAMS
        row = (
            *_what(setting, scenario),
            *_both(ours, theirs, "cpu_us", _microseconds),
            _number(cpu),
            _verdict(cpu, cpu_target),
            _number(_of_a_response(ours, theirs)),
            *_both(ours, theirs, "wall_ms", _milliseconds),
            _number(wall),
            _verdict(wall, WALL_TARGET if at_target else None),
            *_both(ours, theirs, "client_us", _microseconds),
        )
        rows.append(row)
    return rows


def sizes(ads: dict[str, Any]) -> list[tuple[str, ...]]:
    """Rows for `SIZE_COLUMNS`."""
    return [
        (
            *_what(setting, scenario),
            *_both(ours, theirs, "responses", lambda value: f"{value:g}"),
            *_both(ours, theirs, "bytes", lambda value: f"{value:,.0f}"),
            _number(_ratio(ours, theirs, "bytes")),
            *_both(ours, theirs, "rss_mib", lambda value: f"{value:,.0f} MiB"),
            _number(_ratio(ours, theirs, "rss_mib")),
        )
        for setting, scenario, ours, theirs in _pairs(ads)
    ]


def verdicts(ads: dict[str, Any]) -> str:
    """How many rows reach their targets, and what failed."""
    rows = times(ads)
    found = []
    for column, name in (
        (7, f"processor time at most {CPU_TARGET:g}"),
        (12, f"time at most {WALL_TARGET:g}"),
    ):
        judged = [row[column] for row in rows if row[column] != _NONE]
        if judged:
            found.append(f"{name} of theirs: reached in {judged.count('reached')} of {len(judged)} rows")
    failed = [
        f"{' '.join(_what(setting, scenario))}, {name}: {each['failed']}"
        for setting, scenario, *sides in _pairs(ads)
        for name, each in zip((OURS, THEIRS), sides, strict=True)
        if each and "failed" in each
    ]
    return "; ".join([*found, f"failed: {'; '.join(failed) or 'nothing'}"]) + "."


def remarks(ads: dict[str, Any]) -> str:
    """What readers must know of this run."""
    found = []
    if ads["skipped"]:
        found.append(f"The other side was not measured: {ads['skipped']}.")
    if not ads["virtual_hosts"]:
        found.append("Our server serves no virtual hosts by themselves yet, so both sides are without.")
    if groups := [each for each in ads["settings"] if each["connected_in_groups"]]:
        named = ", ".join(f"{each['services']:,} x {each['streams']:,} {each['variant']}" for each in groups)
        found.append(
            f"A first sync of {named} would transfer many gigabytes. There the fleet reconnects with what it"
            " has, in small groups, which is not measured, and there are fewer rounds."
        )
    refused = sum(
        each.get("refused", 0) for *_, ours, theirs in _pairs(ads) for each in (ours, theirs) if each
    )
    if refused:
        found.append(f"Streams that the server ended with a request to reconnect later: {refused:,}.")
    return " ".join(found)


_Sides = tuple[dict[str, Any], str, dict[str, Any] | None, dict[str, Any] | None]


def _pairs(ads: dict[str, Any]) -> Iterator[_Sides]:
    for setting in sorted(ads["settings"], key=lambda each: (each["services"], each["streams"])):
        for scenario, sides in setting["scenarios"].items():
            yield setting, scenario, sides.get(OURS), sides.get(THEIRS)


def _what(setting: dict[str, Any], scenario: str) -> tuple[str, str, str, str]:
    return f"{setting['services']:,}", f"{setting['streams']:,}", setting["variant"], scenario


def _ratio(ours: dict[str, Any] | None, theirs: dict[str, Any] | None, name: str) -> float | None:
    if not ours or not theirs or not theirs.get(name) or name not in ours:
        return None
    ratio: float = ours[name] / theirs[name]
    return ratio


def _of_a_response(ours: dict[str, Any] | None, theirs: dict[str, Any] | None) -> float | None:
    cpu, responses = _ratio(ours, theirs, "cpu_us"), _ratio(ours, theirs, "responses")
    return cpu / responses if cpu and responses else None


def _both(ours: dict[str, Any] | None, theirs: dict[str, Any] | None, name: str, text: Any) -> Iterator[str]:
    for side in (ours, theirs):
        yield _NONE if side is None else text(side[name]) if name in side else "FAILED"


def _number(ratio: float | None) -> str:
    return _NONE if ratio is None else f"{ratio:.2f}"


def _verdict(ratio: float | None, target: float | None) -> str:
    if ratio is None or target is None:
        return _NONE
    return "reached" if ratio <= target else "missed"


def _microseconds(value: float) -> str:
    return f"{value:,.0f} µs"


def _milliseconds(value: float) -> str:
    return f"{value:,.1f} ms"
