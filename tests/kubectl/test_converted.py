"""What `convert` prints can be typed, and its patches can be applied: the real kubectl takes both."""

import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.kubectl.client import Kubectl
from tests.support.converted import NAMES, Case, Edits, case_of, patched, typed
from tests.support.installation import kubectl
from xds_server.cli.convert.convert import convert
from xds_server.cli.convert.form import Output

SOME = (
    *("apisix-config", "consul-routes", "contour-include-header", "emissary-plain", "flagger-match"),
    *("gateway-conditions", "istio-mirrors", "nginx-two-paths"),
)
"""One of each project; that the others' lines are of the same form another test says."""


def objects(case: Case) -> list[dict[str, Any]]:
    """What its lines are about."""
    found = []
    for kind, namespace, name in case_edits(case).labels:
        version, spec = ("v1", {"ports": [{"port": 80}]}) if kind == "Service" else ("apps/v1", DEPLOYMENT)
        metadata = {"name": name, "namespace": namespace}
        found.append({"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec})
    return found


DEPLOYMENT: Mapping[str, Any] = {
    "selector": {"matchLabels": {"app": "a"}},
    "template": {
        "metadata": {"labels": {"app": "a"}},
        "spec": {"containers": [{"name": "a", "image": "a"}]},
    },
}


def case_edits(case: Case) -> Edits:
    return typed(case.converted.lines)


@pytest.mark.parametrize("name", SOME)
async def test_every_line_is_taken(kube: Kubectl, name: str) -> None:
    case = case_of(name)
    # In the test's namespace instead of the one that the lines name.
    moved = [{**each, "metadata": {"name": each["metadata"]["name"]}} for each in objects(case)]
    await kube("apply", "-f", "-", stdin=moved)
    for line in case.converted.lines:
        if line.startswith("kubectl"):
            _, _, _, verb, kind, target, *said = shlex.split(line)
            await kube(verb, kind, target, *said)
            metadata = (await kube.get(kind, target))["metadata"]
            held = metadata["labels"] if verb == "label" else metadata["annotations"]
            assert dict(each.split("=", 1) for each in said).items() <= held.items()


def test_patches_do_what_the_lines_do(tmp_path: Path) -> None:
    """All of them in one kustomization."""
    cases = [case_of(name) for name in NAMES]
    (tmp_path / "all.yaml").write_text(yaml.safe_dump_all([each for case in cases for each in objects(case)]))
    patches = [
        {"patch": yaml.safe_dump(each)}
        for case in cases
        for each in yaml.safe_load_all("\n".join(convert(case.docs, Output.YAML).lines))
        if each
    ]
    (tmp_path / "kustomization.yaml").write_text(
        yaml.safe_dump({"resources": ["all.yaml"], "patches": patches})
    )
    built = subprocess.run(
        [kubectl(), "kustomize", str(tmp_path)], capture_output=True, text=True, check=True
    ).stdout
    done = patched([built])
    for case in cases:
        edits = case_edits(case)
        assert {at: done.labels[at] for at in edits.labels} == edits.labels
        assert {at: done.annotations[at] for at in edits.annotations} == edits.annotations
