"""What goes to a client, and what is kept of it until the client has answered."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from xds_server.base.ids import Nonce, TypeUrl, Version
from xds_server.xds.batch import Batch
from xds_server.xds.resource import MAX_RESPONSE_BYTES, Resource
from xds_server.xds.rollout import units
from xds_server.xds.snapshot import EMPTY, TypeSnapshot

_NONE: Final = frozenset[str]()


class Due(NamedTuple):
    """What a client must be sent: resources that are new to it, and names that it asked for and that do not
    exist. `answer` says both, and where nothing can need what goes, that it is gone. With it the client comes
    from `before` to `after`; it has nothing of `fresh` names, or of any (None)."""

    changed: Batch
    absent: tuple[str, ...]
    answer: Batch
    before: TypeSnapshot = EMPTY
    after: TypeSnapshot = EMPTY
    fresh: frozenset[str] | None = _NONE

    def parts(self) -> tuple[Batch, ...]:
        """`answer` in as many responses as it takes (rule 42)."""
        if self.answer.size <= MAX_RESPONSE_BYTES:
            return (self.answer,)

        def together() -> list[frozenset[str]]:
            names = (*self.answer.names, *self.answer.removed)
            return units(names, EMPTY if self.fresh is None else self.before, self.after)

        return self.answer.parts(MAX_RESPONSE_BYTES, together)


@dataclass(slots=True)
class Unanswered:
    """A response that the client has neither accepted nor refused yet (rule 3). `number` counts the responses
    of the stream; `at` is when it was sent, in seconds.

    It brought the client from `before` to `after`, but for `fresh` names, of which it had nothing (None: of
    all). `whole` says that it is full state.
    """

    version: Version
    batch: Batch
    number: int
    at: float = 0.0
    before: TypeSnapshot = EMPTY
    after: TypeSnapshot = EMPTY
    fresh: frozenset[str] | None = _NONE
    whole: bool = False

    @property
    def changed(self) -> frozenset[str]:
        """The names of what it changes for the client."""
        if self.whole:
            return self.after.changes_since(self.before).names.union(self.fresh or ())
        # What was taken away after all else is not in either.
        return self.batch.names.union(name for name in self.batch.removed if name in self.before.resources)

    @property
    def resources(self) -> Mapping[str, Resource]:
        """By name."""
        return {resource.name: resource for resource in self.batch.resources}

    def prior(self, name: str) -> Resource | None:
        """What the client had of a resource before."""
        if self.fresh is None or name in self.fresh:
            return None
        return self.before.resources.get(name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """What to write, independent of the variant's encoding."""

    type_url: TypeUrl
    version: Version
    nonce: Nonce
    batch: Batch

    @property
    def resources(self) -> tuple[Resource, ...]:
        """In the order of the response."""
        return self.batch.resources

    @property
    def removed(self) -> tuple[str, ...]:
        """Names that are taken away; delta only."""
        return self.batch.removed


class Draft(NamedTuple):
    """A response before it has a nonce. `changed` are those resources of `batch` that are new to the
    client; `due` is what came of them, if anything did. `whole` says that it is full state."""

    version: Version
    batch: Batch
    changed: Batch
    due: Due | None = None
    whole: bool = False
