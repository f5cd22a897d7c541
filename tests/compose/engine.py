"""A Docker engine: the one that answers, or one of the tests' own that ends with them."""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

_START_S = 60.0


class NoEngineError(Exception):
    """There is none, and why."""


class Engine(NamedTuple):
    """How it is spoken to: `compose` is the command, `environment` goes with it and with ``docker``."""

    compose: tuple[str, ...]
    environment: Mapping[str, str]

    def docker(self, *arguments: str, stdin: bytes | None = None) -> str:
        """What ``docker`` prints; it must succeed."""
        return run(["docker", *arguments], self.environment, stdin=stdin)


def run(
    command: list[str], environment: Mapping[str, str], *, stdin: bytes | None = None, cwd: Path | None = None
) -> str:
    """What a command prints on standard output; it must succeed."""
    ran = subprocess.run(command, env={**environment}, input=stdin, capture_output=True, check=False, cwd=cwd)
    said = "\n".join(each.decode()[-4000:] for each in (ran.stdout, ran.stderr))
    assert ran.returncode == 0, f"{' '.join(command)}\n{said}"
    return ran.stdout.decode()


@contextlib.contextmanager
def docker_engine() -> Iterator[Engine]:
    """The engine that ``docker`` finds by itself, else a private one.

    Raises:
        NoEngineError: neither can be had here.
    """
    if shutil.which("docker") is None:
        raise NoEngineError("there is no docker command")
    environment = dict(os.environ)
    if _answers(environment):
        yield Engine(_compose(environment), environment)
        return
    if os.geteuid() != 0 or shutil.which("dockerd") is None:
        raise NoEngineError("no Docker engine answers, and none can be started: that takes dockerd and root")
    with _own_engine(environment) as own:
        yield Engine(_compose(own), own)


def _answers(environment: Mapping[str, str]) -> bool:
    return _succeeds(["docker", "info"], environment)


def _compose(environment: Mapping[str, str]) -> tuple[str, ...]:
    for command in (("docker", "compose"), ("docker-compose",)):
        if shutil.which(command[0]) and _succeeds([*command, "version"], environment):
            return command
    raise NoEngineError("there is neither `docker compose` nor docker-compose")


def _succeeds(command: list[str], environment: Mapping[str, str]) -> bool:
    return subprocess.run(command, env={**environment}, capture_output=True, check=False).returncode == 0


@contextlib.contextmanager
def _own_engine(environment: Mapping[str, str]) -> Iterator[dict[str, str]]:
    directory = Path(tempfile.mkdtemp(prefix="xds-shadow-docker-"))  # short: a socket's path has a limit
    socket = f"unix://{directory}/docker.sock"
    own = {**environment, "DOCKER_HOST": socket}
    with (directory / "log").open("wb") as log:
        daemon = subprocess.Popen(
            [
                *("dockerd", "--host", socket, "--pidfile", f"{directory}/pid"),
                *("--data-root", f"{directory}/data", "--exec-root", f"{directory}/exec"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + _START_S
        while not _answers(own):
            if daemon.poll() is not None or time.monotonic() > deadline:
                last = (directory / "log").read_text(errors="replace").splitlines()[-3:]
                raise NoEngineError("dockerd does not start here: " + " ".join(last))
            time.sleep(0.1)
        yield own
    finally:
        daemon.send_signal(signal.SIGTERM)
        daemon.wait()
        shutil.rmtree(directory, ignore_errors=True)
