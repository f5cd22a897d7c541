"""Stores each object in a YAML file: ``DIR/services/shop/web.yaml``, ``DIR/namespaces/_/shop.yaml``.

A file is written under a temporary name and renamed before the response is sent. So a killed process loses
nothing that it confirmed. There is no fsync, so a power failure may lose writes. Versions never repeat: each
file has its object's version, and the version of a deletion is recorded before the file is removed.
"""

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from xds_server.base.errors import XdsShadowError
from xds_server.base.files import replace_file
from xds_server.local.kubeapi import codec, shapes
from xds_server.local.kubeapi.doc import Doc, metadata
from xds_server.local.kubeapi.errors import StatusError
from xds_server.local.kubeapi.history import Key, Step
from xds_server.local.kubeapi.resources import RESOURCES, Resource
from xds_server.local.kubeapi.store import Store, key_of

_LOCK: Final = "lock"
_STATE: Final = "state.yaml"
_NO_NAMESPACE: Final = "_"
_LONGEST_NAME: Final = 200
_KINDS: Final = {resource.qualified: resource for resource in RESOURCES}


class Directory:
    """The files of one server. A context manager, which holds a lock on the directory.

    Raises:
        XdsShadowError: the directory cannot be used, another server uses it, or a file in it cannot be read.
            The message names the file and the problem. No object is dropped.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock: int | None = None

    def __enter__(self) -> Self:
        try:
            self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(self._path / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self.__exit__()
            raise XdsShadowError(f"{self._path}: another server uses this directory") from error
        except OSError as error:
            self.__exit__()
            raise XdsShadowError(f"{self._path}: cannot be used: {error.strerror}") from error
        return self

    def __exit__(self, *_error: object) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def open_store(self) -> Store:
        """A store with the objects in the files, which writes further changes to them."""
        store = Store(persist=self._write)
        store.load(self._documents(), version=self._version())
        return store

    # --- writing ---------------------------------------------------------------------------------------

    def _write(self, step: Step) -> None:
        path = self._file(step.resource, step.key)
        if step.after is not None:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            replace_file(path, codec.write_yaml(step.after.doc), private=True)
            return
        state = codec.write_yaml({"resourceVersion": str(step.version)})
        replace_file(self._path / _STATE, state, private=True)
        path.unlink(missing_ok=True)
        with suppress(OSError):  # the directory has other files
            path.parent.rmdir()

    def _file(self, resource: Resource, key: Key) -> Path:
        """Names are validated on create. If a name is too long for a file name, its end is replaced by a
        hash."""
        name = key.name
        if len(name.encode()) > _LONGEST_NAME:
            digest = hashlib.blake2b(name.encode(), digest_size=8).hexdigest()
            name = f"{name.encode()[:_LONGEST_NAME].decode(errors='ignore')}~{digest}"
        return self._path / resource.qualified / (key.namespace or _NO_NAMESPACE) / f"{name}.yaml"

    # --- reading ---------------------------------------------------------------------------------------

    def _version(self) -> int:
        path = self._path / _STATE
        if not path.exists():
            return 0
        doc = _read(path)
        return _version_in(path, doc, "resourceVersion")

    def _documents(self) -> Iterator[Doc]:
        for path in sorted(self._path.glob("*/*/*.yaml")):
            resource = _KINDS.get(path.parts[-3])
            if resource is None:
                raise XdsShadowError(f"{path}: {path.parts[-3]} are not served here")
            doc = _read(path)
            self._check(path, resource, doc)
            yield doc

    def _check(self, path: Path, resource: Resource, doc: Doc) -> None:
        """Check what the server relies on, because the file may have been edited."""
        for field, expected in (("apiVersion", resource.api_version), ("kind", resource.kind)):
            if doc.get(field) != expected:
                raise XdsShadowError(f"{path}: {field} is {doc.get(field)!r}, not {expected!r}")
        try:
            shapes.check(resource, doc)
        except StatusError as error:
            raise XdsShadowError(f"{path}: {error.message}") from error
        _version_in(path, metadata(doc), "resourceVersion", "metadata.")
        for field in ("name", "uid", *(("namespace",) if resource.namespaced else ())):
            if not metadata(doc).get(field):
                raise XdsShadowError(f"{path}: metadata.{field} is missing")
        if self._file(resource, key_of(resource, doc)) != path:
            raise XdsShadowError(f"{path}: metadata.name or metadata.namespace is not that of the file")


def _read(path: Path) -> Doc:
    try:
        doc = codec.read_yaml(path.read_bytes())
    except OSError as error:
        raise XdsShadowError(f"{path}: cannot be read: {error.strerror}") from error
    except codec.UnreadableError as error:
        raise XdsShadowError(f"{path}: {error}") from error
    if not isinstance(doc, dict):
        raise XdsShadowError(f"{path}: is no object")
    return doc


def _version_in(path: Path, doc: Doc, field: str, prefix: str = "") -> int:
    text = doc.get(field)
    if not (isinstance(text, str) and text.isascii() and text.isdecimal()):
        raise XdsShadowError(f"{path}: {prefix}{field} is {text!r}, not a version")
    return int(text)
