"""The control plane of `make test-cluster` and the installation on it, one for all tests."""

import itertools
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.cluster.fleet import Fleet, fleet_of
from tests.cluster.installation import Installation
from tests.cluster.namespace import Namespace
from tests.cluster.servers import SERVERS, Servers

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def servers(request: pytest.FixtureRequest) -> Servers:
    """Skips on a cluster of the user's own: these tests stop its API server."""
    found = request.config.stash.get(SERVERS, None)
    if found is None:
        pytest.skip("needs the control plane of `make test-cluster`")
    return found


@pytest.fixture(scope="session")
def installation(servers: Servers) -> Installation:
    """``kubectl apply -k manifests/install``, with all replicas available."""
    found = Installation(servers)
    found.apply()
    return found


@pytest.fixture
async def fleet(installation: Installation, tmp_path: Path) -> AsyncIterator[Fleet]:
    """An Envoy of each variant, connected to the Service of the installation."""
    async with fleet_of(installation.xds_address(), tmp_path) as found:
        yield found


@pytest.fixture
async def namespace(installation: Installation) -> AsyncIterator[Namespace]:
    """The example of the README in a namespace of the test's own."""
    name = f"staging-{next(_numbers)}-{time.monotonic_ns() % 1_000_000}"
    found = Namespace(name, installation.kubectl.within(name))
    await found.create()
    yield found
    await found.kubectl("delete", "namespace", name)  # until it is gone: the next test counts changes
