"""Where the blocks are run: the demo's whole (an embedded Kubernetes API with the example in it, a control
plane, two Envoys, backends), a shell, and a checkout beside it.

Every block finds the example as it is in `manifests/`, whatever others did to it.
"""

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.docs.blocks import ROOT
from tests.support.waiting import PATIENCE_S, eventually
from xds_server.base.address import Address
from xds_server.core.keys import ALLOW
from xds_server.local.demo.envoy import envoy_binary
from xds_server.local.demo.fleet import Demo, DemoOptions, reserved_ports, running
from xds_server.local.demo.stage import documents, example_manifests
from xds_server.server.status_client import get_status

_ANYWHERE = Address("127.0.0.1", 0)
_IN_A_CHECKOUT = ("manifests", "envoy")
_EXAMPLE = ".example.yaml"

# A second Envoy on one machine must not take the first's shared memory; nothing else is different.
_ENVOY = '#!/bin/sh\nexec {binary} "$@" --disable-hot-restart --concurrency 1 --log-level warning\n'

Until = Callable[["Laptop"], Awaitable[bool]]
"""Whether a command that goes on has done its work."""


@dataclass(frozen=True)
class Laptop:
    """`directory` is one page's own. `places` are what a block may have to be told, by name."""

    demo: Demo
    directory: Path
    environment: Mapping[str, str]
    places: Mapping[str, str]

    async def run(self, script: str) -> str:
        """What a shell prints that has to succeed."""
        shell = await self._start(script)
        try:
            printed, _ = await asyncio.wait_for(shell.communicate(), PATIENCE_S)
        except TimeoutError:
            raise AssertionError(f"it did not end within {PATIENCE_S:g} s:\n{script}") from None
        finally:
            _end(shell)
        assert shell.returncode == 0, f"{script}\n{printed.decode()}"
        return printed.decode()

    async def run_until(self, script: str, until: Until) -> None:
        """Run what goes on by itself until it has done its work, and end it then."""
        shell = await self._start(script)
        assert shell.stdout
        printed = bytearray()
        reading = asyncio.create_task(_read(shell.stdout, printed))

        async def done() -> bool:
            assert not reading.done(), f"it has ended:\n{script}\n{printed.decode()}"
            return await until(self)

        try:
            await eventually(done, what=f"the work of\n{script}\n")
        finally:
            _end(shell)
            await shell.wait()
            await reading

    async def tidy(self) -> None:
        """Give the example's objects the labels and annotations that its files give them."""
        (self.directory / "ready").unlink(missing_ok=True)
        await self.run(f"kubectl replace -f {_EXAMPLE}; kubectl -n staging label secret --all {ALLOW}-")

    async def _start(self, script: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *("bash", "-euo", "pipefail", "-c", script),
            cwd=self.directory,
            env=dict(self.environment),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )


@asynccontextmanager
async def laptop(directory: Path, prepare: str) -> AsyncIterator[Callable[[str], Laptop]]:
    """Start everything once, and run `prepare` in a shell; gives each page a directory of its own."""
    options = DemoOptions(
        manifests=example_manifests(),
        kube_address=_ANYWHERE,
        xds_address=_ANYWHERE,
        admin_address=_ANYWHERE,
    )
    async with running(options) as demo:
        with reserved_ports(1) as (free,):
            await _of_page(demo, directory / "prepare", free).run(prepare)
            yield lambda page: _of_page(demo, directory / Path(page).stem, free)


def _of_page(demo: Demo, directory: Path, free: int) -> Laptop:
    if not directory.exists():
        _furnish(demo, directory)
    environment = {
        "PATH": f"{directory / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(directory),
        "KUBECONFIG": str(demo.cluster.kubeconfig),
        # What would take a port that is known, takes one that is free.
        "XDS_SHADOW_SERVER": str(demo.control_plane.admin_address),
        "XDS_SHADOW_ADMIN_ADDRESS": str(_ANYWHERE),
        "XDS_SHADOW_HTTP_ADDRESS": str(_ANYWHERE),
        "XDS_SHADOW_ADMIN_PORT": "0",
        "XDS_SHADOW_GATEWAY_PORT": str(free),
        "XDS_SHADOW_NODE_GATEWAY_PORT": str(free),
        "XDS_SHADOW_READY_FILE": str(directory / "ready"),
    }
    places = {
        "checkout": str(ROOT),
        "kubeconfig": str(demo.cluster.kubeconfig),
        "xds": str(demo.control_plane.xds_address),
        "admin": str(demo.control_plane.admin_address),
        "http": str(demo.control_plane.http_address),
        "gateway": str(demo.envoys[0].gateway_port),
        "envoy": demo.envoys[0]._admin,
        "log": str(demo.control_plane.process.log),
    }
    return Laptop(demo, directory, environment, places)


def _furnish(demo: Demo, directory: Path) -> None:
    """A home with a kubeconfig and an Envoy, in a checkout, and with another one in `xds-shadow`."""
    for part in _IN_A_CHECKOUT:
        shutil.copytree(ROOT / part, directory / part)
        shutil.copytree(ROOT / part, directory / "xds-shadow" / part)
    (directory / _EXAMPLE).write_text(yaml.safe_dump_all(documents(example_manifests())))
    (directory / ".kube").mkdir()
    shutil.copy(demo.cluster.kubeconfig, directory / ".kube" / "config")
    envoy = directory / "bin" / "envoy"
    envoy.parent.mkdir()
    envoy.write_text(_ENVOY.format(binary=envoy_binary()))
    envoy.chmod(0o755)


async def _read(stream: asyncio.StreamReader, into: bytearray) -> None:
    while part := await stream.read(65536):
        into += part


def _end(shell: asyncio.subprocess.Process) -> None:
    """End the shell and all that it started: a session of its own."""
    try:
        os.killpg(shell.pid, signal.SIGTERM)
    except ProcessLookupError:
        return  # it has ended, and nothing is left of it


async def is_ready(where: Laptop) -> bool:
    """A control plane of the block's own serves."""
    return (where.directory / "ready").exists()


def connected(node: str) -> Until:
    """An Envoy of this name has everything that it was sent."""

    async def found(where: Laptop) -> bool:
        status = await asyncio.to_thread(get_status, where.demo.control_plane.admin_address)
        types = [kind for each in status.nodes if each.id == node for kind in each.types]
        return bool(types) and all(kind.sync == "SYNCED" for kind in types)

    return found
