"""Fixtures: a client of each variant, so that a common rule is checked in both."""

import pytest

from tests.unit.xds.peer import DeltaPeer, Peer, SotwPeer, peer
from xds_server.xds.stream_events import Variant


@pytest.fixture(params=list(Variant), ids=str)
def either(request: pytest.FixtureRequest) -> Peer:
    """A fresh stream; the test runs once in each variant."""
    variant: Variant = request.param
    return peer(variant)


@pytest.fixture
def sotw() -> SotwPeer:
    """A fresh state-of-the-world stream."""
    return SotwPeer()


@pytest.fixture
def delta() -> DeltaPeer:
    """A fresh incremental stream."""
    return DeltaPeer()
