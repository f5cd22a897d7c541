"""What ``python -m tests.cluster`` does where its control plane cannot run."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster import program
from tests.support.installation import REPOSITORY


def test_it_prints_why_it_is_skipped_and_succeeds(tmp_path: Path) -> None:
    environment = {"PATH": str(tmp_path), "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-m", "tests.cluster"]
    ran = subprocess.run(
        command, env=environment, cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stdout) == (0, "test-cluster skipped: go is not installed\n"), ran.stderr


def test_namespaces_need_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for tool in ("go", "unshare", "ip"):
        (tmp_path / tool).touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert program.missing() == "network namespaces need root"


def test_the_linked_version_is_the_one_of_the_modules() -> None:
    modules = (REPOSITORY / "tests" / "cluster" / "control_plane" / "go.mod").read_text()
    assert re.findall(r"^\tk8s.io/kubernetes (\S+)$", modules, re.MULTILINE) == [program.VERSION]
