"""One server for all tests, and a namespace for each.

They run with the kubectl beside this Python, else the one on the PATH; `KUBECTL` names another.
"""

import itertools
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.kubectl.client import Kubectl
from tests.support.installation import kubectl
from tests.support.waiting import PATIENCE_S

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, str]]:
    """The environment in which kubectl finds the embedded API: a process, as a user would start it."""
    home = tmp_path_factory.mktemp("kubectl")
    ready, kubeconfig = home / "ready", home / "kubeconfig"
    command = [sys.executable, "-m", "xds_server.local.kubeapi", "--listen", "127.0.0.1:0"]
    command += ["--data", str(home / "data"), "--ready-file", str(ready), "--kubeconfig", str(kubeconfig)]
    with (home / "log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            _until_there(ready, process)
            yield {"HOME": str(home), "KUBECONFIG": str(kubeconfig)}
        finally:
            process.terminate()
    assert "request failed" not in (home / "log").read_text()
    assert process.returncode == 0


def _until_there(path: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not path.exists():
        assert process.poll() is None, "the server has ended"
        assert time.monotonic() < deadline, "the server is not ready"
        time.sleep(0.02)


@pytest.fixture
async def kube(server: Mapping[str, str]) -> Kubectl:
    """kubectl, in a namespace of the test's own."""
    user = Kubectl(os.environ.get("KUBECTL") or kubectl(), server)
    namespace = f"test-{next(_numbers)}"
    await user("create", "namespace", namespace)
    return user.within(namespace)
