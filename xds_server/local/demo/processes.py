"""Child processes that end with their parent, and whose last output is shown when they fail."""

import asyncio
import contextlib
import ctypes
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Self

from xds_server.base.errors import XdsShadowError

_READY_S = 120.0  # a busy laptop; a process that has ended is reported at once
_STOP_S = 5.0
_TAIL_LINES = 15
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_LIBC = ctypes.CDLL(None)  # loaded here: a forked child must not load libraries


class Process:
    """A child process whose output goes to a file. It is stopped by its id: SIGTERM, then SIGKILL."""

    def __init__(self, name: str, command: Sequence[str], log: Path) -> None:
        self.name = name
        self.log = log
        self._command = command
        self._child: asyncio.subprocess.Process | None = None

    async def start(self) -> Self:
        """Start it; its output is appended to the log file."""
        with self.log.open("ab") as log:
            starting = asyncio.ensure_future(
                asyncio.create_subprocess_exec(
                    *self._command,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    # A separate session, so that Ctrl-C reaches only the parent, which stops its children in
                    # order.
                    start_new_session=True,
                    preexec_fn=_end_with_parent if sys.platform == "linux" else None,
                )
            )
            try:
                self._child = await asyncio.shield(starting)
            except asyncio.CancelledError:
                # The child may already exist, and `stop` must know its id.
                self._child = await starting
                raise
        return self

    @property
    def pid(self) -> int:
        """The process id.

        Raises:
            XdsShadowError: the process is not running.
        """
        if self._child is None or self._child.returncode is not None:
            raise XdsShadowError(self.failure("is not running"))
        return self._child.pid

    async def until(
        self, check: Callable[[], Awaitable[bool]], *, what: str, within_s: float = _READY_S
    ) -> None:
        """Wait until `check` is true.

        Raises:
            XdsShadowError: the process ended, or `within_s` seconds passed; the message has the end of its
                log.
        """
        deadline = asyncio.get_running_loop().time() + within_s
        while not await check():
            if self._child is None or self._child.returncode is not None:
                raise XdsShadowError(self.failure(f"ended before {what}"))
            if asyncio.get_running_loop().time() > deadline:
                raise XdsShadowError(self.failure(f"did not come to {what} within {within_s:g} s"))
            await asyncio.sleep(0.02)

    async def stop(self, first: signal.Signals = signal.SIGTERM) -> None:
        """Stop it and wait for its end. Does nothing if it has ended."""
        child = self._child
        if child is None or child.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            child.send_signal(first)
        try:
            async with asyncio.timeout(_STOP_S):
                await child.wait()
        except TimeoutError:
            child.kill()
            await child.wait()

    def failure(self, what: str) -> str:
        """An error message: `what` happened, and the end of the log."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n  ".join([f"{self.name} {what}; the end of its output:", *lines[-_TAIL_LINES:]])


def _end_with_parent() -> None:
    """Runs in the child before exec: the kernel kills the child if its parent dies."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
