"""The installation as `kubectl apply -k` sees it, and the page about it."""

import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.support.waiting import PATIENCE_S

Doc = dict[str, Any]

REPOSITORY = Path(__file__).parents[2]
INSTALL = REPOSITORY / "manifests" / "install"
SYSTEM = "xds-shadow-system"


def kubectl() -> str:
    """The kubectl beside this Python, else the one on the PATH."""
    beside = Path(sys.executable).with_name("kubectl")
    return str(beside) if beside.exists() else "kubectl"


def build(directory: Path) -> list[Doc]:
    """The objects that ``kubectl apply -k`` would send, without a cluster."""
    command = [kubectl(), "kustomize", str(directory)]
    found = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert (found.returncode, found.stderr) == (0, ""), found.stderr
    return list(yaml.safe_load_all(found.stdout))


def overlay(directory: Path, *, resources: Sequence[str], components: Sequence[str] = ()) -> list[Doc]:
    """The objects of a user's kustomization in `directory`, which names directories of the installation. They
    are copied there: kubectl wants paths below each other."""
    copied = directory / "xds-shadow" / "manifests" / "install"
    if not copied.exists():
        shutil.copytree(INSTALL, copied)
    inside = "xds-shadow/manifests/install"
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [f"{inside}/{each}" for each in resources],
        "components": [f"{inside}/{each}" for each in components],
    }
    (directory / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    return build(directory)


def of_kind(docs: list[Doc], kind: str) -> list[Doc]:
    return [doc for doc in docs if doc["kind"] == kind]


def named(docs: list[Doc], kind: str, name: str) -> Doc:
    [found] = [doc for doc in of_kind(docs, kind) if doc["metadata"]["name"] == name]
    return found


def pod_of(deployment: Doc) -> Doc:
    spec: Doc = deployment["spec"]["template"]["spec"]
    return spec


def container_of(deployment: Doc) -> Doc:
    [container] = pod_of(deployment)["containers"]
    return dict(container)


def ports_of(deployment: Doc) -> dict[str, int]:
    return {port["name"]: port["containerPort"] for port in container_of(deployment)["ports"]}


def memory_limit(container: Doc) -> int:
    """In bytes."""
    found = re.fullmatch(r"(\d+)([MG])i", container["resources"]["limits"]["memory"])
    assert found
    return int(found[1]) * {"M": 1024**2, "G": 1024**3}[found[2]]


def namespaces_of(deployment: Doc) -> tuple[str, ...]:
    """What ``--namespace`` says."""
    return tuple(
        arg.removeprefix("--namespace=")
        for arg in container_of(deployment)["args"]
        if arg.startswith("--namespace=")
    )


def lay(directory: Path, *files: str) -> Path:
    """Write blocks of docs/install.md under the names in their first lines, beside a copy of the
    manifests."""
    if not (directory / "xds-shadow").exists():
        shutil.copytree(INSTALL, directory / "xds-shadow" / "manifests" / "install")
    for block in files:
        name = re.match(r"# (\S+)\n", block)
        assert name
        (directory / name[1]).write_text(block)
    return directory


def page() -> str:
    return (REPOSITORY / "docs" / "install.md").read_text()


def snippet(file: str, word: str = "") -> str:
    """The block for this file in which there is this word."""
    [found] = [each for each in snippets() if each.startswith(f"# {file}\n") and word in each]
    return found


def snippets() -> list[str]:
    """The blocks of YAML in docs/install.md, without the indentation of a list around them."""
    found = re.finditer(r"^( *)```yaml\n(.*?)^ *```", page(), re.MULTILINE | re.DOTALL)
    return [re.sub(rf"^{match[1]}", "", match[2], flags=re.MULTILINE) for match in found]
