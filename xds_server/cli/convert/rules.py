"""The routing of another project's documents in a common form.

A reader returns `Rule`s in the order in which its project tries them. Conditions that annotations cannot
express are kept as `others`: it is not known whether a request meets them.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum, auto
from typing import NamedTuple

from xds_server.base.ids import NamespacedName
from xds_server.base.text import plain
from xds_server.cli.convert.fields import Note, Place

_SHOWN = 200


class How(Enum):
    """How a string is compared. `PREFIX` compares characters, `SEGMENT` whole path segments."""

    EXACT = auto()
    PREFIX = auto()
    SEGMENT = auto()
    PRESENT = auto()
    ABSENT = auto()


class Path(NamedTuple):
    """A condition on the path."""

    how: How
    value: str

    def holds(self, path: str) -> bool:
        if self.how is How.EXACT:
            return path == self.value
        if self.how is How.PREFIX:
            return path.startswith(self.value)
        whole = self.value.rstrip("/")
        return path == whole or path.startswith(f"{whole}/")


class Header(NamedTuple):
    """A condition on a header. The name is in lowercase."""

    name: str
    how: How
    value: str = ""

    def holds(self, headers: Mapping[str, str]) -> bool:
        found = headers.get(self.name)
        if self.how is How.EXACT:
            return found == self.value
        return (found is not None) is (self.how is How.PRESENT)


class Request(NamedTuple):
    """The parts of a request that rules match."""

    method: str
    path: str
    headers: Mapping[str, str]

    def __str__(self) -> str:
        said = "".join(f" with {name}: {value}" for name, value in sorted(self.headers.items()))
        return f"{self.method} {self.path}{said}"


@dataclass(frozen=True, slots=True)
class Match:
    """Conditions that must all hold. `methods` None: any. `others` are names of conditions."""

    path: Path | None = None
    methods: frozenset[str] | None = None
    headers: tuple[Header, ...] = ()
    others: tuple[str, ...] = ()

    def holds(self, request: Request) -> bool | None:
        """Whether a request meets the conditions. None if that depends on the `others`."""
        known = (
            (self.path is None or self.path.holds(request.path))
            and (self.methods is None or request.method in self.methods)
            and all(each.holds(request.headers) for each in self.headers)
        )
        return None if known and self.others else known


@dataclass(frozen=True, slots=True)
class Subset:
    """A subset of a Service's Pods. `labels` None: the input does not define it."""

    name: str
    labels: Mapping[str, str] | None


@dataclass(frozen=True, slots=True)
class Backend:
    """A destination of requests. `service` None: it is not a Service; `text` describes it."""

    service: NamespacedName | None
    text: str
    port: int | str | None = None
    subset: Subset | None = None
    weight: int = 1


@dataclass(eq=False, slots=True)
class Source:
    """A document and its fields that are not converted. Compared by identity."""

    project: str
    kind: str
    name: NamespacedName
    created: str = ""
    notes: tuple[Note, ...] = ()

    def __str__(self) -> str:
        return plain(f"{self.kind} {self.name.namespace}/{self.name.name}", _SHOWN)


@dataclass(frozen=True, slots=True)
class Mirror:
    """A mirror of a rule to a Service, or to `deployment` if it is set. `annotations` are additional
    annotations, `problems` reasons why it cannot be converted, and `assumed` differences that always exist.
    `source` is its document if that is not the rule's."""

    backend: Backend
    percent: Decimal = Decimal(100)
    deployment: str = ""
    annotations: tuple[tuple[str, str], ...] = ()
    problems: tuple[str, ...] = ()
    assumed: tuple[str, ...] = ()
    source: Source | None = None


@dataclass(frozen=True, eq=False, slots=True)
class Rule:
    """One alternative of a document's rule. `hosts` are domains as in Envoy, ``*`` for all. Without
    `backends` requests get a direct response. `above` are notes of other documents that apply to it. `grpc`:
    its requests are gRPC calls. Compared by identity."""

    source: Source
    place: Place
    hosts: tuple[str, ...]
    match: Match
    backends: tuple[Backend, ...] = ()
    mirrors: tuple[Mirror, ...] = ()
    problems: tuple[str, ...] = ()
    above: tuple[Note, ...] = ()
    grpc: bool = False

    def notes(self, places: Collection[Place]) -> tuple[Note, ...]:
        """The notes of this rule and of its whole document, whose rules are at `places`."""
        return (
            tuple(
                note
                for note in self.source.notes
                if note.place[: len(self.place)] == self.place
                or not any(note.place[: len(each)] == each for each in places)
            )
            + self.above
        )

    @property
    def service(self) -> Backend | None:
        """The only destination of its requests, or None."""
        used = [each for each in self.backends if each.weight]
        kinds = {(each.service, each.text, each.port) for each in used}
        subsets = {each.subset.name if each.subset else "" for each in used}
        return used[0] if len(kinds) == len(subsets) == 1 else None


@dataclass(frozen=True, slots=True)
class Routing:
    """All rules of a project. `falls_through`: a request that no rule of its exact host matches is matched
    with the rules of wildcards. `ordered`: rules of several documents are tried in this order; otherwise the
    order of documents is not known."""

    project: str
    rules: tuple[Rule, ...]
    sources: tuple[Source, ...]
    falls_through: bool = False
    ordered: bool = True

    def of_host(self, host: str) -> list[Rule]:
        """The rules that are tried for a request to this host, in order."""
        depth = {pattern for rule in self.rules for pattern in rule.hosts if covers(pattern, host)}
        found = sorted(depth, key=lambda each: (each.startswith("*"), -len(each)))
        used = found if self.falls_through else found[:1]
        return [rule for pattern in used for rule in self.rules if pattern in rule.hosts]


def covers(pattern: str, host: str) -> bool:
    """Whether a pattern such as ``*.example.com`` matches this host."""
    if pattern.startswith("*"):
        return host.endswith(pattern[1:]) and len(host) > len(pattern) - 1
    return pattern == host
