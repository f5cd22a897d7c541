"""Requests are read as protobuf reads them, whichever way was taken."""

import pytest
from envoy.service.discovery.v3 import discovery_pb2
from hypothesis import example, given
from hypothesis import strategies as st

from xds_server.base.errors import RequestError, RequestLimitError
from xds_server.xds import outline, requests
from xds_server.xds.name_sets import Names
from xds_server.xds.requests import DeltaReader, SotwReader, SotwRequest
from xds_server.xds.types import CLUSTER, ENDPOINT

NAMES = tuple(f"staging/service-{number}/80" for number in range(10))
_texts = st.text(max_size=8)
_lists = st.sampled_from([(), NAMES, NAMES[:9], (*NAMES, 'type.googleapis.com/"'), ("a",)]) | st.lists(
    _texts, max_size=3
).map(tuple)


@st.composite
def messages(draw: st.DrawFn) -> discovery_pb2.DiscoveryRequest:
    message = discovery_pb2.DiscoveryRequest(
        version_info=draw(_texts),
        resource_names=draw(_lists),
        type_url=draw(st.sampled_from([ENDPOINT, CLUSTER, "", "x"])),
        response_nonce=draw(_texts),
    )
    if draw(st.booleans()):
        message.node.id = draw(_texts)
    if draw(st.booleans()):
        message.error_detail.message = draw(st.sampled_from(["no", ENDPOINT, f'"{ENDPOINT}']))
    return message


@example(
    [
        discovery_pb2.DiscoveryRequest(resource_names=NAMES),  # of no type, so nothing follows its names
        discovery_pb2.DiscoveryRequest(resource_names=NAMES, type_url=ENDPOINT),
    ],
    [0] * 6,
)
@given(st.lists(messages(), max_size=6), st.lists(st.sampled_from([0, 1]), min_size=6, max_size=6))
def test_a_reader_reads_what_protobuf_reads(
    requests: list[discovery_pb2.DiscoveryRequest], streams: list[int]
) -> None:
    readers = [SotwReader(), SotwReader()]
    before: list[dict[str, Names]] = [{}, {}]
    for message, stream in zip(requests, streams, strict=False):
        found = readers[stream].read(message.SerializeToString())
        if found.names is not None:
            before[stream][found.type_url] = found.names
        assert set(before[stream][found.type_url].members) == set(message.resource_names)
        assert (found.type_url, found.nonce, found.version) == (
            message.type_url,
            message.response_nonce,
            message.version_info,
        )
        assert found.error == (message.error_detail.message if message.HasField("error_detail") else None)
        assert found.node == (message.node if message.HasField("node") else None)


def _request(names: tuple[str, ...] = NAMES, **fields: str) -> bytes:
    message = discovery_pb2.DiscoveryRequest(type_url=ENDPOINT, resource_names=names, **fields)
    return bytes(message.SerializeToString())


def test_names_that_are_repeated_are_not_read_again() -> None:
    reader = SotwReader()
    first = reader.read(_request(version_info="1"))
    assert first.names is not None
    assert reader.read(_request(version_info="2", response_nonce="n")).names is None
    fewer = reader.read(_request(NAMES[1:])).names
    assert fewer is not None
    assert set(fewer.members) == set(NAMES[1:])
    changed = reader.read(_request())
    assert changed.names is first.names


def test_names_of_a_type_that_is_not_served_are_not_kept() -> None:
    other = discovery_pb2.DiscoveryRequest(type_url="type.googleapis.com/no.such", resource_names=NAMES)
    reader, raw = SotwReader(), other.SerializeToString()
    shared = SotwReader().read(_request()).names  # as names that another stream has, too
    for _ in range(2):
        assert reader.read(raw).names is shared
    assert reader._regions == {}


@pytest.mark.parametrize("more", [0, 1])
def test_a_version_may_not_have_any_length(more: int) -> None:
    version = "x" * (outline.LONGEST_NAME + more)
    claims = discovery_pb2.DeltaDiscoveryRequest(type_url=CLUSTER, initial_resource_versions={"a": version})
    for raw, reader in (
        (_request(version_info=version), SotwReader()),
        (claims.SerializeToString(), DeltaReader()),
    ):
        if more:
            with pytest.raises(RequestLimitError, match="a version of more than 2,048 characters"):
                reader.read(raw)
        else:
            reader.read(raw)


@pytest.mark.parametrize("length", [10_000, 100_000])
def test_of_a_reason_no_more_is_taken_than_is_looked_at(length: int) -> None:
    for kind, reader in (
        (discovery_pb2.DiscoveryRequest, SotwReader()),
        (discovery_pb2.DeltaDiscoveryRequest, DeltaReader()),
    ):
        message = kind(type_url=CLUSTER)
        message.error_detail.message = "x" * length
        assert reader.read(message.SerializeToString()).error == "x" * requests.MAX_REASON


def test_what_a_client_says_to_have_is_read_once_for_a_type() -> None:
    """Nobody needs it later, and it may be large."""

    def claims(type_url: str) -> bytes:
        message = discovery_pb2.DeltaDiscoveryRequest(
            type_url=type_url, initial_resource_versions={"a": "1"}, resource_names_subscribe=["b"]
        )
        return bytes(message.SerializeToString())

    reader = DeltaReader()
    for type_url, expected in ((CLUSTER, {"a": "1"}), (CLUSTER, {}), (ENDPOINT, {"a": "1"}), ("no.such", {})):
        found = reader.read(claims(type_url))
        assert (dict(found.known_versions), found.subscribe) == (expected, ("b",))


def test_streams_that_subscribe_to_the_same_share_the_names() -> None:
    one, two = SotwReader().read(_request()), SotwReader().read(_request(version_info="another"))
    assert one.names is two.names


def _names(request: SotwRequest) -> set[str]:
    return set(request.names.members) if request.names is not None else set()


@pytest.mark.parametrize(
    "raw",
    [
        # Fields in another order than every library writes them, names in two places, a cut length, an odd
        # tag.
        discovery_pb2.DiscoveryRequest(type_url=ENDPOINT).SerializeToString() + _request(),
        _request() + discovery_pb2.DiscoveryRequest(resource_names=["late"]).SerializeToString(),
        _request() + _request(),
    ],
)
def test_what_looks_odd_is_read_by_protobuf(raw: bytes) -> None:
    reader = SotwReader()
    reader.read(_request())
    for each in (reader, SotwReader()):
        assert _names(each.read(raw)) == set(discovery_pb2.DiscoveryRequest.FromString(raw).resource_names)


def test_one_request_may_not_have_any_number_of_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outline, "MAX_NAMES", 9)
    for raw, reader in (
        (_request(), SotwReader()),
        (discovery_pb2.DeltaDiscoveryRequest(resource_names_subscribe=NAMES), DeltaReader()),
        (discovery_pb2.DeltaDiscoveryRequest(resource_names_unsubscribe=NAMES), DeltaReader()),
        (
            discovery_pb2.DeltaDiscoveryRequest(initial_resource_versions=dict.fromkeys(NAMES, "1")),
            DeltaReader(),
        ),
    ):
        with pytest.raises(RequestLimitError, match="more than 9 names"):
            reader.read(raw if isinstance(raw, bytes) else raw.SerializeToString())


@pytest.mark.parametrize("more", [0, 1])
def test_a_name_may_not_have_any_length(more: int) -> None:
    """Each is kept, and told back where it does not exist."""
    names = ["short", "x" * (outline.LONGEST_NAME + more)]
    for message, reader in (
        (discovery_pb2.DiscoveryRequest(resource_names=names), SotwReader()),
        (discovery_pb2.DeltaDiscoveryRequest(resource_names_subscribe=names), DeltaReader()),
    ):
        raw = message.SerializeToString()
        if more:
            with pytest.raises(RequestLimitError, match="a name of more than 2,048 characters"):
                reader.read(raw)
        else:
            reader.read(raw)


@given(st.binary(max_size=40))
@example(b"\x0a\xff\xff\xff\xff\xff\xff")
@example(b"\x0a\x80")
def test_any_bytes_are_read_as_protobuf_reads_them_or_rejected(raw: bytes) -> None:
    for kind, reader in (
        (discovery_pb2.DiscoveryRequest, SotwReader()),
        (discovery_pb2.DeltaDiscoveryRequest, DeltaReader()),
    ):
        try:
            message = kind.FromString(raw)
        except Exception:  # noqa: BLE001 - any
            with pytest.raises(RequestError, match=kind.DESCRIPTOR.name):
                reader.read(raw)
        else:
            assert reader.read(raw).type_url == message.type_url


def test_rule_01_whether_a_request_says_who_asks_is_known() -> None:
    """An empty node is one: what it lacks is for the server to judge."""
    for reader, kind in (
        (SotwReader(), discovery_pb2.DiscoveryRequest),
        (DeltaReader(), discovery_pb2.DeltaDiscoveryRequest),
    ):
        silent, known = kind(type_url=CLUSTER), kind(type_url=CLUSTER)
        known.node.SetInParent()
        assert reader.read(silent.SerializeToString()).node is None
        assert reader.read(known.SerializeToString()).node is not None
