"""The annotations that select requests, derived from the conditions of rules."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from xds_server.cli.convert.rules import Header, How, Match, Path, Request
from xds_server.core.terms import PathPrefix


@dataclass(frozen=True, slots=True)
class Draft:
    """The selection of mirrored requests. Empty paths, methods None and empty headers match all."""

    paths: frozenset[PathPrefix] = frozenset()
    excluded: frozenset[PathPrefix] = frozenset()
    methods: frozenset[str] | None = None
    headers: frozenset[Header] = frozenset()

    def admits(self, request: Request) -> bool:
        """Whether such a request is mirrored."""
        return (
            (not self.paths or any(_covers(each, request.path) for each in self.paths))
            and not any(_covers(each, request.path) for each in self.excluded)
            and (self.methods is None or request.method in self.methods)
            and all(each.holds(request.headers) for each in self.headers)
        )

    def covers(self, other: "Draft") -> bool:
        """Whether it provably admits every request that `other` admits."""
        return self == other or (
            not (self.paths or self.excluded)
            and (self.methods is None or (other.methods is not None and other.methods <= self.methods))
            and self.headers <= other.headers
        )

    def with_other(self, other: "Draft") -> "Draft | None":
        """The draft that selects exactly the requests of both, or None."""
        for one, each in ((self, other), (other, self)):
            if one.covers(each):
                return one
        if (self.methods, self.headers) == (other.methods, other.headers):
            return replace(self, paths=self.paths | other.paths, excluded=self.excluded | other.excluded)
        same = (self.paths, self.excluded, self.headers) == (other.paths, other.excluded, other.headers)
        if same and self.methods and other.methods:
            return replace(self, methods=self.methods | other.methods)
        return None

    def without(self, path: Path) -> "Draft | None":
        """The draft without the requests below a path, or None if it would select nothing."""
        excluded = _annotated(path)
        if excluded == "/" or any(excluded.covers(each) for each in self.paths):
            return None
        return replace(self, excluded=self.excluded | {excluded})

    def matches(self) -> Iterator[Match]:
        """Its conditions, each as a match."""
        yield Match(methods=self.methods, headers=tuple(self.headers))
        for each in self.paths | self.excluded:
            yield Match(Path(How.PREFIX if each.endswith("/") else How.SEGMENT, each))

    def annotations(self) -> dict[str, str]:
        """The annotations without their prefix."""
        headers = {
            each.name if each.how is How.PRESENT else f"{each.name}={each.value}" for each in self.headers
        }
        said = {
            "paths": self.paths,
            "exclude-paths": self.excluded,
            "methods": self.methods or (),
            "headers": headers,
        }
        return {name: _listed(values) for name, values in said.items() if values}


def draft_of(match: Match) -> Draft | str:
    """The draft for the requests that meet `match`, or the reason why there is none."""
    if match.others:
        return "; ".join(match.others)
    for each in match.headers:
        if each.how is How.ABSENT:
            return f"the header {each.name} must be absent"
        if "," in each.value or "\n" in each.value or (each.how is How.EXACT and not each.value.strip()):
            return f"the value of the header {each.name} cannot be written in a list"
    draft = Draft(methods=match.methods, headers=frozenset(match.headers))
    path = match.path
    if path is None or (path.value == "/" and path.how is not How.EXACT):
        return draft
    draft = replace(draft, paths=frozenset({_annotated(path)}))
    if path.how is How.EXACT and not path.value.endswith("/"):
        # The annotation also matches paths below: all of them begin with this path.
        return replace(draft, excluded=frozenset({PathPrefix(f"{path.value}/")}))
    return draft


def _annotated(path: Path) -> PathPrefix:
    value = path.value if path.how is not How.SEGMENT else path.value.rstrip("/") or "/"
    return PathPrefix(value)


def _covers(prefix: PathPrefix, path: str) -> bool:
    return prefix == "/" or prefix.covers(path)


def _listed(values: frozenset[str] | frozenset[PathPrefix] | set[str] | tuple[()]) -> str:
    return ",".join(sorted(values))
