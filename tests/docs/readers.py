"""What takes the blocks that are part of something: of a patch, of a command line."""

import subprocess
from pathlib import Path
from typing import Any

import typer
import yaml

from tests.support.installation import INSTALL, build, container_of, kubectl, named
from xds_server.cli import cli
from xds_server.core.policy import check_defaults
from xds_server.manifests.policy_file import read_policy


def options_of_serve(path: Path) -> dict[str, Any]:
    """What the command line makes of them."""
    commands: dict[str, Any] = typer.main.get_command(cli).commands  # type: ignore[attr-defined]
    return dict(commands["serve"].make_context("serve", path.read_text().split()).params)


def policy(path: Path) -> None:
    """What `--policy` takes, and what shadows can have under it."""
    check_defaults(read_policy(path))


def patch_of_the_control_plane(path: Path) -> None:
    """Kustomize applies it to the Deployment, whose arguments `serve` takes."""
    overlay = path.parent / "patched"
    overlay.mkdir(exist_ok=True)
    patch = {"target": {"kind": "Deployment", "name": "xds-shadow"}, "patch": path.read_text()}
    installed = subprocess.run(
        [kubectl(), "kustomize", str(INSTALL / "cluster")], capture_output=True, text=True, check=True
    )
    (overlay / "installed.yaml").write_text(installed.stdout)
    kustomization = {"resources": ["installed.yaml"], "patches": [patch]}
    (overlay / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    command, *arguments = container_of(named(build(overlay), "Deployment", "xds-shadow"))["args"]
    assert command == "serve"
    (overlay / "arguments").write_text(" ".join(arguments))
    options_of_serve(overlay / "arguments")
