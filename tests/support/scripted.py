"""A control plane whose objects come from a test, change by change: no file and no API server lies between.

``python -m tests.support.scripted`` is the process. It takes a line of JSON for each batch; what is in one
batch reaches the pipeline at once, as objects in the words of a Kubernetes API: with the times of their
creation, which files have not, and without the checks that are made of files.
"""

import asyncio
import contextlib
import json
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from importlib import import_module
from pathlib import Path
from typing import Any, Final, Self

from tests.support.waiting import eventually
from xds_server.base.address import Address, parse_address
from xds_server.base.ids import NamespacedName
from xds_server.base.logs import LogFormat, configure_logging
from xds_server.core.decode import decode_object
from xds_server.core.objects import Kind, Ref
from xds_server.core.source import Health, Sink
from xds_server.core.world import Change, Delete, Upsert
from xds_server.server.app import App
from xds_server.server.config import ServeConfig, SourceConfig

Document = Mapping[str, Any]
Name = tuple[str, str, str]
"""Kind, namespace and name."""

_ANY: Final = Address("127.0.0.1", 0)
_LONGEST_LINE: Final = 64 << 20
_STOP_S: Final = 5.0


def name_of(document: Document) -> Name:
    """What names this object."""
    metadata = document["metadata"]
    return document["kind"], metadata.get("namespace", ""), metadata["name"]


class Scripted:
    """The process, as a test sees it."""

    def __init__(self, directory: Path) -> None:
        self.xds_address = self.admin_address = self.http_address = _ANY
        self.log = directory / "control-plane.log"
        self._ready_file = directory / "control-plane.ready"
        self._child: asyncio.subprocess.Process | None = None

    async def start(self, first: Iterable[Document]) -> Self:
        """Start it on these objects, and wait until it serves."""
        self._ready_file.unlink(missing_ok=True)
        with self.log.open("ab") as log:
            self._child = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.support.scripted", str(self._ready_file)),
                stdin=asyncio.subprocess.PIPE,
                stdout=log,
                stderr=log,
            )
        await self.put(first)
        await eventually(self._ready, what="a control plane that is ready")
        where = json.loads(self._ready_file.read_text())
        self.xds_address, self.admin_address, self.http_address = (
            parse_address(where[each], option=each)
            for each in ("xds_address", "admin_address", "http_address")
        )
        return self

    @property
    def pid(self) -> int:
        """The process id."""
        assert self._child
        return self._child.pid

    async def put(self, upserts: Iterable[Document], deletes: Iterable[Name] = ()) -> None:
        """One batch."""
        await self._say({"upserts": list(upserts), "deletes": list(deletes)})

    async def break_for(self, service: str, function: str) -> None:
        """From now on ``module:name`` raises whenever it is called for this Service (``namespace/name``)."""
        await self._say({"service": service, "breaks": function})

    async def mend(self) -> None:
        """Undo `break_for`."""
        await self._say({"mend": True})

    async def stop(self) -> None:
        """End it, by the end of its input."""
        if self._child is None or self._child.returncode is not None:
            return
        assert self._child.stdin
        self._child.stdin.close()
        try:
            async with asyncio.timeout(_STOP_S):
                await self._child.wait()
        except TimeoutError:
            self._child.kill()
            await self._child.wait()

    def _ready(self) -> bool:
        assert self._child
        assert self._child.returncode is None, self.log.read_text(errors="replace")[-3000:]
        return self._ready_file.exists()

    async def _say(self, said: Mapping[str, Any]) -> None:
        assert self._child
        assert self._child.stdin
        self._child.stdin.write(json.dumps(said).encode() + b"\n")
        await self._child.stdin.drain()


class _Source:
    """Standard input. What breaks is in this process alone, so it is here as well."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()
        self._broken: list[Callable[[], None]] = []

    def health(self) -> Health:
        """See `Source.health`."""
        return Health(message="a test says what there is")

    async def run(self, sink: Sink) -> None:
        """See `Source.run`."""
        lines = asyncio.StreamReader(limit=_LONGEST_LINE)
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(lines), sys.stdin
        )
        while line := await lines.readline():
            said = json.loads(line)
            if "breaks" in said:
                self._broken.append(_break(said["breaks"], said["service"]))
            elif "mend" in said:
                while self._broken:
                    self._broken.pop()()
            else:
                sink.put(_changes(said))
                sink.synced()
        self.ended.set()


def _changes(said: Mapping[str, Any]) -> list[Change]:
    deletes = [Delete(Ref(Kind(kind), namespace, name)) for kind, namespace, name in said["deletes"]]
    upserts = [
        Upsert(decode_object(Kind(document["kind"]), json.dumps(document).encode()))
        for document in said["upserts"]
    ]
    return [*deletes, *upserts]


def _break(function: str, service: str) -> Callable[[], None]:
    """Let it raise for one Service; returns what undoes that."""
    module, _, name = function.partition(":")
    owner: Any = import_module(module)
    *path, name = name.split(".")
    for step in path:
        owner = getattr(owner, step)
    works = getattr(owner, name)
    namespace, _, bare = service.partition("/")
    broken = NamespacedName(namespace, bare)

    @wraps(works)
    def raises(*args: Any, **named: Any) -> Any:
        if any(_is_about(each, broken) for each in (*args, *named.values())):
            raise RuntimeError(f"broken for {service} by a test")
        return works(*args, **named)

    setattr(owner, name, raises)
    return lambda: setattr(owner, name, works)


def _is_about(value: Any, service: NamespacedName) -> bool:
    if isinstance(value, NamespacedName):
        return value == service
    reported = [getattr(value, each, None) for each in ("service", "target", "name")]
    reported += [getattr(each, "service", None) for each in getattr(value, "ports", ())]
    return any(isinstance(each, NamespacedName) and each == service for each in reported)


async def _serve(ready_file: Path) -> None:
    source = _Source()
    # Not a cluster, so that backends on loopback are admitted, as they are from files.
    config = ServeConfig(
        source=SourceConfig(manifests=(ready_file.parent,)),
        xds_address=_ANY,
        admin_address=_ANY,
        http_address=_ANY,
        ready_file=ready_file,
        drain_s=0.1,
    )
    app = App(config, source=source)
    running = asyncio.create_task(app.run())
    ended = asyncio.create_task(source.ended.wait())
    await asyncio.wait({running, ended}, return_when=asyncio.FIRST_COMPLETED)
    ended.cancel()
    app.stop()
    await running


if __name__ == "__main__":
    configure_logging(LogFormat.JSON)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(Path(sys.argv[1])))
