"""Watches directories of manifests: the same files that `kubectl apply -f DIR` accepts.

An event of the file system only wakes the source, which then compares the files with what it has read. A
missed event (network and overlay file systems, an exhausted inotify limit, an edit just before the watch
started) therefore delays a change by one polling interval at most. `state` decides what a changed file means.
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
from xds_server.core.conditions import Reason
from xds_server.core.source import Health, Sink
from xds_server.core.world import Change
from xds_server.manifests.documents import Manifest, parse, unreadable
from xds_server.manifests.state import FileStates

_SUFFIXES = (".yaml", ".yml", ".json")

_RACY = 2.0
"""Seconds. A file that changed less than this ago can change again with the same timestamp, because some file
systems have a resolution of two seconds. Its signature is not used."""

_BATCH_MS, _QUIET_MS = 200, 20
"""One save causes several events. The watch collects them for the first time at most, and returns them once
none has arrived for the second."""

_REWATCH = 30.0
"""Seconds until a failed watch is started again. Polling continues meanwhile."""

_log = structlog.stdlib.get_logger(__name__)


class FileSource:
    """Watches the files of directories, without subdirectories.

    `settle` is the time in seconds for which content that removes objects must be stable before it is
    accepted. `poll` is the maximum time in seconds between two scans.
    """

    def __init__(self, directories: Sequence[Path], *, settle: float = 0.25, poll: float = 1.0) -> None:
        self._directories = tuple(directories)
        self._settle = settle
        self._poll = poll

    def health(self) -> Health:
        """See `Source.health`."""
        return Health(message=f"manifests in {', '.join(map(str, self._directories))} are being watched")

    async def run(self, sink: Sink) -> None:
        """See `Source.run`. Raises `SourceError` if a directory does not exist at the start."""
        _require(self._directories)
        clock = asyncio.get_running_loop().time
        scanner, states, hint = _Scanner(self._directories), FileStates(self._settle), asyncio.Event()
        async with asyncio.TaskGroup() as group:
            spawn(group, "files/watch", _watch(self._directories, hint))
            sink.put(states.observe(await asyncio.to_thread(scanner.scan), clock()))
            sink.synced()
            while True:
                due = states.due
                await _wait(hint, self._poll if due is None else min(self._poll, max(0.0, due - clock())))
                changes = states.observe(await asyncio.to_thread(scanner.scan), clock())
                if changes:
                    sink.put(changes)


def read_once(directories: Sequence[Path]) -> list[Change]:
    """The objects and problems in the directories now. Raises `SourceError` if a directory does not exist."""
    _require(directories)
    return FileStates(settle_for=0.0).observe(_Scanner(directories).scan(), now=0.0)


def _require(directories: Iterable[Path]) -> None:
    for directory in directories:
        if not directory.is_dir():
            what = "is not a directory" if directory.exists() else "does not exist"
            raise SourceError(
                f"{directory} {what}; name a directory that contains *.yaml, *.yml or *.json files"
            )


async def _wait(hint: asyncio.Event, timeout: float) -> None:  # noqa: ASYNC109  a timeout is not an error here
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
        except* (OSError, RuntimeError) as errors:  # watchfiles raises from a task group
            _log.warning("file events unavailable", error=str(errors.exceptions[0]))
        await asyncio.sleep(_REWATCH)


def _shown(path: Path) -> str:
    """The path for messages. Bytes that are not UTF-8 are escaped, because protobuf rejects them."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


@dataclass(frozen=True, slots=True)
class _Known:
    """A file as it was last read. Without a `signature` the next scan reads it again."""

    signature: tuple[int, ...] | None
    digest: bytes
    manifest: Manifest


class _Scanner:
    """Reads the files that changed since the last scan. Blocking, and not reentrant."""

    def __init__(self, directories: Sequence[Path]) -> None:
        self._directories = directories
        self._known: dict[Path, _Known] = {}

    def scan(self) -> Mapping[str, Manifest]:
        """The content of each file by its path.

        If a directory cannot be listed, its files keep their content, because a failure of the file system
        must not delete objects.
        """
        known: dict[Path, _Known] = {}
        manifests: dict[str, Manifest] = {}
        for directory in self._directories:
            try:
                paths = _list(directory)
            except OSError as error:
                message = (
                    f"The directory cannot be listed ({error.strerror}). Its files keep their last content."
                )
                manifests[_shown(directory)] = unreadable(_shown(directory), Reason.UNREADABLE_FILE, message)
                known |= {path: entry for path, entry in self._known.items() if path.parent == directory}
                continue
            for path in paths:
                entry = _read(path, self._known.get(path))
                if entry is not None:
                    known[path] = entry
        self._known = known
        return manifests | {_shown(path): entry.manifest for path, entry in known.items()}


def _list(directory: Path) -> list[Path]:
    """The manifests of a directory. Hidden files are skipped: editors use them for locks and copies."""
    names = os.listdir(directory)
    return [directory / name for name in names if name.endswith(_SUFFIXES) and not name.startswith(".")]


def _read(path: Path, known: _Known | None) -> _Known | None:
    """The file as it is now: `known` if it did not change, None if it does not exist."""
    try:
        status = path.stat()
        # No tool can set ctime. `cp -p` and `rsync -t` keep an old mtime.
        signature = (status.st_ctime_ns, status.st_size, status.st_ino)
        if known is not None and known.signature == signature:
            return known
        if not stat.S_ISREG(status.st_mode):
            # Not opened, because opening a named pipe blocks. A directory with such a name is ignored.
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
        return _unreadable(path, f"It is larger than {MAX_BYTES >> 20} MiB. Split it into several files.")
    digest = hashlib.blake2b(data, digest_size=16).digest()
    if known is not None and known.digest == digest:
        return _Known(signature, digest, known.manifest)
    return _Known(signature, digest, parse(_shown(path), data))


def _unreadable(path: Path, message: str) -> _Known:
    return _Known(None, b"", unreadable(_shown(path), Reason.UNREADABLE_FILE, message))
