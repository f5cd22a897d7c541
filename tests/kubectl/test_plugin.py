"""``kubectl shadow``, found by the real kubectl on its PATH; the embedded API and a real control plane."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from tests.kubectl.client import Kubectl, Ran
from tests.support.waiting import PATIENCE_S, eventually
from xds_server.local.demo.control_plane import ControlPlane

BESIDE = Path(sys.executable).parent
CANARY, SERVICE = "myapp-canary", "myapp"
SHADOW_OF = "xds-shadow.io/shadow-of"

# A kubectl that forwards a port as the real one says it does.
FORWARDS = """#!/bin/sh
echo "$@" >> {log}
case "$*" in
  *port-forward*) echo "Forwarding from 127.0.0.1:{port} -> 18080"; exec sleep 60;;
  *config*) printf staging;;
esac
"""
FAILS = "#!/bin/sh\necho 'Error from server (NotFound): no such thing' >&2\nexit 1\n"


@pytest.fixture
async def user(kube: Kubectl) -> Kubectl:
    """kubectl with the plugin on its PATH, in a namespace with a Service and a canary."""
    await kube("create", "deployment", CANARY, "--image=a")
    spec = {"selector": {"app": SERVICE}, "ports": [{"name": "http", "port": 80}]}
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": SERVICE}, "spec": spec}
    await kube("create", "-f", "-", stdin=service)
    return replace(kube, environment={**kube.environment, "PATH": f"{BESIDE}:{os.environ['PATH']}"})


@pytest.fixture
async def control_plane(user: Kubectl, tmp_path: Path) -> AsyncIterator[ControlPlane]:
    """A control plane on the same API."""
    kubeconfig = user.environment["KUBECONFIG"]
    found = ControlPlane(
        [f"--kubeconfig={kubeconfig}", f"--namespace={user.namespace}"], tmp_path, extra=["--no-events"]
    )
    try:
        yield await found.start()
    finally:
        await found.stop()


async def ran(environment: Mapping[str, str], *command: str) -> Ran:
    process = await asyncio.create_subprocess_exec(
        *command,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **environment},
    )
    out, err = await asyncio.wait_for(process.communicate(), PATIENCE_S)
    return Ran(process.returncode or 0, out.decode(), err.decode())


async def shadow(user: Kubectl, *words: str) -> str:
    """``kubectl shadow …``, which has to succeed."""
    found = await ran(user.environment, user.binary, "shadow", *words)
    assert found.code == 0, found
    return found.out


async def plugin(environment: Mapping[str, str], *words: str) -> Ran:
    """The plugin by itself, whatever comes of it."""
    return await ran(environment, str(BESIDE / "kubectl-shadow"), *words)


async def test_start_status_stop(user: Kubectl, control_plane: ControlPlane) -> None:
    server = f"--server={control_plane.admin_address}"
    where = f"--namespace={user.namespace}"
    await shadow(user, "start", CANARY, "--of", SERVICE, "--percent", "25", "--expose", where)
    metadata = (await user.get("deployment", CANARY))["metadata"]
    assert metadata["labels"][SHADOW_OF] == SERVICE
    assert metadata["annotations"]["xds-shadow.io/percent"] == "25"

    async def pending() -> bool:
        said = await shadow(user, "status", server)
        return f"{user.namespace}/{CANARY}" in said and "Pending" in said and "25" in said

    await eventually(pending)
    explained = await shadow(user, "explain", CANARY, where, server)
    assert "percent" in explained
    assert "None of its Pods is ready yet." in explained
    judged = await plugin(user.environment, "verdict", CANARY, where, server)
    assert judged.code == 3, judged
    assert "No request was mirrored yet: the shadow is Pending." in judged.out
    assert f"{user.namespace}/{CANARY} " in await shadow(user, "verdict", server)

    await shadow(user, "set", CANARY, "methods=GET,HEAD", "percent-", where)
    annotations = (await user.get("deployment", CANARY))["metadata"]["annotations"]
    assert annotations["xds-shadow.io/methods"] == "GET,HEAD"
    assert "xds-shadow.io/percent" not in annotations

    await shadow(user, "stop", CANARY, where)
    assert SHADOW_OF not in (await user.get("deployment", CANARY))["metadata"]["labels"]

    async def gone() -> bool:
        return "No shadows" in await shadow(user, "status", server)

    await eventually(gone)


def workload(kind: str, name: str) -> dict[str, object]:
    spec: dict[str, object] = {
        "selector": {"matchLabels": {"app": kind}},
        "template": {
            "metadata": {"labels": {"app": kind}},
            "spec": {"containers": [{"name": "main", "image": "a"}]},
        },
    }
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}


async def test_other_kinds_than_deployments(user: Kubectl, control_plane: ControlPlane) -> None:
    kind = "StatefulSet"
    server, where = f"--server={control_plane.admin_address}", f"--namespace={user.namespace}"
    word = f"{kind.lower()}/{CANARY}"
    await user("create", "-f", "-", stdin=workload(kind, CANARY))
    await shadow(user, "start", word, "--of", SERVICE, "--percent", "25", "--expose", where)
    metadata = (await user.get(kind.lower(), CANARY))["metadata"]
    assert metadata["labels"][SHADOW_OF] == SERVICE
    assert SHADOW_OF not in (await user.get("deployment", CANARY))["metadata"].get("labels", {})

    async def shown(*names: str) -> bool:
        said = await shadow(user, "status", server)
        return all(f"{user.namespace}/{name} " in said for name in names)

    await eventually(partial(shown, CANARY), what="its name, which is nobody else's")
    assert f"{kind} " in await shadow(user, "explain", CANARY, where, server)
    # The Deployment of the same name too: then the kind belongs to the name.
    await shadow(user, "start", CANARY, "--of", SERVICE, where)
    await eventually(partial(shown, word, f"deployment/{CANARY}"), what="both names")
    found = await plugin(user.environment, "explain", CANARY, where, server)
    assert found.code == 1
    assert all(f"{user.namespace}/{each}" in found.err for each in (word, f"deployment/{CANARY}")), found
    assert "None of its Pods is ready yet." in await shadow(user, "explain", word, where, server)
    await shadow(user, "set", word, "methods=GET", where)
    await shadow(user, "stop", word, where)
    assert SHADOW_OF not in (await user.get(kind.lower(), CANARY))["metadata"].get("labels", {})
    await shadow(user, "stop", CANARY, where)


async def test_a_label_where_it_marks_nothing_is_a_problem(
    user: Kubectl, control_plane: ControlPlane
) -> None:
    server = f"--server={control_plane.admin_address}"
    await user("label", "service", SERVICE, f"{SHADOW_OF}=other")
    await user("run", "stray", "--image=a", f"--labels={SHADOW_OF}={SERVICE}")

    async def reported() -> bool:
        said = " ".join((await shadow(user, "status", server)).split())
        return f"Service {user.namespace}/{SERVICE}" in said and f"Pod {user.namespace}/stray" in said

    await eventually(reported, what="both problems")
    await user("label", "service", SERVICE, f"{SHADOW_OF}-")
    await user("delete", "pod", "stray", "--now")

    async def over() -> bool:
        return "InvalidLabel" not in await shadow(user, "status", server)

    await eventually(over, what="no problem")


async def test_a_dry_run_prints_lines_that_do_the_same(user: Kubectl) -> None:
    where = f"--namespace={user.namespace}"
    said = ("--percent", "25", "--methods", "GET", "--set", "timeout=2s", "--expose", where, "--dry-run")
    lines = (await shadow(user, "start", CANARY, "--of", f"service/{SERVICE}", *said)).splitlines()
    assert lines == [
        f"kubectl {where} label service {SERVICE} xds-shadow.io/expose=true --overwrite",
        (
            f"kubectl {where} annotate deployment {CANARY} xds-shadow.io/percent=25 xds-shadow.io/methods=GET"
            " xds-shadow.io/timeout=2s --overwrite"
        ),
        f"kubectl {where} label deployment {CANARY} {SHADOW_OF}={SERVICE} --overwrite",
    ]
    assert SHADOW_OF not in (await user.get("deployment", CANARY))["metadata"].get("labels", {})
    for line in lines:
        await user(*line.split()[2:])
    assert (await user.get("deployment", CANARY))["metadata"]["labels"][SHADOW_OF] == SERVICE
    [line] = (await shadow(user, "stop", CANARY, where, "--dry-run")).splitlines()
    assert line == f"kubectl {where} label deployment {CANARY} {SHADOW_OF}-"


@pytest.mark.parametrize(
    ("words", "code", "wrong"),
    [
        (
            ["start", CANARY, "--of", SERVICE, "--percent", "lots"],
            2,
            "annotation xds-shadow.io/percent: 'lots' is not a percentage",
        ),
        (["set", CANARY, "timout=2s"], 2, "unknown annotation 'timout'; did you mean timeout?"),
        (["set", CANARY, "Percent=5"], 2, "unknown annotation 'Percent'; did you mean percent?"),
        (["set", CANARY, "colour-"], 2, "unknown annotation 'colour'; known are baseline, compare, "),
        (["set", CANARY, "percent"], 2, "'percent' is neither NAME=VALUE nor NAME-"),
        (
            ["start", CANARY, "--of", "deployment/x"],
            2,
            "--of 'deployment/x' is neither NAME nor service/NAME",
        ),
        (["stop", "nothing-of-that-name"], 1, 'deployments.apps "nothing-of-that-name" not found'),
        (["stop", "pod/x"], 2, "'pod/x' is neither NAME nor KIND/NAME; kinds are deployment, statefulset"),
        (["stop", "sts/"], 2, "'sts/' is neither NAME nor KIND/NAME"),
        (
            ["status", "--server", "nowhere"],
            2,
            "--server: 'nowhere' is not HOST:PORT, such as 127.0.0.1:18080",
        ),
    ],
)
async def test_what_cannot_be_is_said(user: Kubectl, words: list[str], code: int, wrong: str) -> None:
    found = await plugin(user.environment, *words)
    assert (found.code, wrong in found.err) == (code, True), found


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        (["st"], ["start", "status", "stop"]),
        (["start", "myapp"], [CANARY]),
        (["start", CANARY, "--of", ""], [SERVICE]),
        (["start", CANARY, "--p"], ["--percent"]),
        (["set", CANARY, "exclude"], ["exclude-paths="]),
        (["status", ""], []),
    ],
)
async def test_completion(user: Kubectl, words: list[str], completed: list[str]) -> None:
    await user("config", "set-context", "--current", f"--namespace={user.namespace}")
    found = await ran(user.environment, str(BESIDE / "kubectl_complete-shadow"), *words)
    assert found.out.splitlines() == [*completed, ":4"]


def kubectl_on_path(directory: Path, script: str) -> dict[str, str]:
    """An environment whose kubectl is this script."""
    found = directory / "bin"
    found.mkdir()
    (found / "kubectl").write_text(script)
    (found / "kubectl").chmod(0o755)
    return {"PATH": f"{found}:{os.environ['PATH']}"}


async def test_status_finds_the_control_plane_by_a_port_forward(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    script = FORWARDS.format(log=log, port=control_plane.admin_address.port)
    environment = kubectl_on_path(tmp_path, script)
    found = await plugin(environment, "status", "--context=c")
    assert (found.code, "No shadows" in found.out) == (0, True), found
    asked = "--namespace=xds-shadow-system --context=c port-forward deployment/xds-shadow :18080"
    assert log.read_text().splitlines() == [asked]
    found = await plugin(environment, "explain", CANARY)
    assert (found.code, f"no workload staging/{CANARY}" in found.err) == (1, True), found
    found = await plugin(environment, "verdict", CANARY)
    assert (found.code, f"no workload staging/{CANARY}" in found.err) == (2, True), found


async def test_a_port_forward_that_cannot_be_had_says_why(tmp_path: Path) -> None:
    found = await plugin(kubectl_on_path(tmp_path, FAILS), "status")
    assert found.code == 1
    assert "no port-forward to the control plane (Error from server (NotFound): no such thing)" in found.err
