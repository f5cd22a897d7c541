"""What a set of manifest files says, from one reading to the next.

Pure: no file is opened here, and time is an argument. The rule that shapes it: a file takes objects away
only if it could be read through, and reads the same a moment later. One that is broken, or in the middle of
a save, keeps what it last declared.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from xds_server.core.conditions import Condition, about
from xds_server.core.objects import Object, Ref
from xds_server.core.world import Change, Delete, Report, Upsert
from xds_server.manifests.documents import Manifest


@dataclass(frozen=True, slots=True)
class Held:
    """What counts of one file: the objects of its last good reading, the problems of its latest."""

    objects: Mapping[Ref, Object] = field(default_factory=dict)
    problems: tuple[Condition, ...] = ()


NOTHING = Held()
"""What counts of a file that is not there."""


@dataclass(frozen=True, slots=True)
class View:
    """What all files together say; `reports` has only origins with problems."""

    objects: Mapping[Ref, Object] = field(default_factory=dict)
    reports: Mapping[str, tuple[Condition, ...]] = field(default_factory=dict)


EMPTY = View()
"""Before anything was read."""


def settle(before: Held, read: Manifest) -> Held:
    """What counts of a file that counted as `before` and now reads as `read`."""
    objects = dict(read.objects)
    for ref, obj in before.objects.items():
        if ref not in objects and (ref in read.rejected or not read.complete):
            objects[ref] = obj
    return Held(objects, read.problems)


def loses(before: Held, after: Held) -> bool:
    """Whether an object of `before` is gone from `after`, which a file in the middle of a save also shows."""
    return not before.objects.keys() <= after.objects.keys()


def merge(files: Mapping[str, Held]) -> View:
    """All files as one. Of two that declare the same object, the first in the order of paths counts, so that
    the outcome does not depend on the order in which they were read."""
    objects: dict[Ref, Object] = {}
    owners: dict[Ref, str] = {}
    reports: dict[str, tuple[Condition, ...]] = {}
    for path in sorted(files):
        problems = list(files[path].problems)
        for ref, obj in sorted(files[path].objects.items()):
            if ref in owners:
                message = f"{owners[ref]} declares it too and counts; remove it from one of the two files."
                problems.append(Condition(about(ref), "DuplicateObject", message, origin=path))
            else:
                owners[ref], objects[ref] = path, obj
        if problems:
            reports[path] = tuple(problems)
    return View(objects, reports)


def changes(before: View, after: View) -> list[Change]:
    """What turns `before` into `after`, in a stable order: deletions, then objects, then reports."""
    gone = sorted(before.objects.keys() - after.objects.keys())
    fresh = sorted(ref for ref, obj in after.objects.items() if before.objects.get(ref) != obj)
    origins = sorted(before.reports.keys() | after.reports.keys())
    return [
        *(Delete(ref) for ref in gone),
        *(Upsert(after.objects[ref]) for ref in fresh),
        *(
            Report(origin, after.reports.get(origin, ()))
            for origin in origins
            if before.reports.get(origin) != after.reports.get(origin)
        ),
    ]


@dataclass(frozen=True, slots=True)
class _Doubt:
    """A reading that takes objects away, believed once it has lasted. `read` is None for an absent file."""

    read: Manifest | None
    until: float


class Ledger:
    """Follows a set of files through their readings. Times are seconds of any one clock."""

    def __init__(self, settle_for: float) -> None:
        self._settle_for = settle_for
        self._latest: Mapping[str, Manifest] = {}
        self._files: dict[str, Held] = {}
        self._doubts: dict[str, _Doubt] = {}
        self._view = EMPTY

    @property
    def due(self) -> float | None:
        """When the files should be read again at the latest, because a reading is in doubt."""
        return min((doubt.until for doubt in self._doubts.values()), default=None)

    def observe(self, readings: Mapping[str, Manifest], now: float) -> list[Change]:
        """Take the readings of all files that are there; return what that changes."""
        if readings == self._latest and not self._doubts:
            return []
        self._latest = dict(readings)
        for path in readings.keys() | self._files.keys():
            self._take(path, readings.get(path), now)
        before, self._view = self._view, merge(self._files)
        return changes(before, self._view)

    def _take(self, path: str, read: Manifest | None, now: float) -> None:
        before = self._files.get(path, NOTHING)
        after = NOTHING if read is None else settle(before, read)
        if loses(before, after) and not self._lasted(path, read, now):
            return
        self._doubts.pop(path, None)
        if read is None:
            self._files.pop(path, None)
        else:
            self._files[path] = after

    def _lasted(self, path: str, read: Manifest | None, now: float) -> bool:
        doubt = self._doubts.get(path)
        if doubt is None or doubt.read != read:
            self._doubts[path] = _Doubt(read, now + self._settle_for)
            return False
        return now >= doubt.until
