"""Images are made from requirements-runtime.lock, and tests run with requirements.lock: the same versions."""

import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.locks import IMAGE_LOCK, LOCK, ROOT, RUNTIME_LOCK, excluded, needed, pins

WITHOUT = """
import importlib, pkgutil, sys
sys.modules.update(dict.fromkeys(sys.argv[1:]))  # importing such a module fails
import xds_server
for each in pkgutil.walk_packages(xds_server.__path__, "xds_server."):
    if not each.name.endswith("__main__"):
        importlib.import_module(each.name)
sys.argv = ["xds-shadow", "bootstrap", "--node-id", "envoy"]
sys.exit(xds_server.cli.main())
"""
"""Imports every module, and runs the command that uses most of envoy-data-plane."""

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_what_runs_is_what_was_tested() -> None:
    """Versions and hashes are equal; that something is for other systems depends on who asks for it."""
    tested = {name: (pin.version, pin.hashes) for name, pin in pins(LOCK).items()}
    runtime = {name: (pin.version, pin.hashes) for name, pin in pins(RUNTIME_LOCK).items()}
    assert runtime == {name: tested[name] for name in runtime}


def test_the_runtime_lock_has_what_the_program_needs_and_no_more() -> None:
    runtime = {name for name, pin in pins(RUNTIME_LOCK).items() if pin.here}
    assert runtime == needed("xds-shadow") - excluded(RUNTIME_LOCK)


def test_no_module_imports_what_the_runtime_lock_excludes() -> None:
    names = excluded(RUNTIME_LOCK)
    distributions = packages_distributions()
    hidden = [top for top, found in distributions.items() if names & {*map(canonicalize_name, found)}]
    assert len(hidden) == len(names)
    command = [sys.executable, "-c", WITHOUT, *hidden]
    found = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=120)
    assert found.returncode == 0, found.stderr
    assert "node:" in found.stdout


def test_the_locks_fit_pyproject() -> None:
    runtime = pins(RUNTIME_LOCK)
    for text in PROJECT["dependencies"]:
        requirement = Requirement(text)
        version = runtime[canonicalize_name(requirement.name)].version
        assert requirement.specifier.contains(version), f"{version} is not {text}; run make lock"


@pytest.mark.parametrize("lock", [LOCK, RUNTIME_LOCK, IMAGE_LOCK], ids=lambda lock: lock.name)
def test_a_lock_pins_archives_and_names_no_place_to_get_them_from(lock: Path) -> None:
    found = pins(lock)
    assert found
    assert all(pin.hashes for pin in found.values())
    text = lock.read_text()
    assert "://" not in text
    assert "--index-url" not in text
