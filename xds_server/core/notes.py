"""What is worth telling the owner of a canary or of a Service, from one plan to the next.

A note says that something became otherwise: a shadow's state, what its policy asks for, why it is refused.
The number of a canary's endpoints is not told, nor an error that went away: `status` shows both.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from xds_server.base.ids import NamespacedName
from xds_server.core.objects import Kind, Ref
from xds_server.core.plan import NOTHING, Plan, ShadowStatus, State
from xds_server.core.world import World


@dataclass(frozen=True, slots=True, order=True)
class Subject:
    """The object that a note is about. `uid` is empty where the source gives none."""

    kind: Kind
    namespace: str
    name: str
    uid: str = ""


@dataclass(frozen=True, slots=True, order=True)
class Note:
    """One thing to tell. `reason` is a stable CamelCase word, `message` a sentence or two."""

    subject: Subject
    reason: str
    message: str
    warning: bool = False

    @property
    def topic(self) -> tuple[Subject, str]:
        """Of two notes on one topic only the later is of interest: a shadow has one state, a Service may have
        several things wrong with it."""
        return self.subject, self.reason if self.subject.kind is Kind.SERVICE else ""


def notes(
    before: tuple[World, Plan], after: tuple[World, Plan], moved: Iterable[NamespacedName]
) -> list[Note]:
    """What to tell of the step from one world and its plan to the next, sorted. `moved` are the targets whose
    part of the plan changed; the cost is theirs."""
    targets = sorted(moved)
    return sorted([*_of_shadows(before, after, targets), *_of_services(before, after, targets)])


def _of_shadows(
    before: tuple[World, Plan], after: tuple[World, Plan], targets: list[NamespacedName]
) -> Iterator[Note]:
    old, new = _shadows(before[1], targets), _shadows(after[1], targets)
    for ref in sorted(old.keys() | new.keys()):
        was, now = old.get(ref), new.get(ref)
        subject = _subject(ref, before[0], after[0])
        if now is None:
            yield Note(subject, "ShadowStopped", "No requests are copied to it any more: it is not marked.")
        elif was is None or _told(was) != _told(now):
            yield _note(subject, now)


def _shadows(plan: Plan, targets: list[NamespacedName]) -> dict[Ref, ShadowStatus]:
    found = (shadow for target in targets for shadow in plan.services.get(target, NOTHING).shadows)
    return {Ref(shadow.kind, shadow.namespace, shadow.name): shadow for shadow in found}


def _told(shadow: ShadowStatus) -> tuple[object, ...]:
    """What makes a difference to the owner."""
    refusal = shadow.message if shadow.state is State.REJECTED else ""
    return shadow.service, shadow.state, shadow.reason, shadow.percent, shadow.methods, refusal


def _note(subject: Subject, shadow: ShadowStatus) -> Note:
    reason = f"Shadow{shadow.state}"
    if shadow.state is State.ACTIVE:
        return Note(subject, reason, shadow.message)
    return Note(subject, reason, f"{shadow.reason}: {shadow.message}", warning=shadow.state is State.REJECTED)


def _of_services(
    before: tuple[World, Plan], after: tuple[World, Plan], targets: list[NamespacedName]
) -> Iterator[Note]:
    for target in targets:
        known = frozenset(before[1].services.get(target, NOTHING).problems)
        for problem in after[1].services.get(target, NOTHING).problems:
            if problem not in known:
                ref = Ref(Kind.SERVICE, target.namespace, target.name)
                subject = _subject(ref, before[0], after[0])
                yield Note(subject, problem.reason, problem.message, warning=True)


def _subject(ref: Ref, *worlds: World) -> Subject:
    found = [obj.metadata.uid or "" for world in worlds if (obj := world.get(ref))]
    return Subject(ref.kind, ref.namespace, ref.name, found[-1] if found else "")
