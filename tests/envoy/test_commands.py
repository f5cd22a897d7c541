"""What the commands print is what a real Envoy takes, and the demo ends as it began."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from tests.docs.blocks import blocks_of, missing
from tests.envoy.scenarios.stage import BINARIES
from tests.support import objects
from tests.support.waiting import PATIENCE_S
from xds_server.base.address import Address
from xds_server.core.plan import State
from xds_server.core.states import MAX_SAMPLED
from xds_server.core.values import MAX_METHODS
from xds_server.local.demo.envoy import envoy_binary
from xds_server.local.demo.stage import example_manifests
from xds_server.manifests.source import read_once
from xds_server.server.config import RenderFormat
from xds_server.server.pipeline import Pipeline
from xds_server.server.render import render

pytestmark = pytest.mark.envoy

GOLDEN = Path(__file__).parents[1] / "unit" / "pure" / "golden"
REPOSITORY = Path(__file__).parents[2]


def validate(configuration: Path) -> list[str]:
    """What Envoys of each version have against running a configuration."""
    wrong = []
    for binary in BINARIES.values():
        command = [str(binary or envoy_binary()), "--mode", "validate", "--config-path", str(configuration)]
        found = subprocess.run(
            [*command, "-l", "error"], capture_output=True, text=True, timeout=PATIENCE_S, check=False
        )
        if found.returncode != 0:
            wrong.append(found.stderr)
    return wrong


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "xds_server.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
        cwd=REPOSITORY,
    )


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.in.yaml")), ids=lambda path: path.name.split(".")[0])
def test_every_golden_result_is_valid_to_envoy(path: Path, tmp_path: Path) -> None:
    source = tmp_path / "manifests"
    source.mkdir()
    shutil.copy(path, source / "all.yaml")
    published = Pipeline(gateway_port=8080, expose_all=False).step(read_once([source]), now=0.0)
    static = tmp_path / "static.yaml"
    static.write_text(render(published.snapshot, RenderFormat.STATIC))
    assert validate(static) == []


def test_the_largest_policies_that_are_accepted_are_valid_to_envoy(tmp_path: Path) -> None:
    methods = ",".join(f"{'X' * 29}-{number:02}" for number in range(MAX_METHODS))
    documents = [objects.namespace(), objects.service()]
    for number in range(MAX_SAMPLED):
        name = f"canary-{number}"
        address = Address("10.0.0.1", 8000 + number)
        documents.append(objects.canary(name, methods=methods, percent=f"{number + 1}.0001"))
        documents.append(objects.pod(f"{name}-1", address, labels={"app": name}))
    source = tmp_path / "manifests"
    source.mkdir()
    (source / "all.yaml").write_text(yaml.safe_dump_all(documents))
    published = Pipeline(gateway_port=8080, expose_all=False).step(read_once([source]), now=0.0)
    assert [shadow.state for shadow in published.plan.shadows()] == [State.ACTIVE] * MAX_SAMPLED
    static = tmp_path / "static.yaml"
    static.write_text(render(published.snapshot, RenderFormat.STATIC))
    assert validate(static) == []


def test_envoy_would_notice_a_bad_configuration(tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("static_resources: {clusters: [{name: a, type: EDS}]}")
    assert len(validate(bad)) == len(BINARIES)


def test_render_static_is_valid_to_envoy(tmp_path: Path) -> None:
    found = run("render", "--manifests", "manifests", "--manifests", "manifests/local", "-o", "static")
    assert (found.returncode, found.stderr) == (0, "")
    static = tmp_path / "static.yaml"
    static.write_text(found.stdout)
    assert validate(static) == []
    listeners = yaml.safe_load(found.stdout)["static_resources"]["listeners"]
    assert [listener["name"] for listener in listeners] == ["gateway"]


@pytest.mark.parametrize("mode", ["delta", "sotw"])
def test_the_bootstraps_in_envoy_are_current_and_valid(mode: str) -> None:
    committed = REPOSITORY / "envoy" / f"{mode}.yaml"
    printed = run("bootstrap", "--node-id", f"gateway-{mode}", "--mode", mode).stdout
    assert yaml.safe_load(committed.read_text()) == yaml.safe_load(printed)
    assert validate(committed) == []


def test_the_demo_tells_its_story_and_ends_all_that_it_started(tmp_path: Path) -> None:
    before = (example_manifests() / "4-canary.yaml").read_bytes()
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-m", "xds_server.cli", "demo", "--once"]
    found = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
        cwd=REPOSITORY,
        env=environment,
    )
    assert found.returncode == 0, found.stdout + found.stderr
    for part in ("each exactly once", "(2", "no more mirrored requests"):
        assert part in found.stdout
    first = "first mirrored request at the canary"
    [shown] = [block for block in blocks_of("docs/try.md") if first in block.text]
    assert missing(shown.output(), found.stdout) == []
    assert "✗" not in found.stdout
    assert list(tmp_path.iterdir()) == []
    assert (example_manifests() / "4-canary.yaml").read_bytes() == before
    assert not _running_from(tmp_path)


def test_the_demo_fails_where_its_story_does_not_come_true(tmp_path: Path) -> None:
    manifests = tmp_path / "manifests"
    shutil.copytree(example_manifests(), manifests)
    namespace = manifests / "1-namespace.yaml"
    namespace.write_text(namespace.read_text().replace('expose: "true"', 'expose: "false"'))
    found = run("demo", "--once", "--manifests", str(manifests))
    assert found.returncode == 1
    assert "0 responses from the stable version" in found.stdout
    assert "the demo failed" in found.stderr


def _heed_interrupts() -> None:
    """What a shell starts in the background ignores Ctrl-C, and so do these tests and their children then."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(("options", "code"), [(["--once"], 130), ([], 0)], ids=["once", "live"])
def test_a_signal_ends_the_demo_and_all_that_it_started(
    tmp_path: Path, options: list[str], code: int, how: signal.Signals
) -> None:
    command = [sys.executable, "-m", "xds_server.cli", "demo", *options]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=REPOSITORY,
        env=environment,
        preexec_fn=_heed_interrupts,  # noqa: PLW1509 - it only sets a signal
    ) as demo:
        assert demo.stdout is not None
        demo.stdout.readline()  # "Starting …": children are about to be started
        deadline = time.monotonic() + PATIENCE_S
        while not _running_from(tmp_path):
            assert time.monotonic() < deadline
        demo.send_signal(how)
        output = demo.stdout.read()
        assert demo.wait(PATIENCE_S) == code, output
    assert b"Traceback" not in output
    assert not _running_from(tmp_path)
    assert list(tmp_path.iterdir()) == []


def _running_from(directory: Path) -> list[str]:
    """Command lines of processes that name a path below `directory`."""
    lines = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # it has ended meanwhile
            continue
        if str(directory) in line:
            lines.append(line)
    return lines
