"""The effective content of a set of manifest files.

Pure: nothing here opens a file, and the time is an argument. A file deletes objects only if it was read
completely and its content was stable for a moment. A file that cannot be parsed, or that an editor is saving,
keeps its last valid content.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from xds_server.core.conditions import NO_SUBJECT, Condition, Reason, about
from xds_server.core.objects import Object, Ref
from xds_server.core.world import Change, Delete, Report, Upsert
from xds_server.manifests.documents import Manifest


@dataclass(frozen=True, slots=True)
class FileContent:
    """The effective content of a file: its last valid objects, and the problems of its latest content."""

    objects: Mapping[Ref, Object] = field(default_factory=dict)
    problems: tuple[Condition, ...] = ()


ABSENT = FileContent()
"""The effective content of a file that does not exist."""


@dataclass(frozen=True, slots=True)
class Merged:
    """The objects and problems of all files. `reports` has only files with problems."""

    objects: Mapping[Ref, Object] = field(default_factory=dict)
    reports: Mapping[str, tuple[Condition, ...]] = field(default_factory=dict)


EMPTY = Merged()
"""Before the first scan."""


def effective(before: FileContent, read: Manifest) -> FileContent:
    """The effective content of a file that had the effective content `before` and now contains `read`."""
    kept = {
        ref: obj
        for ref, obj in before.objects.items()
        if ref not in read.objects and (ref in read.rejected or not read.complete)
    }
    problems = read.problems if not kept else tuple(map(_with_what_stays, read.problems))
    return FileContent({**read.objects, **kept}, problems)


def _with_what_stays(problem: Condition) -> Condition:
    """Add to the problem of a whole file that its last valid content stays in use."""
    if problem.subject != NO_SUBJECT:
        return problem
    return problem._replace(message=f"{problem.message} Its last valid content stays in use.")


def removes_objects(before: FileContent, after: FileContent) -> bool:
    """Whether `after` lacks an object of `before`. A file that an editor is saving can also do so."""
    return not before.objects.keys() <= after.objects.keys()


def merge(files: Mapping[str, FileContent]) -> Merged:
    """Combine all files. If two files define the same object, the first in the order of paths is used, so the
    result does not depend on the order in which they were read."""
    objects: dict[Ref, Object] = {}
    owners: dict[Ref, str] = {}
    reports: dict[str, tuple[Condition, ...]] = {}
    for path in sorted(files):
        problems = list(files[path].problems)
        for ref, obj in sorted(files[path].objects.items()):
            if ref in owners:
                message = f"{owners[ref]} also defines it, and is used; remove it from one of the two files."
                problems.append(Condition(about(ref), Reason.DUPLICATE_OBJECT, message, origin=path))
            else:
                owners[ref], objects[ref] = path, obj
        if problems:
            reports[path] = tuple(problems)
    return Merged(objects, reports)


def changes(before: Merged, after: Merged) -> list[Change]:
    """The changes from `before` to `after`, in a stable order: deletions, then objects, then reports."""
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
class _Unsettled:
    """Content that removes objects. It is accepted after it has been stable until `until`.

    `read` is None for a file that does not exist.
    """

    read: Manifest | None
    until: float


class FileStates:
    """Keeps the effective content of a set of files over time. Times are seconds of one clock."""

    def __init__(self, settle_for: float) -> None:
        self._settle_for = settle_for
        self._latest: Mapping[str, Manifest] = {}
        self._files: dict[str, FileContent] = {}
        self._unsettled: dict[str, _Unsettled] = {}
        self._view = EMPTY

    @property
    def due(self) -> float | None:
        """When the files must be read again at the latest, or None if all content is accepted."""
        return min((unsettled.until for unsettled in self._unsettled.values()), default=None)

    def observe(self, manifests: Mapping[str, Manifest], now: float) -> list[Change]:
        """Take the content of all files that exist, and return the resulting changes."""
        if manifests == self._latest and not self._unsettled:
            return []
        self._latest = dict(manifests)
        for path in manifests.keys() | self._files.keys():
            self._take(path, manifests.get(path), now)
        before, self._view = self._view, merge(self._files)
        return changes(before, self._view)

    def _take(self, path: str, read: Manifest | None, now: float) -> None:
        before = self._files.get(path, ABSENT)
        after = ABSENT if read is None else effective(before, read)
        if removes_objects(before, after) and not self._lasted(path, read, now):
            return
        self._unsettled.pop(path, None)
        if read is None:
            self._files.pop(path, None)
        else:
            self._files[path] = after

    def _lasted(self, path: str, read: Manifest | None, now: float) -> bool:
        unsettled = self._unsettled.get(path)
        if unsettled is None or unsettled.read != read:
            self._unsettled[path] = _Unsettled(read, now + self._settle_for)
            return False
        return now >= unsettled.until
