"""The software bill of materials: what runs, in the form that scanners read."""

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from packaging.utils import canonicalize_name

from tests.support.installed import Installed
from tests.support.locks import ROOT, RUNTIME_LOCK, pins

VERSIONS = {name: pin.version for name, pin in pins(RUNTIME_LOCK).items() if pin.here}


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment as the lock makes it."""
    if find_spec("cyclonedx_py") is None:
        pytest.skip("cyclonedx-bom is not installed in this environment")
    return Installed(tmp_path_factory.mktemp("runtime") / "venv", VERSIONS).python


def written(file: Path, runtime: Path) -> bytes:
    tools = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(
        [ROOT / "scripts" / "sbom", file, runtime],
        env={**os.environ, "PATH": tools},
        check=True,
        capture_output=True,
    )
    return file.read_bytes()


@pytest.fixture(scope="module")
def bill(runtime: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return json.loads(written(tmp_path_factory.mktemp("sbom") / "sbom.json", runtime))


def test_it_lists_what_runs_and_no_tool(bill: Any) -> None:
    listed = {canonicalize_name(each["name"]): each["version"] for each in bill["components"]}
    assert listed == VERSIONS
    assert all(each["purl"].startswith("pkg:pypi/") for each in bill["components"])


def test_it_is_of_this_program_and_says_what_needs_what(bill: Any) -> None:
    program = bill["metadata"]["component"]
    assert (program["name"], program["type"]) == ("xds-shadow", "application")
    assert program["licenses"][0]["license"]["id"] == "Apache-2.0"
    needs = {each["ref"]: each.get("dependsOn", []) for each in bill["dependencies"]}
    reached: set[str] = set()
    todo = [program["bom-ref"]]
    while todo:
        found = set(needs[todo.pop()]) - reached
        reached |= found
        todo += found
    assert {canonicalize_name(ref.partition("==")[0]) for ref in reached} == set(VERSIONS)


def test_every_component_has_a_licence(bill: Any) -> None:
    silent = {each["name"] for each in bill["components"] if not each.get("licenses")}
    assert silent <= {"protobuf"}  # the tool does not know its words, '3-Clause BSD License'


def test_the_same_versions_give_the_same_bytes(bill: Any, runtime: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "moved"
    shutil.copytree(runtime.parents[1], elsewhere, symlinks=True)
    again = written(tmp_path / "sbom.json", elsewhere / "bin" / "python")
    assert json.loads(again) == bill
    assert str(tmp_path) not in again.decode()


def test_it_follows_the_schema(bill: Any) -> None:
    pytest.importorskip("jsonschema", reason="jsonschema is not installed here")
    versions = pytest.importorskip("cyclonedx.schema").SchemaVersion
    validator = pytest.importorskip("cyclonedx.validation.json").JsonStrictValidator
    validate = validator(versions.V1_6).validate_str
    assert validate(json.dumps(bill)) is None
    assert validate(json.dumps({**bill, "unknown": 1})) is not None
