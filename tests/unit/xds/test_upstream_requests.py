"""What is read of an entry of Envoy's access log."""

import pytest
from envoy.data.accesslog.v3 import accesslog_pb2
from envoy.service.accesslog.v3 import als_pb2
from hypothesis import given
from hypothesis import strategies as st

from xds_server.base.errors import RequestError
from xds_server.xds.upstream_requests import UpstreamRequest, message_of


def read(entry: accesslog_pb2.HTTPAccessLogEntry) -> UpstreamRequest | None:
    message = als_pb2.StreamAccessLogsMessage()
    message.http_logs.log_entry.append(entry)
    return next(iter(message_of(message.SerializeToString()).requests), None)


def entry() -> accesslog_pb2.HTTPAccessLogEntry:
    """As Envoy writes one of a complete response."""
    found = accesslog_pb2.HTTPAccessLogEntry()
    common = found.common_properties
    common.upstream_cluster, common.route_name = "staging/myapp", "all"
    common.time_to_last_upstream_rx_byte.nanos = 2_000_000
    common.duration.nanos = 3_000_000
    common.access_log_type = accesslog_pb2.UpstreamEnd
    found.request.request_id, found.request.path = "id", "/a?b"
    found.request.request_method = 4
    found.request.request_body_bytes = 7
    found.response.response_body_bytes = 9
    found.response.response_code.value = 201
    found.response.response_headers["content-type"] = "text/plain"
    return found


def test_a_complete_response_is_read() -> None:
    assert read(entry()) == UpstreamRequest(
        cluster="staging/myapp",
        route="all",
        id="id",
        method="PUT",
        path="/a?b",
        code=201,
        complete=True,
        broken=False,
        content_type="text/plain",
        grpc=None,
        latency_s=0.002,
        size=7,  # of the response: Envoy swaps the two
    )


def test_a_response_that_is_not_complete_took_until_its_end() -> None:
    cut = entry()
    cut.common_properties.ClearField("time_to_last_upstream_rx_byte")
    cut.common_properties.response_flags.upstream_connection_termination = True
    found = read(cut)
    assert found is not None
    assert (found.complete, found.broken, found.latency_s) == (False, True, 0.003)


@pytest.mark.parametrize(
    ("headers", "trailers", "status"),
    [
        ({}, {"grpc-status": "0"}, 0),
        ({"grpc-status": "14"}, {}, 14),
        ({"grpc-status": "14"}, {"grpc-status": "5"}, 5),
        ({}, {}, 2),
        ({}, {"grpc-status": "99"}, 2),
        ({}, {"grpc-status": "1234"}, 2),
        ({}, {"grpc-status": "-1"}, 2),
        ({}, {"grpc-status": "no"}, 2),
    ],
)
def test_the_status_of_grpc(headers: dict[str, str], trailers: dict[str, str], status: int) -> None:
    called = entry()
    called.response.response_headers.update({"content-type": "application/grpc+proto", **headers})
    called.response.response_trailers.update(trailers)
    found = read(called)
    assert found is not None
    assert found.grpc == status


def test_entries_of_another_kind_are_left_out() -> None:
    periodic = entry()
    periodic.common_properties.access_log_type = accesslog_pb2.UpstreamPeriodic
    assert read(periodic) is None


def test_what_cannot_be_read_is_an_error() -> None:
    with pytest.raises(RequestError, match="cannot be read"):
        message_of(b"\xff")


longs, ints = st.integers(-(2**63), 2**63 - 1), st.integers(-(2**31), 2**31 - 1)


@given(longs, ints, st.integers(0, 2**64 - 1), st.text())
def test_whatever_an_envoy_sends_is_bounded(seconds: int, nanos: int, size: int, text: str) -> None:
    absurd = entry()
    took = absurd.common_properties.time_to_last_upstream_rx_byte
    took.seconds, took.nanos = seconds, nanos
    absurd.request.request_body_bytes = size
    absurd.request.request_method = nanos
    absurd.request.request_id = absurd.request.path = text * 1_000
    absurd.common_properties.upstream_cluster = absurd.common_properties.route_name = text * 1_000
    absurd.response.response_headers["content-type"] = text * 1_000
    found = read(absurd)
    assert found is not None
    assert 0 <= found.latency_s <= 86_400
    assert 0 <= found.size <= 2**53
    assert max(map(len, (found.id, found.path, found.content_type))) <= 256
    assert max(map(len, (found.cluster, found.route))) <= 1_024
