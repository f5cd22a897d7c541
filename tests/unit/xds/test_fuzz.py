"""Whatever a peer sends, a stream takes it or rejects it, and what it took leads to an end."""

from collections.abc import Callable
from typing import Any

import pytest
from envoy.service.discovery.v3 import discovery_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.xds.peer import cluster, endpoints, host, listener, route, secret
from xds_server.base.errors import RequestError
from xds_server.base.ids import StreamId
from xds_server.xds.delta import DeltaMachine
from xds_server.xds.order import ORDER
from xds_server.xds.requests import DeltaReader, SotwReader
from xds_server.xds.snapshot import Snapshot
from xds_server.xds.sotw import SotwMachine

_MANY = 50
NAMES = ("a", "b", "gateway", "gateway/a", "*", "", "none")
NONCES = ("", "1", "2", "3", "4", "5", "2.1", "x")
KINDS = (*ORDER, "", "type.googleapis.com/envoy.config.core.v3.Node", "x")
SNAPSHOTS = [
    Snapshot().updated(
        [
            *(each(name, rev) for each in (cluster, endpoints, secret) for name in "ab"),
            listener("l", "gateway"),
            route("gateway", "a"),
            host("gateway/a", "b", rev=rev),
        ]
    )
    for rev in (1, 2)
]

names = st.lists(st.sampled_from(NAMES), max_size=4)
plausible_sotw = st.builds(
    discovery_pb2.DiscoveryRequest,
    type_url=st.sampled_from(KINDS),
    resource_names=names,
    version_info=st.sampled_from(["", "1", SNAPSHOTS[0].of(ORDER[0]).version]),
    response_nonce=st.sampled_from(NONCES),
    error_detail=st.sampled_from([None, {"message": "no"}, {}]),
)
plausible_delta = st.builds(
    discovery_pb2.DeltaDiscoveryRequest,
    type_url=st.sampled_from(KINDS),
    resource_names_subscribe=names,
    resource_names_unsubscribe=names,
    initial_resource_versions=st.dictionaries(st.sampled_from(NAMES), st.sampled_from(["", "1"]), max_size=3),
    response_nonce=st.sampled_from(NONCES),
    error_detail=st.sampled_from([None, {"message": "no"}, {}]),
)


@st.composite
def damaged(draw: st.DrawFn, message: st.SearchStrategy[Any]) -> bytes:
    """A plausible message in which bytes were changed, taken out, doubled or put in."""
    raw = bytearray(draw(message).SerializeToString())
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(raw)))
        end = draw(st.integers(at, min(len(raw), at + 40)))
        match draw(st.sampled_from(["change", "cut", "double", "insert"])):
            case "change" if at < len(raw):
                raw[at] ^= draw(st.integers(1, 255))
            case "cut":
                del raw[at:end]
            case "double":
                raw[at:at] = raw[at:end]
            case _:
                raw[at:at] = draw(st.binary(max_size=8) | st.just(b"\xff" * 10))
    return bytes(raw)


def requests(message: st.SearchStrategy[Any]) -> st.SearchStrategy[list[bytes]]:
    one = message.map(lambda each: each.SerializeToString()) | damaged(message) | st.binary(max_size=60)
    return st.lists(one, max_size=12)


def converse(make: Callable[[StreamId], Any], reader: Any, raws: list[bytes], revs: list[int]) -> None:
    machine = make(StreamId(1))
    for raw, rev in zip(raws, revs, strict=False):
        try:
            machine.receive(reader.read(raw))
        except RequestError:
            return  # the stream ends, with a status that says so
        for _ in range(_MANY):
            if machine.next(SNAPSHOTS[rev]) is None:
                break
        else:
            pytest.fail(f"it goes on and on after {raw!r}")


revs = st.lists(st.sampled_from([0, 1]), min_size=12, max_size=12)


@settings(max_examples=300)
@given(requests(plausible_sotw), revs)
def test_any_requests_of_state_of_the_world(raws: list[bytes], revs: list[int]) -> None:
    converse(SotwMachine, SotwReader(), raws, revs)


@settings(max_examples=300)
@given(requests(plausible_delta), revs)
def test_any_requests_of_delta(raws: list[bytes], revs: list[int]) -> None:
    converse(DeltaMachine, DeltaReader(), raws, revs)
