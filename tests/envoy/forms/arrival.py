"""What arrived of a request, independent of the version of HTTP, and how two arrivals differ."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

Headers = tuple[tuple[str, str], ...]

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_ADDRESS = re.compile(r"(?<![\d.])(?!203\.0\.113\.)\d+(\.\d+){3}(?![\d.])")
"""But for those that the forms have."""

_LONGEST = 60


@dataclass(frozen=True)
class Arrival:
    """One request. `target` is the path with its query; the host is among the `headers`, whose names are as
    they arrived. Values are Latin-1. `body` is without its transfer coding."""

    method: str
    target: str
    headers: Headers
    body: bytes = b""
    trailers: Headers = ()

    def header(self, name: str) -> str:
        """The first value, or nothing."""
        return next((value for each, value in self.headers if each.lower() == name), "")


def differences(sent: Arrival, found: Arrival) -> frozenset[str]:
    """How `found` differs from `sent`, one text each; empty if it does not."""
    return frozenset(
        (
            *_of_field("method", sent.method, found.method),
            *_of_field("target", sent.target, found.target),
            *_of_headers("", sent.headers, found.headers),
            *_of_headers("trailer ", sent.trailers, found.trailers),
            *_of_body(sent.body, found.body),
        )
    )


def _of_field(name: str, sent: str, found: str) -> Iterator[str]:
    if sent != found:
        yield f"{name} {_short(found)}"


def _of_headers(kind: str, sent: Headers, found: Headers) -> Iterator[str]:
    before, after = _counted(sent), _counted(found)
    yield from (f"- {kind}{_shown(*each)}" for each in (before - after))
    yield from (f"+ {kind}{_shown(*each)}" for each in (after - before))
    if not kind and _mixed(sent) and not _mixed(found):
        yield "names in lower case"


def _of_body(sent: bytes, found: bytes) -> Iterator[str]:
    if sent != found:
        yield f"body of {len(found)} bytes instead of {len(sent)}"


def _counted(headers: Headers) -> Counter[tuple[str, str]]:
    return Counter((name.lower(), value) for name, value in headers)


def _mixed(headers: Headers) -> bool:
    return any(name != name.lower() for name, _ in headers)


def _shown(name: str, value: str) -> str:
    known = _ADDRESS.sub("ADDRESS", _UUID.sub("UUID", value))
    return f"{name}: {_short(known)}".rstrip()


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def by_form(arrivals: Iterable[Arrival]) -> dict[str, list[Arrival]]:
    """Arrivals by the name of their form."""
    found: dict[str, list[Arrival]] = {}
    for each in arrivals:
        found.setdefault(each.header(FORM), []).append(each)
    return found


FORM = "x-form"
"""The header by which an arrival is told: the name of its form."""
