"""Declares for each field of another project's documents whether it is converted.

A reader declares the documents of its project as structs. A field without a mark is converted: the reader
uses it. Any other field has a `Mark` with the effect of its loss. A field that no struct declares is unknown.
It may restrict or change a mirror, so the mirror does not run. The tables in ``docs/migration.md`` are
generated from these structs (`xds_server.cli.convert.tables`).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import NoneType, UnionType
from typing import Annotated, Any, ClassVar, Final, Generic, NamedTuple, TypeVar, Union, get_args, get_origin

import msgspec

Doc = Mapping[str, Any]
Place = tuple[str | int, ...]
"""The path of a value in a document: names and indices."""


class Fate(StrEnum):
    """The treatment of a field, in increasing severity."""

    CARRIED = "converted"
    HARMLESS = "ignored"
    LOST = "reported; the commands run without it"
    NO_HOSTS = "reported; `hosts` is printed as a comment"
    STOPS = "reported; all commands are printed as comments"


class Mark(NamedTuple):
    """A fate with its reason as a clause."""

    fate: Fate
    why: str


def lost(why: str) -> Mark:
    """Its loss mirrors no additional requests, and every request reaches the same Service."""
    return Mark(Fate.LOST, why)


def no_hosts(why: str) -> Mark:
    """Its loss changes the treatment of the host, so the host is not added to the Service."""
    return Mark(Fate.NO_HOSTS, why)


def stops(why: str) -> Mark:
    """Its loss would mirror additional requests, or change mirrored requests."""
    return Mark(Fate.STOPS, why)


Harmless = Annotated[object, Mark(Fate.HARMLESS, "")]
"""A field that does not affect requests."""

UNKNOWN: Final = stops("an unknown field, which may restrict or change the mirror")

_FOREIGN: Final = lost("an annotation of another program")
_OF_TOOLS: Final = (
    "kubectl.kubernetes.io/",
    "meta.helm.sh/",
    "argocd.argoproj.io/",
    "kustomize.toolkit.fluxcd.io/",
    "helm.toolkit.fluxcd.io/",
    "app.kubernetes.io/",
    "deployment.kubernetes.io/",
)
"""Prefixes of annotations that tools write for their own use."""


class Part(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """A mapping in a document."""


class Annotations(Part, frozen=True):
    """Annotations. Those with the prefix of the project are treated as fields of its ``spec``; others are
    reported."""

    own_prefixes: ClassVar[tuple[str, ...]] = ()


class Metadata(Part, frozen=True):
    """``metadata`` without the annotations, which differ between projects."""

    name: str = ""
    namespace: str = ""
    creation_timestamp: str = ""
    uid: Harmless = None
    resource_version: Harmless = None
    generation: Harmless = None
    generate_name: Harmless = None
    labels: Harmless = None
    managed_fields: Harmless = None
    owner_references: Harmless = None
    finalizers: Harmless = None
    self_link: Harmless = None
    deletion_timestamp: Harmless = None
    deletion_grace_period_seconds: Harmless = None


class PlainMetadata(Metadata, frozen=True):
    """``metadata`` of a project whose annotations do not affect routes."""

    annotations: Annotations = Annotations()


class Document(Part, frozen=True):
    """The fields of every document."""

    api_version: str = ""
    kind: str = ""
    status: Harmless = None


class Note(NamedTuple):
    """A field that is not converted. `why` is a clause."""

    place: Place
    fate: Fate
    why: str

    def __str__(self) -> str:
        return f"{path_text(self.place)}: {self.why}" if self.place else self.why


def path_text(place: Place) -> str:
    """The path in the notation of kubectl: ``spec.http[0].match``."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in place)
    return text.removeprefix(".")


P = TypeVar("P", bound=Part)


@dataclass(frozen=True, slots=True)
class Reading(Generic[P]):
    """A document as its struct, or None if it is invalid, and its fields that are not converted."""

    value: P | None
    notes: tuple[Note, ...]


def read(kind: type[P], doc: Doc) -> Reading[P]:
    """Read a document."""
    pruned = _without_nulls(doc)
    notes = tuple(_notes(kind, pruned, ()))
    try:
        return Reading(msgspec.convert(pruned, kind), notes)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$.")
        place = where.rstrip("`")  # msgspec uses the notation of kubectl
        return Reading(None, (*notes, Note((place,), Fate.STOPS, f"invalid: {what}")))


def _without_nulls(value: object) -> Any:
    """The value without nulls, as an API server stores it."""
    match value:
        case Mapping():
            return {str(key): _without_nulls(each) for key, each in value.items() if each is not None}
        case list():
            return [_without_nulls(each) for each in value]
        case _:
            return value


def _notes(kind: object, value: object, place: Place) -> Iterator[Note]:
    """Every field at or below `place` that is not converted."""
    kind = _bare(kind)
    if isinstance(kind, type) and issubclass(kind, Part) and isinstance(value, Mapping):
        known = {each.encode_name: each.type for each in msgspec.structs.fields(kind)}
        for key, each in value.items():
            mark = _mark(known[key]) if key in known else _unknown(kind, key)
            if mark is None:
                yield from _notes(known[key], each, (*place, key))
            elif mark.fate is not Fate.HARMLESS:
                yield Note((*place, key), mark.fate, mark.why)
    elif get_origin(kind) is list and isinstance(value, list):
        for number, each in enumerate(value):
            yield from _notes(get_args(kind)[0], each, (*place, number))
    elif get_origin(kind) is dict and isinstance(value, Mapping):
        for key, each in value.items():
            yield from _notes(get_args(kind)[1], each, (*place, key))


def _unknown(kind: type[Part], key: str) -> Mark:
    if not issubclass(kind, Annotations) or key.startswith(kind.own_prefixes or ("\0",)):
        return UNKNOWN
    return Mark(Fate.HARMLESS, "") if key.startswith(_OF_TOOLS) else _FOREIGN


def _mark(kind: object) -> Mark | None:
    found = [each for each in get_args(kind)[1:] if isinstance(each, Mark)]
    return found[0] if get_origin(kind) is Annotated and found else None


def _bare(kind: object) -> object:
    """The type of an optional value."""
    if get_origin(kind) in (Union, UnionType):
        parts = [each for each in get_args(kind) if each is not NoneType]
        return parts[0] if len(parts) == 1 else kind
    return kind


class Row(NamedTuple):
    """A field of a struct and its mark. In the path ``[]`` is any index and ``*`` any name."""

    path: str
    mark: Mark


_CARRIED: Final = Mark(Fate.CARRIED, "")


def rows(kind: object, path: str = "") -> Iterator[Row]:
    """All fields that a struct declares, except the common ones of ``metadata``."""
    kind = _bare(kind)
    if get_origin(kind) is list:
        yield from rows(get_args(kind)[0], f"{path}[]")
    elif get_origin(kind) is dict:
        yield from rows(get_args(kind)[1], f"{path}.*")
    elif isinstance(kind, type) and issubclass(kind, Part):
        common = (
            {each.name for each in msgspec.structs.fields(Metadata)} if issubclass(kind, Metadata) else ()
        )
        for each in msgspec.structs.fields(kind):
            if each.name in common or (not path and each.name in Document.__struct_fields__):
                continue
            where = f"{path}.{each.encode_name}".removeprefix(".")
            mark = _mark(each.type)
            yield from [Row(where, mark)] if mark else rows(each.type, where)
    else:
        yield Row(path, _CARRIED)
