"""What a request may be is known before it is parsed, and what it may be is parsed as before."""

from typing import Any

import pytest
from envoy.service.discovery.v3 import discovery_pb2
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.xds.test_requests import messages
from xds_server.base.errors import RequestLimitError
from xds_server.xds import outline as outlines
from xds_server.xds.framing import field
from xds_server.xds.outline import (
    DELTA,
    LONGEST_NAME,
    MAX_ERROR_BYTES,
    MAX_OTHER_BYTES,
    SOTW,
    outline,
    with_error_cut,
    without,
)
from xds_server.xds.requests import DeltaReader, SotwReader
from xds_server.xds.types import CLUSTER

OTHER = f"more than {MAX_OTHER_BYTES:,} bytes besides the names"


def sotw(**fields: Any) -> bytes:
    return bytes(discovery_pb2.DiscoveryRequest(**fields).SerializeToString())


def delta(**fields: Any) -> bytes:
    return bytes(discovery_pb2.DeltaDiscoveryRequest(**fields).SerializeToString())


def test_a_request_is_outlined() -> None:
    raw = delta(type_url=CLUSTER, initial_resource_versions={"a": "1", "b": "2"})
    found = outline(raw, DELTA)
    assert (found.type_url, found.known_versions) == (CLUSTER.encode(), True)
    found = outline(sotw(type_url=CLUSTER, resource_names=["a"]), SOTW)
    assert (found.type_url, found.known_versions) == (CLUSTER.encode(), False)


@pytest.mark.parametrize(
    "more",
    [
        field(2, b"\x4a\x00" * 200_000),  # a node
        field(7, b"") * 200_000,  # locators
        field(1, b"x" * 300_000),
        field(4, b"x" * 300_000),
        b"\x08\x00" * 200_000,  # of another wire type
        field(16, b"") * 100_000,  # of a number that takes two bytes
        b"\x0a\xff\xff\xff\xff\x0f" + b"x" * 300_000,  # that goes on beyond the end
        b"\x0a" + b"\xff" * 300_000,  # of no length
    ],
)
def test_all_but_names_is_small(more: bytes) -> None:
    many = field(3, b"a name") * 50_000
    for raw in (more, many + more, more + many):
        with pytest.raises(RequestLimitError, match=OTHER):
            outline(raw, SOTW)
    outline(many, SOTW)


def test_names_and_those_with_versions_count_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlines, "MAX_NAMES", 3)
    fields = {"resource_names_subscribe": ["a"], "resource_names_unsubscribe": ["b"]}
    outline(delta(initial_resource_versions={"c": "1"}, **fields), DELTA)
    with pytest.raises(RequestLimitError, match="more than 3 names in one request"):
        outline(delta(initial_resource_versions={"c": "1", "d": "1"}, **fields), DELTA)


def test_a_name_with_its_version_may_be_as_long_as_both() -> None:
    longest = "\U0001f600" * LONGEST_NAME
    outline(delta(initial_resource_versions={longest: longest}, resource_names_subscribe=[longest]), DELTA)
    with pytest.raises(RequestLimitError, match="a name of more than 2,048 characters"):
        outline(delta(initial_resource_versions={longest: longest * 2}), DELTA)
    with pytest.raises(RequestLimitError, match="a name of more than 2,048 characters"):
        outline(sotw(resource_names=["a", longest + longest]), SOTW)


def test_a_long_error_does_not_count_and_is_cut() -> None:
    text = "\U0001f600" * MAX_ERROR_BYTES  # which is not cut within a character
    for error in (
        field(2, b"x" + text.encode()),
        field(2, b"x" + text.encode()) + field(3, b"") * 10_000_000,
    ):
        raw = sotw(version_info="1") + field(6, error) + field(6, b"") + sotw(response_nonce="2")
        assert outline(raw, SOTW).long_error
        read = discovery_pb2.DiscoveryRequest.FromString(with_error_cut(raw, SOTW))
        assert (read.version_info, read.response_nonce) == ("1", "2")
        assert read.error_detail.message == "x" + text[: MAX_ERROR_BYTES // 4 - 1]
        assert not read.error_detail.details
    assert not outline(sotw() + field(6, field(2, b"x" * 1_000)), SOTW).long_error


def test_an_error_whose_message_is_not_where_it_is_written_is_one_without() -> None:
    raw = sotw(response_nonce="2") + field(6, field(3, b"") * 10_000 + field(2, b"late"))
    read = discovery_pb2.DiscoveryRequest.FromString(with_error_cut(raw, SOTW))
    assert read.HasField("error_detail")
    assert read.error_detail.message == ""


@given(messages())
def test_a_field_is_left_out(message: discovery_pb2.DiscoveryRequest) -> None:
    less = discovery_pb2.DiscoveryRequest.FromString(message.SerializeToString())
    less.ClearField("resource_names")
    [names] = SOTW.names
    assert without(message.SerializeToString(), names) == less.SerializeToString()


@given(st.binary(max_size=100))
def test_of_what_is_small_protobuf_decides(raw: bytes) -> None:
    for kind in (SOTW, DELTA):
        assert not outline(raw, kind).long_error
        assert without(raw, 0x7A) == raw or field(15, b"")[:1] in raw


def test_the_readers_look_before_they_parse() -> None:
    for reader in (SotwReader(), DeltaReader()):
        with pytest.raises(RequestLimitError, match=OTHER):
            reader.read(field(9, b"") * 200_000)
