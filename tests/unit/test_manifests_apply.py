"""The installation through the real kubectl and an API server: accepted, repeatable, and removed again."""

import asyncio
from pathlib import Path

import pytest

from tests.support.embedded import Embedded, embedded
from tests.support.installation import INSTALL, REPOSITORY, build, kubectl
from tests.support.waiting import PATIENCE_S


async def run(kube: Embedded, tmp_path: Path, *arguments: str) -> list[str]:
    """Run kubectl; returns the lines that it prints."""
    process = await asyncio.create_subprocess_exec(
        kubectl(),
        *arguments,
        env={"KUBECONFIG": str(kube.write_kubeconfig(tmp_path / "kubeconfig")), "HOME": str(tmp_path)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, error = await asyncio.wait_for(process.communicate(), PATIENCE_S)
    assert process.returncode == 0, error.decode()
    return out.decode().splitlines()


@pytest.mark.parametrize("overlay", [".", "namespaced"])
async def test_it_is_applied_again_without_a_change_and_removed(overlay: str, tmp_path: Path) -> None:
    directory = INSTALL / overlay
    objects = len(build(directory))
    async with embedded() as kube:
        await run(kube, tmp_path, "apply", "-f", str(REPOSITORY / "manifests" / "1-namespace.yaml"))
        before = await run(kube, tmp_path, "get", "namespaces", "-o", "name")
        first = await run(kube, tmp_path, "apply", "-k", str(directory))
        second = await run(kube, tmp_path, "apply", "-k", str(directory))
        await run(kube, tmp_path, "delete", "--ignore-not-found", "-k", str(directory))
        after = await run(kube, tmp_path, "get", "namespaces", "-o", "name")
        left = await run(
            kube, tmp_path, "get", "--all-namespaces", "-o", "name",
            "clusterroles,clusterrolebindings,roles,rolebindings,deployments,services,configmaps,leases",
        )  # fmt: skip
    assert [line.rpartition(" ")[2] for line in first] == ["created"] * objects
    # kubectl itself calls every budget "configured": it always sends a selector that is to be replaced whole.
    assert [line for line in second if not line.endswith(" unchanged")] == [
        f"{line.partition(' ')[0]} configured" for line in first if line.startswith("poddisruptionbudget")
    ]
    assert after == before
    assert left == []
