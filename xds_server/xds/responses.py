"""Responses, and what is kept of them until the client answers."""

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
    """What a client must be sent. `changed` are resources that are new to it; `absent` are names that it
    subscribed to and that do not exist. `answer` has both, and also the removals if no other resource can
    refer to what is removed. The response brings the client from `before` to `after`. Of the names in `fresh`
    the client had nothing; None means of all names."""

    changed: Batch
    absent: tuple[str, ...]
    answer: Batch
    before: TypeSnapshot = EMPTY
    after: TypeSnapshot = EMPTY
    fresh: frozenset[str] | None = _NONE

    def parts(self) -> tuple[Batch, ...]:
        """`answer`, split into as many responses as necessary (rule 42)."""
        if self.answer.size <= MAX_RESPONSE_BYTES:
            return (self.answer,)

        def together() -> list[frozenset[str]]:
            names = (*self.answer.names, *self.answer.removed)
            return units(names, EMPTY if self.fresh is None else self.before, self.after)

        return self.answer.parts(MAX_RESPONSE_BYTES, together)


@dataclass(slots=True)
class Unanswered:
    """A response that the client has not answered yet (rule 3). `number` counts the responses of the stream;
    `at` is the time of sending, in seconds.

    The response brought the client from `before` to `after`. Of the names in `fresh` the client had nothing;
    None means of all names. `whole` says that the response is full state.
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
        """The names of the resources that it changes for the client."""
        if self.whole:
            return self.after.changes_since(self.before).names.union(self.fresh or ())
        # Removals that were sent last are in neither of the two snapshots.
        return self.batch.names.union(name for name in self.batch.removed if name in self.before.resources)

    @property
    def resources(self) -> Mapping[str, Resource]:
        """The resources by name."""
        return {resource.name: resource for resource in self.batch.resources}

    def prior(self, name: str) -> Resource | None:
        """What the client had of a resource before."""
        if self.fresh is None or name in self.fresh:
            return None
        return self.before.resources.get(name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """A response to write, independent of the variant's encoding."""

    type_url: TypeUrl
    version: Version
    nonce: Nonce
    batch: Batch

    @property
    def resources(self) -> tuple[Resource, ...]:
        """The resources in the order of the response."""
        return self.batch.resources

    @property
    def removed(self) -> tuple[str, ...]:
        """The removed names; delta only."""
        return self.batch.removed


class Draft(NamedTuple):
    """A response before it has a nonce. `changed` are the resources of `batch` that are new to the client.
    `due` is what the draft was made from, unless it is a removal. `whole` says that it is full state."""

    version: Version
    batch: Batch
    changed: Batch
    due: Due | None = None
    whole: bool = False
