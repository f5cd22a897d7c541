"""The Go program that contains the control plane, and what it takes to build and run it."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

_HERE: Final = Path(__file__).parent
_SOURCES: Final = _HERE / "control_plane"
PROGRAM: Final = _HERE / "bin" / "test-cluster"
VERSION: Final = "v1.36.3"
"""Of Kubernetes; `control_plane/go.mod` requires the same."""

_TOOLS: Final = ("go", "unshare", "ip")


def missing() -> str:
    """Why the control plane cannot run here; empty if it can."""
    for tool in _TOOLS:
        if shutil.which(tool) is None:
            return f"{tool} is not installed"
    if os.geteuid() != 0:
        return "network namespaces need root"
    tried = subprocess.run(
        ["unshare", "--net", "--pid", "--fork", "--mount-proc", "true"],
        capture_output=True,
        text=True,
        check=False,
    )
    return "" if tried.returncode == 0 else f"no namespaces: {tried.stderr.strip()}"


def build() -> None:
    """Build the program; Go's cache makes this a matter of seconds when nothing changed."""
    command = ["go", "build", "-trimpath", "-ldflags", _ldflags(), "-o", str(PROGRAM), "."]
    subprocess.run(command, cwd=_SOURCES, env={**os.environ, "CGO_ENABLED": "0"}, check=True)


def _ldflags() -> str:
    """The components report the version that is linked in. By default it is v0.0.0, too old for clients."""
    major, minor, _ = VERSION.removeprefix("v").split(".")
    values = {"gitVersion": VERSION, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    return " ".join(
        [
            "-s",
            "-w",
            *(f"-X {package}.{name}={value}" for package in packages for name, value in values.items()),
        ]
    )
