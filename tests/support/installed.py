"""Environments as an installation makes them: outside the checkout, with what a lock names and nothing else.

What is installed here already is linked instead of fetched, so that this takes a second and needs no index.
"""

import os
import subprocess
import sys
import venv
from collections.abc import Iterable
from importlib.metadata import distribution
from pathlib import Path

_SCRIPT = """\
#!{python}
import sys
from {module} import {attribute}
sys.exit({attribute}())
"""


class Installed:
    """A virtual environment in a new directory, with these distributions."""

    def __init__(self, directory: Path, distributions: Iterable[str]) -> None:
        venv.create(directory, with_pip=False)
        self.bin = directory / "bin"
        self.python = self.bin / "python"
        self._directory = directory
        self._packages = (
            directory / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
        )
        for name in distributions:
            self.link(name)

    def link(self, name: str) -> None:
        """Take a distribution from the environment that runs the tests."""
        found = distribution(name)
        for file in found.files or ():
            if ".." not in file.parts and file.suffix != ".pyc":
                target = self._packages / file
                target.parent.mkdir(parents=True, exist_ok=True)
                target.unlink(missing_ok=True)
                if file.size:
                    target.symlink_to(file.locate())
                else:
                    target.touch()  # several have envoy/__init__.py, and here is the last one's alone
        for point in found.entry_points.select(group="console_scripts"):
            self._script(point.name, point.module, point.attr)

    def install(self, archive: Path) -> None:
        """Install a wheel, without what it depends on."""
        subprocess.run(
            [
                sys.executable,
                "-m",
                "pip",
                "--python",
                self.python,
                "install",
                "--no-deps",
                "--no-index",
                archive,
            ],
            check=True,
            capture_output=True,
        )

    def run(self, *command: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """What a command of this environment prints; none of the checkout's is to be found."""
        directory = self._directory / "elsewhere"
        directory.mkdir(exist_ok=True)
        return subprocess.run(
            [self.bin / command[0], *command[1:]],
            cwd=directory,
            env={"PATH": f"{self.bin}{os.pathsep}/usr/bin{os.pathsep}/bin", "HOME": str(directory)},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def _script(self, name: str, module: str, attribute: str) -> None:
        script = self.bin / name
        script.write_text(_SCRIPT.format(python=self.python, module=module, attribute=attribute))
        script.chmod(0o755)
