"""Compares the routing of documents with the routing after the conversion, for all requests.

Conditions on paths, methods and headers divide requests into finitely many classes. `Cases` has one request
of each class, and what holds for it holds for its class. Conditions of other kinds may be met or not. Then a
request has several possible outcomes, and a statement must hold for each of them.
"""

from collections.abc import Iterable, Sequence
from itertools import product
from math import prod
from typing import Final, NamedTuple

from xds_server.cli.convert.draft import Draft, draft_of
from xds_server.cli.convert.rules import Header, How, Match, Path, Request, Routing, Rule

MOST: Final = 5_000
"""The maximum of requests that are compared for one host."""

_FRESH: Final = "xyz-any"
"""A value that no document contains."""

_OFTEN: Final = ("GET", "POST", "ANY")


class TooManyError(ValueError):
    """There are more classes of requests than the maximum."""


class Case(NamedTuple):
    """A request and the rules that may match it. None: no rule matches."""

    request: Request
    rules: Sequence[Rule | None]


class Cases:
    """One request of each class with its possible outcomes, for each host."""

    def __init__(self, routing: Routing) -> None:
        self._routing = routing
        self._by_host: dict[str, _Host] = {}
        self._found: dict[tuple[str, Atoms], list[Case]] = {}

    def names(self, host: str) -> bool:
        """Whether a rule names exactly this host."""
        return any(host in rule.hosts for rule in self._routing.rules)

    def rules(self, host: str) -> Sequence[Rule]:
        """The rules that are tried for a request to this host."""
        return self._host(host).rules

    def of(self, host: str, draft: Draft) -> list[Case]:
        """One request of each class that the rules of the host and a draft distinguish.

        Raises:
            TooManyError: there are more than `MOST`.
        """
        known = self._host(host)
        atoms = known.atoms.union(Atoms.of(draft.matches()))
        if (host, atoms) not in self._found:
            self._found[host, atoms] = [Case(each, self._outcomes(host, each)) for each in atoms.requests()]
        return self._found[host, atoms]

    def _host(self, host: str) -> "_Host":
        if host not in self._by_host:
            rules = self._routing.of_host(host)
            # Include the conditions of possible drafts, so that most drafts add no classes.
            drafts = [draft for rule in rules if isinstance(draft := draft_of(rule.match), Draft)]
            matches = [
                *(rule.match for rule in rules),
                *(each for draft in drafts for each in draft.matches()),
            ]
            self._by_host[host] = _Host(rules, Atoms.of(matches))
        return self._by_host[host]

    def _outcomes(self, host: str, request: Request) -> list[Rule | None]:
        rules = self._host(host).rules
        if self._routing.ordered or not rules:
            return outcomes(rules, request)
        sources = dict.fromkeys(rule.source for rule in rules)
        return [
            found
            for source in sources
            for found in outcomes([rule for rule in rules if rule.source is source], request)
        ]


class Atoms(NamedTuple):
    """The conditions that distinguish requests."""

    paths: frozenset[str]
    methods: frozenset[str]
    headers: frozenset[Header]

    @classmethod
    def of(cls, matches: Iterable[Match]) -> "Atoms":
        """The conditions of all these matches."""
        matches = list(matches)
        return cls(
            frozenset(_value(match.path) for match in matches if match.path),
            frozenset(method for match in matches for method in match.methods or ()),
            frozenset(header for match in matches for header in match.headers),
        )

    def union(self, other: "Atoms") -> "Atoms":
        """Both."""
        return Atoms(self.paths | other.paths, self.methods | other.methods, self.headers | other.headers)

    def requests(self) -> list[Request]:
        """One request of each class.

        Raises:
            TooManyError: there would be more than `MOST`.
        """
        paths, headers = _paths(self.paths), _headers(self.headers)
        methods = [*sorted(self.methods), next(each for each in _OFTEN if each not in self.methods)]
        if len(paths) * len(methods) * prod(len(values) for values in headers.values()) > MOST:
            raise TooManyError
        return [
            Request(method, path, {name: value for name, value in said if value is not None})
            for path, method in product(paths, methods)
            for said in product(*([(name, each) for each in values] for name, values in headers.items()))
        ]


class _Host(NamedTuple):
    rules: list[Rule]
    atoms: Atoms


def _value(path: Path) -> str:
    return path.value if path.how is not How.SEGMENT else path.value.rstrip("/")


def _paths(values: Iterable[str]) -> list[str]:
    """The class of a path is the longest named prefix and the character after it."""
    found = {"/", f"/{_FRESH}"}
    for value in values:
        found |= {value, f"{value}{_FRESH}", f"{value}/{_FRESH}", f"{value.rstrip('/')}/{_FRESH}"}
        if value.endswith("/") and len(value) > 1:
            found.add(value[:-1])
    return sorted(path for path in found if path.startswith("/"))


def _headers(conditions: Iterable[Header]) -> dict[str, list[str | None]]:
    found: dict[str, list[str | None]] = {}
    for each in sorted(conditions, key=lambda each: (each.name, each.value)):
        values = found.setdefault(each.name, [None, _FRESH])
        if each.how is How.EXACT and each.value not in values:
            values.append(each.value)
    return found


def outcomes(rules: Sequence[Rule], request: Request) -> list[Rule | None]:
    """The rules that may match a request, tried in order. None: no rule matches."""
    found: list[Rule | None] = []
    for rule in rules:
        holds = rule.match.holds(request)
        if holds is not False:
            found.append(rule)
        if holds:
            return found
    return [*found, None]
