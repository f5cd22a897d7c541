"""What was found in the documents of another project, in this program's own terms."""

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from xds_server.base.text import plain
from xds_server.model.objects import PREFIX
from xds_server.model.world import SHADOW_OF
from xds_server.shadows.policy import parse_policy
from xds_server.shadows.services import EXPOSE
from xds_server.shadows.values import PolicyError

Doc = Mapping[str, Any]
T = TypeVar("T")

_SHOWN: Final = 200
_LONGEST: Final = 1000
_METHODS: Final = "methods"


@dataclass(frozen=True, slots=True)
class Target:
    """Who gets the copies: a Deployment, and why it is taken for that; `sure` if the documents say so."""

    deployment: str
    why: str
    sure: bool


@dataclass(slots=True)
class Shadow:
    """One mirror. `differs` are things that cannot be said exactly, and would copy more than was asked for;
    `lost` are those that have no equivalent and copy nothing more."""

    origin: str
    namespace: str
    service: str
    target: Target
    annotations: dict[str, str] = field(default_factory=dict)
    hosts: tuple[str, ...] = ()
    differs: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Condition:
    """One alternative of a route: all of it has to hold. None and empty: any."""

    path: str | None = None
    method: str | None = None
    headers: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Nothing:
    """A mirror that has no equivalent at all, with the reason."""

    origin: str
    why: str


def select(shadow: Shadow, conditions: Sequence[Condition]) -> None:
    """Say these alternatives by annotations, as far as they can be said."""
    unique = [each for number, each in enumerate(conditions) if each not in conditions[:number]]
    if not unique or Condition() in unique:
        return
    if len({(each.path, each.headers) for each in unique}) > 1 and len({each.method for each in unique}) > 1:
        shadow.differs.append("alternatives that differ in path and method: here all conditions have to hold")
        return
    if len({each.headers for each in unique}) > 1:
        shadow.differs.append("alternatives that differ in headers: here all conditions have to hold")
        return
    if headers := unique[0].headers:
        shadow.annotations["headers"] = listed(headers)
    methods = [each.method for each in unique]
    if all(methods):
        shadow.annotations[_METHODS] = listed(filter(None, methods))
    paths = [each.path for each in unique]
    if all(paths):
        shadow.annotations["paths"] = listed(filter(None, paths))


def among_others(shadow: Shadow, number: int, count: int) -> None:
    """There, a request goes one way only: by the first route that takes it, or by the closest."""
    if number > 1 or (count > 1 and not {"paths", _METHODS, "headers"} & shadow.annotations.keys()):
        shadow.differs.append("requests that another route of the same document takes would be copied too")


def listed(values: Iterable[str]) -> str:
    """As an annotation lists them."""
    return ",".join(sorted(set(values)))


def string_prefix(shadow: Shadow, prefix: str) -> str | None:
    """The path for what begins with `prefix`, character by character, as Envoy's own prefixes do."""
    if prefix == "/":
        return None
    if not prefix.endswith("/"):
        shadow.lost.append(f"{prefix} covers whole path segments here: not {prefix}-more, as it did there")
    return prefix


def lines(found: Shadow) -> Iterator[str]:
    """What to type, with what has no equivalent as comments. Where it would copy more than was asked for, all
    of it is a comment."""
    yield comment(found.origin)
    try:
        parse_policy({PREFIX + name: value for name, value in found.annotations.items()})
    except PolicyError as error:
        found.differs.append(str(error))
    if not found.target.sure:
        yield comment(found.target.why)
    for each in (*found.lost, *found.differs):
        yield comment(f"no equivalent: {each}")
    if found.differs:
        yield comment("so this would copy what was not to be copied; read it before you use it:")
    off = "# " if found.differs else ""
    where = ("kubectl", "-n", found.namespace)
    yield off + _line(*where, "label", "service", found.service, f"{EXPOSE}=true")
    if found.hosts:
        hosts = f"{PREFIX}hosts={','.join(found.hosts)}"
        yield off + _line(*where, "annotate", "service", found.service, hosts)
    if found.annotations:
        said = [f"{PREFIX}{name}={value}" for name, value in sorted(found.annotations.items())]
        yield off + _line(*where, "annotate", "deployment", found.target.deployment, *said)
    mark = f"{SHADOW_OF}={found.service}"
    yield off + _line(*where, "label", "deployment", found.target.deployment, mark)


def comment(text: str) -> str:
    """On one line, whatever the documents hold."""
    return f"# {plain(text, _LONGEST)}"


def _line(*words: str) -> str:
    return " ".join(shlex.quote(plain(word, _LONGEST)) for word in words)


def at(doc: object, *path: str | int) -> Any:
    """The value at a place in a document; None if there is none."""
    for step in path:
        if isinstance(doc, Mapping) and isinstance(step, str):
            doc = doc.get(step)
        elif isinstance(doc, list) and isinstance(step, int) and step < len(doc):
            doc = doc[step]
        else:
            return None
    return doc


def mapping(doc: object, *path: str | int) -> Mapping[str, Any]:
    """The mapping at a place in a document; empty if there is none."""
    found = at(doc, *path)
    return {str(key): value for key, value in found.items()} if isinstance(found, Mapping) else {}


def items(doc: object, *path: str | int) -> list[Any]:
    """The list at a place in a document; empty if there is none."""
    found = at(doc, *path)
    return found if isinstance(found, list) else []


def text(doc: object, *path: str | int) -> str:
    """The text or number at a place in a document, as text; empty if there is none."""
    found = at(doc, *path)
    return str(found) if isinstance(found, str | int | float) and not isinstance(found, bool) else ""


def labels(doc: object, *path: str | int) -> dict[str, str]:
    """The map of texts at a place in a document."""
    found = at(doc, *path)
    return {str(key): str(value) for key, value in found.items()} if isinstance(found, Mapping) else {}


def named(doc: Doc) -> str:
    """Kind, namespace and name, for a person."""
    return plain(f"{text(doc, 'kind')} {namespace_of(doc)}/{text(doc, 'metadata', 'name')}", _SHOWN)


def namespace_of(doc: Doc) -> str:
    return text(doc, "metadata", "namespace") or "default"


class Documents:
    """All documents of the input, to look things up in."""

    def __init__(self, docs: Sequence[Doc]) -> None:
        self.all = docs

    def of(self, kind: str, namespace: str) -> Iterator[Doc]:
        return (doc for doc in self.all if text(doc, "kind") == kind and namespace_of(doc) == namespace)

    def behind_labels(self, namespace: str, wanted: Mapping[str, str], otherwise: Target) -> Target:
        """The Deployment whose Pods have these labels; `otherwise` if the documents do not tell."""
        found = [
            text(doc, "metadata", "name")
            for doc in self.of("Deployment", namespace)
            if wanted and wanted.items() <= labels(doc, "spec", "template", "metadata", "labels").items()
        ]
        return Target(found[0], "", sure=True) if len(found) == 1 else otherwise

    def behind_service(self, namespace: str, service: str) -> Target:
        """The Deployment that a Service selects."""
        guess = Target(
            service,
            f"the Deployment behind Service {service} is not in these documents; taken to have its name",
            sure=False,
        )
        for doc in self.of("Service", namespace):
            if text(doc, "metadata", "name") == service:
                return self.behind_labels(namespace, labels(doc, "spec", "selector"), guess)
        return guess


def local(host: str, namespace: str) -> tuple[str, str] | None:
    """Name and namespace of the Service that a host of the cluster stands for; None if it is none."""
    name, _, rest = host.partition(".")
    if not rest:
        return (name, namespace) if name else None
    other, _, suffix = rest.partition(".")
    return (name, other) if suffix in ("", "svc", "svc.cluster.local") else None
