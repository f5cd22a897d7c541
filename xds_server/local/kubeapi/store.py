"""All objects and their history. No I/O, no clock, and no rules about objects.

One counter of versions serves all kinds, as in etcd. Keys are sorted, so a page and a namespace are slices. A
list can be taken at an older version by undoing the changes since then. So the pages of one list are one
consistent state, whatever changes between them.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from xds_server.local.kubeapi.doc import Doc, metadata, with_metadata
from xds_server.local.kubeapi.errors import already_exists, conflict, gone, not_found
from xds_server.local.kubeapi.history import Entry, History, Key, Step
from xds_server.local.kubeapi.resources import RESOURCES, Resource, of_kind

HISTORY = 10_000
"""How many changes of each kind are kept."""

Matches = Callable[[Doc], bool]
"""Whether an object is selected."""

_TOO_OLD_TO_CONTINUE = (
    "The provided continue parameter is too old to display a consistent list result. "
    "You can start a new list without the continue parameter."
)


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list. `last` is the key after which the list continues; None if it is complete. `remaining`
    counts the remaining objects; None if only reading on could tell."""

    entries: Sequence[Entry]
    version: int
    last: Key | None = None
    remaining: int | None = None


class _Shelf:
    """The objects of one kind."""

    def __init__(self, history: int) -> None:
        self.entries: dict[Key, Entry] = {}
        self.keys: list[Key] = []  # sorted
        self.history = History(history, 0)
        self.readers: dict[str, list[Callable[[Step], None]]] = {}  # by namespace; "" for all namespaces

    def put(self, entry: Entry) -> None:
        if entry.key not in self.entries:
            self.keys.insert(bisect_left(self.keys, entry.key), entry.key)
        self.entries[entry.key] = entry

    def take(self, key: Key) -> None:
        del self.entries[key]
        del self.keys[bisect_left(self.keys, key)]

    def between(self, namespace: str, after: Key | None) -> list[Key]:
        """The sorted keys of a namespace ("" for all) after a given key."""
        start = bisect_left(self.keys, Key(namespace, "")) if namespace else 0
        end = bisect_left(self.keys, Key(f"{namespace}\0", "")) if namespace else len(self.keys)
        if after is not None:
            start = max(start, bisect_right(self.keys, after))
        return self.keys[start:end]

    def undone(self, version: int) -> dict[Key, Entry | None]:
        """The state at `version` of the objects that changed since."""
        return {step.key: step.before for step in self.history.newest_first(version)}


def key_of(resource: Resource, doc: Doc) -> Key:
    """The key of a named object."""
    found = metadata(doc)
    return Key(str(found.get("namespace", "")) if resource.namespaced else "", str(found["name"]))


def _keep_nothing(_step: Step) -> None:
    """Persists nothing."""


class Store:
    """The state of the API server. Methods raise `StatusError`.

    `persist` is called with each change before it becomes visible. If it raises, the change is undone.
    """

    def __init__(self, *, history: int = HISTORY, persist: Callable[[Step], None] = _keep_nothing) -> None:
        self.version = 1
        self._persist = persist
        self._shelves = {resource: _Shelf(history) for resource in RESOURCES}
        self.compact()

    # --- reading ---------------------------------------------------------------------------------------

    def get(self, resource: Resource, key: Key) -> Entry:
        """Raises 404."""
        found = self._shelves[resource].entries.get(key)
        if found is None:
            raise not_found(resource, key.name)
        return found

    def find(self, resource: Resource, key: Key) -> Entry | None:
        """Like `get`, but None if the object does not exist."""
        return self._shelves[resource].entries.get(key)

    def list(
        self,
        resource: Resource,
        *,
        namespace: str = "",
        matches: Matches | None = None,
        limit: int = 0,
        after: Key | None = None,
        at: int | None = None,
    ) -> Page:
        """The objects of a kind, sorted by namespace and name: at most `limit` (0 means all), after a key, as
        of version `at` (default: now). Raises 410 if the history no longer has that version."""
        shelf = self._shelves[resource]
        version = self.version if at is None else at
        if version > self.version or version < shelf.history.forgotten:
            raise gone(_TOO_OLD_TO_CONTINUE if after else f"too old resource version: {version}")
        keys = shelf.between(namespace, after)
        undone: dict[Key, Entry | None] = {} if version == self.version else shelf.undone(version)
        if undone:
            wanted = (key for key in undone if not namespace or key.namespace == namespace)
            keys = sorted({*keys, *(key for key in wanted if after is None or key > after)})
        found: list[Entry] = []
        for index, key in enumerate(keys):
            entry = undone[key] if key in undone else shelf.entries[key]
            if entry is None or not (matches is None or matches(entry.doc)):
                continue
            if limit and len(found) == limit:
                left = len(keys) - index if matches is None and not undone else None
                return Page(found, version, found[-1].key, left)
            found.append(entry)
        return Page(found, version)

    def events_since(self, resource: Resource, version: int) -> Sequence[Step]:
        """The changes of a kind after `version`, oldest first. Raises 410 if the history no longer has all of
        them, and for a future version, which is from another server."""
        shelf = self._shelves[resource]
        if not shelf.history.forgotten <= version <= self.version:
            raise gone(f"too old resource version: {version} ({shelf.history.forgotten})")
        return [*shelf.history.newest_first(version)][::-1]

    def subscribe(
        self, resource: Resource, namespace: str, reader: Callable[[Step], None]
    ) -> Callable[[], None]:
        """Call `reader` with every change of a kind in a namespace ("" for all) from now on. It must not
        block or raise. The returned function unsubscribes it."""
        readers = self._shelves[resource].readers
        readers.setdefault(namespace, []).append(reader)

        def unsubscribe() -> None:
            readers[namespace].remove(reader)
            if not readers[namespace]:
                del readers[namespace]

        return unsubscribe

    # --- writing ---------------------------------------------------------------------------------------

    def create(self, resource: Resource, doc: Doc, *, dry_run: bool = False) -> Entry:
        """Raises 409 AlreadyExists. A dry run returns the object without storing it, as in `update`."""
        key = key_of(resource, doc)
        if key in self._shelves[resource].entries:
            raise already_exists(resource, key.name)
        if dry_run:
            return Entry(resource, key, 0, doc)
        return self._put(resource, key, doc, None)

    def update(self, resource: Resource, doc: Doc, *, dry_run: bool = False) -> Entry:
        """Raises 404, and 409 Conflict if the resourceVersion of `doc` is not the current one."""
        key = key_of(resource, doc)
        before = self.get(resource, key)
        given = metadata(doc).get("resourceVersion")
        if given not in (None, "", str(before.version)):
            raise conflict(resource, key.name)
        if dry_run:
            return self._entry(resource, key, before.version, doc)
        return self._put(resource, key, doc, before)

    def delete(self, resource: Resource, key: Key) -> Entry:
        """Returns the object before the deletion, at the version of the deletion. Raises 404."""
        before = self.get(resource, key)
        step = Step(resource, key, self.version + 1, before, None)
        self._persist(step)
        self._shelves[resource].take(key)
        self._done(step)
        return step.leaving

    def load(self, docs: Iterable[Doc], *, version: int = 0) -> None:
        """Load many objects without checks, events or persistence. Objects keep their resourceVersions, and
        the counter continues after the highest of them, or after `version`."""
        self.version = max(self.version, version)
        new: list[tuple[Resource, Key, Doc]] = []
        for doc in docs:
            resource = of_kind(doc.get("apiVersion"), doc.get("kind"))
            if resource is None:
                raise ValueError(f"no such kind: {doc.get('apiVersion')} {doc.get('kind')}")
            key = key_of(resource, doc)
            given = int(metadata(doc).get("resourceVersion") or 0)
            if given:
                self.version = max(self.version, given)
                self._shelves[resource].entries[key] = Entry(resource, key, given, doc)
            else:
                new.append((resource, key, doc))
        for resource, key, doc in new:
            self.version += 1
            self._shelves[resource].entries[key] = self._entry(resource, key, self.version, doc)
        for shelf in self._shelves.values():
            shelf.keys = sorted(shelf.entries)
        self.compact()

    def compact(self) -> None:
        """Drop the history, so that older versions fail with 410 from now on."""
        for shelf in self._shelves.values():
            shelf.history.forget(self.version)

    def _put(self, resource: Resource, key: Key, doc: Doc, before: Entry | None) -> Entry:
        entry = self._entry(resource, key, self.version + 1, doc)
        step = Step(resource, key, entry.version, before, entry)
        self._persist(step)
        self._shelves[resource].put(entry)
        self._done(step)
        return entry

    @staticmethod
    def _entry(resource: Resource, key: Key, version: int, doc: Doc) -> Entry:
        return Entry(resource, key, version, with_metadata(doc, resourceVersion=str(version)))

    def _done(self, step: Step) -> None:
        shelf = self._shelves[step.resource]
        self.version = step.version
        shelf.history.add(step)
        for namespace in {"", step.key.namespace}:
            for reader in tuple(shelf.readers.get(namespace, ())):
                reader(step)
