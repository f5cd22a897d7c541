"""Reports the label `SHADOW_OF` where it has no effect: on a Service, on a Pod, in a Pod template.

The cost is proportional to the number of changes. Pods usually have the label from a Pod template, so one
condition covers all Pods of a namespace. ReplicaSets with the label usually have it from their controller's
Pod template, so the condition is about the controller.
"""

from collections.abc import Iterable
from typing import Final

from xds_server.core.conditions import NO_SUBJECT, Condition, Reason, Subject, about
from xds_server.core.keys import SHADOW_OF
from xds_server.core.objects import Kind, Pod, Ref, ReplicaSet, Service, ref_of
from xds_server.core.workload_names import KINDS_IN_WORDS
from xds_server.core.world import Change, Delete, Report, Upsert

_SOME: Final = 3
_WHERE: Final = f"put it on the canary's {KINDS_IN_WORDS}"
_KINDS: Final = (Kind.SERVICE, Kind.POD, Kind.REPLICA_SET)


class MisplacedLabels:
    """Tracks the objects with the label. `note` has to see every change once, in order."""

    def __init__(self) -> None:
        self._group_of: dict[Ref, Subject] = {}
        self._groups: dict[Subject, set[Ref]] = {}

    def note(self, changes: Iterable[Change]) -> list[Report]:
        """The reports that `changes` cause. A report without conditions withdraws an earlier one."""
        touched: dict[Subject, None] = {}
        for change in changes:
            match change:
                case Upsert(Service() | Pod() | ReplicaSet() as obj):
                    group = _group(obj) if SHADOW_OF in obj.labels else NO_SUBJECT
                    touched |= dict.fromkeys(self._moved(ref_of(obj), group))
                case Delete(ref) if ref.kind in _KINDS:
                    touched |= dict.fromkeys(self._moved(ref, NO_SUBJECT))
        return [Report(f"misplaced labels: {group}", self._problems(group)) for group in touched]

    def _moved(self, ref: Ref, group: Subject) -> list[Subject]:
        """Move the object to its group; return the groups that this changes."""
        before = self._group_of.pop(ref, NO_SUBJECT)
        if group != NO_SUBJECT:
            self._group_of[ref] = group
        if before == group:
            return []
        if before != NO_SUBJECT:
            self._groups[before].discard(ref)
        if group != NO_SUBJECT:
            self._groups.setdefault(group, set()).add(ref)
        return [each for each in (before, group) if each != NO_SUBJECT]

    def _problems(self, group: Subject) -> tuple[Condition, ...]:
        refs = sorted(self._groups[group])
        if not refs:
            del self._groups[group]
            return ()
        match refs[0]:
            case Ref(Kind.SERVICE):
                value = "with the Service's name as its value"
                message = f"Label {SHADOW_OF} has no effect on a Service; {_WHERE}, {value}."
                return (Condition(group, Reason.INVALID_LABEL, message),)
            case Ref(Kind.POD) as first:
                names = [ref.name for ref in refs]
                more = f" and {len(names) - _SOME} more" if len(names) > _SOME else ""
                which = f"{', '.join(names[:_SOME])}{more}"
                message = f"Label {SHADOW_OF} has no effect on a Pod ({which}); {_WHERE}."
                return (Condition(about(first), Reason.INVALID_LABEL, message),)
            case _:
                message = f"Label {SHADOW_OF} has no effect in a Pod template; put it on the workload itself."
                return (Condition(group, Reason.INVALID_LABEL, message),)


def _group(obj: Service | Pod | ReplicaSet) -> Subject:
    """The subject that groups objects under one condition; `NO_SUBJECT` if the object may have the label."""
    match obj:
        case Service():
            return about(obj)
        case Pod():
            return Subject("Pods", "", obj.namespace)
        case ReplicaSet(controller=owner):
            return Subject(owner.kind, obj.namespace, owner.name) if owner else NO_SUBJECT
