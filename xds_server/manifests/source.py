"""A directory of manifests as a source, watched: the same YAML that `kubectl apply -f DIR` takes.

Events of the file system are hints here, never facts: every wake-up compares what is there with what was
read. So a missed event (network and overlay file systems, an exhausted inotify limit, an edit just before
the watch was up) costs one polling interval and nothing else. What readings mean is `files_state`'s part.
"""

import asyncio
import hashlib
import os
import stat
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

import structlog
from watchfiles import awatch

from xds_server.base.aio import spawn
from xds_server.base.errors import SourceError
from xds_server.base.yaml_load import MAX_BYTES
from xds_server.core.source import Health, Sink
from xds_server.core.world import Change
from xds_server.manifests.documents import Manifest, parse, unreadable
from xds_server.manifests.state import Ledger

_SUFFIXES = (".yaml", ".yml", ".json")

_RACY = 2.0
"""Seconds. A file this young may change again without a new time stamp (some file systems count in steps of
two seconds), so its signature proves nothing yet."""

_BATCH_MS, _QUIET_MS = 200, 20
"""Events of one save come together: wait until none came for the second, but no longer than the first."""

_REWATCH = 30.0
"""Seconds until a watch that could not be had is tried again; polling goes on meanwhile."""

_log = structlog.stdlib.get_logger(__name__)


class FileSource:
    """Watches directories, not below them. `settle` is how long in seconds a reading that takes objects away
    has to last before it counts; `poll` is the longest time between two looks."""

    def __init__(self, directories: Sequence[Path], *, settle: float = 0.25, poll: float = 1.0) -> None:
        self._directories = tuple(directories)
        self._settle = settle
        self._poll = poll

    def health(self) -> Health:
        """See `Source.health`."""
        return Health(message=f"manifests in {', '.join(map(str, self._directories))} are being watched")

    async def run(self, sink: Sink) -> None:
        """See `Source.run`. Raises `SourceError` if a directory is not there at the start."""
        _require(self._directories)
        clock = asyncio.get_running_loop().time
        scanner, ledger, hint = _Scanner(self._directories), Ledger(self._settle), asyncio.Event()
        async with asyncio.TaskGroup() as group:
            spawn(group, "files/watch", _watch(self._directories, hint))
            sink.put(ledger.observe(await asyncio.to_thread(scanner.scan), clock()))
            sink.synced()
            while True:
                due = ledger.due
                await _wait(hint, self._poll if due is None else min(self._poll, max(0.0, due - clock())))
                changes = ledger.observe(await asyncio.to_thread(scanner.scan), clock())
                if changes:
                    sink.put(changes)


def read_once(directories: Sequence[Path]) -> list[Change]:
    """What the directories say now. Raises `SourceError` if one is not there."""
    _require(directories)
    return Ledger(settle_for=0.0).observe(_Scanner(directories).scan(), now=0.0)


def _require(directories: Iterable[Path]) -> None:
    for directory in directories:
        if not directory.is_dir():
            what = "is not a directory" if directory.exists() else "does not exist"
            raise SourceError(
                f"{directory} {what}; name a directory that holds *.yaml, *.yml or *.json files"
            )


async def _wait(hint: asyncio.Event, timeout: float) -> None:  # noqa: ASYNC109  the time-out is the normal end
    try:
        async with asyncio.timeout(timeout):
            await hint.wait()
    except TimeoutError:
        pass
    hint.clear()


async def _watch(directories: Sequence[Path], hint: asyncio.Event) -> None:
    while True:
        try:
            events = awatch(
                *directories, watch_filter=None, recursive=False, debounce=_BATCH_MS, step=_QUIET_MS
            )
            async with aclosing(events):
                async for _ in events:
                    hint.set()
        except* (OSError, RuntimeError) as errors:  # watchfiles runs in a task group of its own
            _log.warning("file events unavailable", error=str(errors.exceptions[0]))
        await asyncio.sleep(_REWATCH)


def _shown(path: Path) -> str:
    """The path as text for people; a name need not be UTF-8, and what is not cannot be sent to anybody."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


@dataclass(frozen=True, slots=True)
class _Known:
    """A file as last read; without a `signature` it has to be read again to know whether it changed."""

    signature: tuple[int, ...] | None
    digest: bytes
    manifest: Manifest


class _Scanner:
    """Reads what changed since the last scan. Blocking; one scan at a time."""

    def __init__(self, directories: Sequence[Path]) -> None:
        self._directories = directories
        self._known: dict[Path, _Known] = {}

    def scan(self) -> Mapping[str, Manifest]:
        """The reading of each file there is, by its path. A directory that cannot be listed reads as broken,
        and its files as before: a failing file system is not a deletion."""
        known: dict[Path, _Known] = {}
        readings: dict[str, Manifest] = {}
        for directory in self._directories:
            try:
                paths = _list(directory)
            except OSError as error:
                message = f"The directory cannot be listed ({error.strerror}); its files count as last read."
                readings[_shown(directory)] = unreadable(_shown(directory), "UnreadableFile", message)
                known |= {path: entry for path, entry in self._known.items() if path.parent == directory}
                continue
            for path in paths:
                entry = _read(path, self._known.get(path))
                if entry is not None:
                    known[path] = entry
        self._known = known
        return readings | {_shown(path): entry.manifest for path, entry in known.items()}


def _list(directory: Path) -> list[Path]:
    """Manifests by their suffix; hidden ones are editors' lock and temporary files."""
    names = os.listdir(directory)
    return [directory / name for name in names if name.endswith(_SUFFIXES) and not name.startswith(".")]


def _read(path: Path, known: _Known | None) -> _Known | None:
    """The file as it is now, or None if it is not there; the same object if it did not change."""
    try:
        status = path.stat()
        # ctime, which no tool can set back: `cp -p` and `rsync -t` bring old modification times along.
        signature = (status.st_ctime_ns, status.st_size, status.st_ino)
        if known is not None and known.signature == signature:
            return known
        if not stat.S_ISREG(status.st_mode):
            # Never opened: a named pipe would block. A directory of such a name is just a directory.
            return None if stat.S_ISDIR(status.st_mode) else _unreadable(path, "It is not a regular file.")
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        return _unreadable(path, f"It cannot be read: {error.strerror}.")
    return _parse(path, data, None if time.time() - status.st_ctime < _RACY else signature, known)


def _parse(path: Path, data: bytes, signature: tuple[int, ...] | None, known: _Known | None) -> _Known:
    if len(data) > MAX_BYTES:
        return _unreadable(path, f"It is larger than {MAX_BYTES >> 20} MiB; split it into several files.")
    digest = hashlib.blake2b(data, digest_size=16).digest()
    if known is not None and known.digest == digest:
        return _Known(signature, digest, known.manifest)
    return _Known(signature, digest, parse(_shown(path), data))


def _unreadable(path: Path, message: str) -> _Known:
    return _Known(None, b"", unreadable(_shown(path), "UnreadableFile", message))
