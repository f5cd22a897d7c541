"""The routing of another project's documents, in terms that all of them share.

A reader makes `Rule`s in the order in which its project tries them. Conditions of kinds that annotations do
not have are kept as `others`: of those nobody here can tell whether a request meets them.
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
    """How a text is compared. `PREFIX` goes by characters, `SEGMENT` by whole path segments."""

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
    """A condition on a header; the name is in small letters."""

    name: str
    how: How
    value: str = ""

    def holds(self, headers: Mapping[str, str]) -> bool:
        found = headers.get(self.name)
        if self.how is How.EXACT:
            return found == self.value
        return (found is not None) is (self.how is How.PRESENT)


class Request(NamedTuple):
    """A request as far as rules look at it."""

    method: str
    path: str
    headers: Mapping[str, str]

    def __str__(self) -> str:
        said = "".join(f" with {name}: {value}" for name, value in sorted(self.headers.items()))
        return f"{self.method} {self.path}{said}"


@dataclass(frozen=True, slots=True)
class Match:
    """All of it has to hold. `methods` None: any. `others` are conditions that are only named."""

    path: Path | None = None
    methods: frozenset[str] | None = None
    headers: tuple[Header, ...] = ()
    others: tuple[str, ...] = ()

    def holds(self, request: Request) -> bool | None:
        """Whether a request meets it; None if that hangs on the `others`."""
        known = (
            (self.path is None or self.path.holds(request.path))
            and (self.methods is None or request.method in self.methods)
            and all(each.holds(request.headers) for each in self.headers)
        )
        return None if known and self.others else known


@dataclass(frozen=True, slots=True)
class Subset:
    """A part of a Service's Pods; `labels` None: the documents do not say which."""

    name: str
    labels: Mapping[str, str] | None


@dataclass(frozen=True, slots=True)
class Backend:
    """Where requests go. `service` None: to something else, `text` says what."""

    service: NamespacedName | None
    text: str
    port: int | str | None = None
    subset: Subset | None = None
    weight: int = 1


@dataclass(eq=False, slots=True)
class Source:
    """A document, with what of it is not carried over. Compared by identity."""

    project: str
    kind: str
    name: NamespacedName
    created: str = ""
    notes: tuple[Note, ...] = ()

    def __str__(self) -> str:
        return plain(f"{self.kind} {self.name.namespace}/{self.name.name}", _SHOWN)


@dataclass(frozen=True, slots=True)
class Mirror:
    """A mirror of a rule: to a Service, or where `deployment` is given to that. `annotations` are what else
    is to be said of it; `problems` why it cannot be said, `assumed` what is different in any case. `source`:
    the document that has it, if it is not the rule's."""

    backend: Backend
    percent: Decimal = Decimal(100)
    deployment: str = ""
    annotations: tuple[tuple[str, str], ...] = ()
    problems: tuple[str, ...] = ()
    assumed: tuple[str, ...] = ()
    source: Source | None = None


@dataclass(frozen=True, eq=False, slots=True)
class Rule:
    """One alternative of a document's rule. `hosts` as Envoy's domains, ``*`` for all. Without `backends`
    requests get an answer that comes from no Service. `above` are notes of other documents that hold for it.
    `grpc`: its requests are gRPC calls. Compared by identity."""

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
        """What is not carried over of this rule or of its whole document, whose rules are at `places`."""
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
        """Where all of its requests go."""
        used = [each for each in self.backends if each.weight]
        kinds = {(each.service, each.text, each.port) for each in used}
        subsets = {each.subset.name if each.subset else "" for each in used}
        return used[0] if len(kinds) == len(subsets) == 1 else None


@dataclass(frozen=True, slots=True)
class Routing:
    """All rules of a project. `falls_through`: a request that no rule of its very host takes is tried by
    those of wildcards. `ordered`: rules of several documents are tried in this order; if not, nobody knows
    which document comes first."""

    project: str
    rules: tuple[Rule, ...]
    sources: tuple[Source, ...]
    falls_through: bool = False
    ordered: bool = True

    def of_host(self, host: str) -> list[Rule]:
        """The rules that a request for this host is tried by, in order."""
        depth = {pattern for rule in self.rules for pattern in rule.hosts if covers(pattern, host)}
        found = sorted(depth, key=lambda each: (each.startswith("*"), -len(each)))
        used = found if self.falls_through else found[:1]
        return [rule for pattern in used for rule in self.rules if pattern in rule.hosts]


def covers(pattern: str, host: str) -> bool:
    """Whether a pattern such as ``*.example.com`` is for this host."""
    if pattern.startswith("*"):
        return host.endswith(pattern[1:]) and len(host) > len(pattern) - 1
    return pattern == host
