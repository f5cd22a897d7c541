"""What `convert` prints can be typed: the real kubectl takes every line that is not a comment."""

import shlex
from pathlib import Path

import pytest

from tests.kubectl.client import Kubectl

EXAMPLES = Path(__file__).parents[1] / "unit" / "convert" / "examples"


@pytest.mark.parametrize("case", sorted(path.stem for path in EXAMPLES.glob("*.txt")))
async def test_every_line_is_taken(kube: Kubectl, case: str) -> None:
    lines = (EXAMPLES / f"{case}.txt").read_text().splitlines()
    there: set[tuple[str, str]] = set()
    for line in lines:
        if not line.startswith("kubectl"):
            continue
        _, _, _, verb, kind, name, *said = shlex.split(line)
        if (kind, name) not in there:
            there.add((kind, name))
            how = (
                ("deployment", name, "--image=a") if kind == "deployment" else ("service", "clusterip", name)
            )
            await kube("create", *how, *(["--tcp=80"] if kind == "service" else []))
        # In the test's namespace instead of the one that the line names.
        await kube(verb, kind, name, *said, "--overwrite")
        metadata = (await kube.get(kind, name))["metadata"]
        held = metadata["labels"] if verb == "label" else metadata["annotations"]
        assert dict(each.split("=", 1) for each in said).items() <= held.items()
    if not there:
        assert any(line.startswith("# no equivalent") for line in lines)
