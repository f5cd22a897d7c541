"""The types of the rows of the annotation table (`annotations`)."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from xds_server.core.keys import PREFIX

T = TypeVar("T")
R = TypeVar("R", bound="Row[Any]")


@dataclass(frozen=True, slots=True)
class Row(Generic[T]):
    """One setting. `read` turns its text into a value, or raises `values.PolicyError`."""

    name: str
    read: Callable[[str], T]

    @property
    def key(self) -> str:
        """The name with the prefix, as objects have it."""
        return PREFIX + self.name


@dataclass(frozen=True, slots=True)
class Bound(Row[Any]):
    """A bound on one annotation, set on a Namespace or in the policy file. `limited` takes the value of that
    annotation, whether a shadow or a default asks for it, and the bound. It returns the value within the
    bound, or raises `bounds.NotAllowedError`. A bound named ``…-required`` adds its values."""

    limited: Callable[[Any, bool, Any], Any]
    example: str
    on: str = ""

    @property
    def adds(self) -> bool:
        return self.name.endswith("-required")


@dataclass(frozen=True, slots=True)
class Annotation(Row[T]):
    """A setting of a shadow: on its workload, or as a default on its Namespace (unless it is `own`) and in
    the policy file. `written` is the default in the documentation, in backquotes where a text means it."""

    default: T
    written: str
    meaning: str
    bound: Bound | None = None
    own: bool = False


@dataclass(frozen=True, slots=True)
class Limit(Row[int]):
    """A limit of a Service or a namespace, set on a Namespace or in the policy file. `most` is the default.
    Only the policy file can raise a limit, and only a `raisable` one."""

    most: int
    of: str
    example: str
    raisable: bool = False

    @property
    def field(self) -> str:
        """The field of `limits.Limits` that it sets."""
        return self.name.removesuffix("-max").replace("-", "_")


@dataclass(frozen=True, slots=True)
class Allowed(Row[T]):
    """The values that an annotation of a Service may have, set on a Namespace or in the policy file. There is
    no default: any value is allowed. `of` and `example` are for the documentation, as those of a `Limit`."""

    of: str
    example: str


@dataclass(frozen=True, slots=True)
class ServiceAnnotation(Row[tuple[str, ...]]):
    """An annotation of a Service: a list. An entry that is not valid does not affect the others. `services`
    and `ports` decide which entries are valid."""

    meaning: str
    default: str
    example: str


def of(row: Annotation[T]) -> T:
    """A field of a policy whose default is that of `row`."""
    return field(default=row.default, metadata={"row": row})


def by_name(rows: Iterable[R]) -> dict[str, R]:
    """The rows by name, sorted."""
    return {row.name: row for row in sorted(rows, key=lambda row: row.name)}
