"""On which API server these tests run: always on the embedded one, and with ``pytest -m cluster`` and a
`KUBECONFIG` on that cluster.
"""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.kube.cluster import Cluster, cluster
from tests.kube.proxy import Proxy, proxy
from tests.support.embedded import embedded
from xds_server.kube.session import connect

ON_CLUSTER = "cluster"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "server" in metafunc.fixturenames:
        servers = ["embedded", pytest.param(ON_CLUSTER, marks=pytest.mark.cluster)]
        metafunc.parametrize("server", servers, indirect=True)


@pytest.fixture
async def server(request: pytest.FixtureRequest) -> AsyncIterator[Cluster]:
    """An API server with a namespace of the test's own."""
    if request.param == ON_CLUSTER:
        kubeconfig = os.environ.get("KUBECONFIG")
        if not kubeconfig:
            pytest.fail("pytest -m cluster runs on the cluster of KUBECONFIG, which is not set")
        async with cluster(lambda: connect(Path(kubeconfig))) as it:
            yield it
    else:
        async with embedded() as api, cluster(api.connect) as it:
            yield it


@pytest.fixture
async def faults(server: Cluster) -> AsyncIterator[Proxy]:
    """A proxy before the server, which the source under test connects to."""
    async with proxy(server.connect) as it:
        yield it
