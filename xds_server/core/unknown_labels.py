"""Reports labels with the prefix of xds-shadow that it does not know, so that a misspelt label is not silent.

An API server sends only workloads that have the label `SHADOW_OF`. Files have all workloads.
"""

from collections.abc import Iterable
from typing import Final

from xds_server.base.text import first_of
from xds_server.core.conditions import Condition, Reason, about
from xds_server.core.keys import LABELS, PREFIX
from xds_server.core.objects import Namespace, Ref, Service, Workload, ref_of
from xds_server.core.world import Change, Delete, Report, Upsert

_OF_MANIFESTS: Final = f"{PREFIX}envoy"
"""Selects objects for a sidecar and for the network policies (`manifests/install`). The program does not read
it."""

_KNOWN: Final = (*(label.key for label in LABELS), _OF_MANIFESTS)


class UnknownLabels:
    """Tracks the objects with unknown labels. `note` has to see every change once, in order. Objects with a
    controller have its labels and are left out."""

    def __init__(self) -> None:
        self._found: dict[Ref, tuple[Condition, ...]] = {}

    def note(self, changes: Iterable[Change]) -> list[Report]:
        """The reports that `changes` cause. A report without conditions withdraws an earlier one."""
        reports: dict[Ref, Report] = {}
        for change in changes:
            match change:
                case Upsert(Namespace() | Service() | Workload(controller=None) as obj):
                    ref, problems = ref_of(obj), _problems(obj)
                case Delete(ref):
                    problems = ()
                case _:
                    continue
            if problems != self._found.pop(ref, ()):
                reports[ref] = Report(f"labels: {about(ref)}", problems)
            if problems:
                self._found[ref] = problems
        return list(reports.values())


def _problems(obj: Namespace | Service | Workload) -> tuple[Condition, ...]:
    unknown = sorted(key for key in obj.labels if key.startswith(PREFIX) and key not in _KNOWN)
    if not unknown:
        return ()
    what = f"Label {unknown[0]} is" if len(unknown) == 1 else f"Labels {first_of(unknown)} are"
    *others, last = _KNOWN
    message = f"{what} not known; known are {', '.join(others)} and {last}."
    return (Condition(about(obj), Reason.INVALID_LABEL, message),)
