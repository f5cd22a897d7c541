"""The archives, built once."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.locks import ROOT

EPOCH = "1700000000"


class Archives(NamedTuple):
    """What ``python -m build`` makes."""

    source: Path
    wheel: Path


def built(source: Path, directory: Path, *what: str) -> Path:
    """Build, with the build backend of this environment; both archives, or `what`."""
    for tool in ("build", "hatchling"):
        if find_spec(tool) is None:
            pytest.skip(f"{tool} is not installed in this environment")
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", *what, "--outdir", directory, source],
        env={**os.environ, "SOURCE_DATE_EPOCH": EPOCH},
        check=True,
        capture_output=True,
    )
    return directory


def archives_in(directory: Path) -> Archives:
    (source,), (wheel,) = directory.glob("*.tar.gz"), directory.glob("*.whl")
    return Archives(source, wheel)


@pytest.fixture(scope="session")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Archives:
    return archives_in(built(ROOT, tmp_path_factory.mktemp("dist")))
