"""The conditions that a step from one plan to the next reports to the owner of a canary or of a Service.

A shadow reports its state, what its policy asks for, and why it is rejected, when one of them changes. It
does not report how many endpoints its canary has. A Service reports a new error, and not that an error is
gone. `status` shows both.
"""

from collections.abc import Iterable, Iterator

from xds_server.base.ids import NamespacedName
from xds_server.core.conditions import Condition, Reason, Severity, Subject, about, errors
from xds_server.core.objects import Kind, Ref
from xds_server.core.plan import NOTHING, Plan, ShadowStatus, State
from xds_server.core.world import World


def transitions(
    before: tuple[World, Plan], after: tuple[World, Plan], moved: Iterable[NamespacedName]
) -> list[Condition]:
    """The conditions that are new in `after`, sorted. `moved` are the targets whose part of the plan changed;
    the cost is proportional to their number."""
    targets = sorted(moved)
    return sorted([*_of_shadows(before, after, targets), *_of_services(before, after, targets)])


def _of_shadows(
    before: tuple[World, Plan], after: tuple[World, Plan], targets: list[NamespacedName]
) -> Iterator[Condition]:
    old, new = _shadows(before[1], targets), _shadows(after[1], targets)
    for ref in sorted(old.keys() | new.keys()):
        was, now = old.get(ref), new.get(ref)
        subject = subject_of(ref, before[0], after[0])
        if now is None:
            message = "The workload was deleted, or its label removed. No requests are mirrored to it."
            yield Condition(subject, Reason.SHADOW_STOPPED, message, Severity.INFO)
        elif was is None or _reported(was) != _reported(now):
            yield _of_shadow(subject, now)


def _shadows(plan: Plan, targets: list[NamespacedName]) -> dict[Ref, ShadowStatus]:
    found = (shadow for target in targets for shadow in plan.services.get(target, NOTHING).shadows)
    return {Ref(shadow.kind, shadow.namespace, shadow.name): shadow for shadow in found}


def _reported(shadow: ShadowStatus) -> tuple[object, ...]:
    """The parts of a state whose changes are reported."""
    why = shadow.message if shadow.state is State.REJECTED else ""
    return shadow.service, shadow.state, shadow.reason, shadow.percent, shadow.methods, why


def _of_shadow(subject: Subject, shadow: ShadowStatus) -> Condition:
    reason = Reason(f"Shadow{shadow.state}")
    if shadow.state is State.ACTIVE:
        return Condition(subject, reason, shadow.message, Severity.INFO)
    severity = Severity.ERROR if shadow.state is State.REJECTED else Severity.INFO
    if str(shadow.reason) == str(shadow.state):
        return Condition(subject, reason, shadow.message, severity)
    return Condition(subject, reason, f"{shadow.reason}: {shadow.message}", severity)


def _of_services(
    before: tuple[World, Plan], after: tuple[World, Plan], targets: list[NamespacedName]
) -> Iterator[Condition]:
    for target in targets:
        known = frozenset(before[1].services.get(target, NOTHING).conditions)
        for condition in errors(after[1].services.get(target, NOTHING).conditions):
            if condition not in known:
                ref = Ref(Kind.SERVICE, target.namespace, target.name)
                yield condition._replace(subject=subject_of(ref, before[0], after[0]))


def subject_of(ref: Ref, *worlds: World) -> Subject:
    """The subject of an object, with the uid that it has in the last of these worlds that has it."""
    found = [obj.metadata.uid or "" for world in worlds if (obj := world.get(ref))]
    return about(ref)._replace(uid=found[-1] if found else "")
