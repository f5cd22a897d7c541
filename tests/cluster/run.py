"""Inside the namespaces: start the control plane, run the tests, end it."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.cluster.program import PROGRAM
from tests.cluster.servers import LOCAL_NETWORKS, SERVERS, Servers


class _Plugin:
    """Passes the running control plane to the tests."""

    def __init__(self, servers: Servers) -> None:
        self._servers = servers

    def pytest_configure(self, config: pytest.Config) -> None:
        config.stash[SERVERS] = self._servers


def main() -> int:
    """Returns pytest's exit code."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for network in LOCAL_NETWORKS:
        subprocess.run(["ip", "route", "add", "local", network, "dev", "lo"], check=True)
    directory = Path(tempfile.mkdtemp(prefix="test-cluster-"))
    servers = Servers(PROGRAM, directory)
    code = 1
    try:
        servers.start_all()
        os.environ["KUBECONFIG"] = str(servers.kubeconfig)
        code = int(pytest.main(["-m", "cluster", *sys.argv[1:]], plugins=[_Plugin(servers)]))
    finally:
        servers.stop_all()
        if code:
            print(f"The logs of the components and of the Pods are in {directory}.")
        else:
            shutil.rmtree(directory)
    return code


if __name__ == "__main__":
    sys.exit(main())
