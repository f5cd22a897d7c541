"""Images are made from requirements-runtime.lock, and tests run with requirements.lock: the same versions."""

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.locks import IMAGE_LOCK, LOCK, ROOT, RUNTIME_LOCK, needed, pins

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_what_runs_is_what_was_tested() -> None:
    """Versions and hashes are equal; that something is for other systems depends on who asks for it."""
    tested = {name: (pin.version, pin.hashes) for name, pin in pins(LOCK).items()}
    runtime = {name: (pin.version, pin.hashes) for name, pin in pins(RUNTIME_LOCK).items()}
    assert runtime == {name: tested[name] for name in runtime}


def test_the_runtime_lock_has_what_the_program_needs_and_no_more() -> None:
    assert needed("xds-shadow") == {name for name, pin in pins(RUNTIME_LOCK).items() if pin.here}


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
