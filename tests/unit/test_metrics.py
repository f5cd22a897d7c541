"""The table of metrics: what each says, and that the page about it names all of them."""

from xds_server.base.ids import NodeId, Nonce, StreamId, Version
from xds_server.base.lag import Lag
from xds_server.base.latency import BOUNDS_S, Latency
from xds_server.server.facts import Facts
from xds_server.server.metrics import TABLE
from xds_server.server.prometheus import Metrics, page
from xds_server.xds.fleet import Fleet
from xds_server.xds.stream_events import Acked, Cause, Nacked, Node, Sent, StreamClosed, StreamOpened, Variant
from xds_server.xds.types import CLUSTER

STREAM = StreamId(1)


def text(fleet: Fleet) -> str:
    facts = Facts(
        version="1.2.3",
        ready=True,
        outage_s=None,
        committed=0.0,
        build_failures=0,
        leader=False,
        traffic=fleet.traffic(),
    )
    return Metrics(facts).text().decode()


def busy() -> Fleet:
    """A fleet in which one Envoy took a response after two seconds, rejected another and was dropped."""
    fleet = Fleet()
    node = Node(id=NodeId("envoy-1"))
    fleet.apply(StreamOpened(stream=STREAM, node=node, variant=Variant.SOTW, peer=""), now=0.0)
    for version, nonce in ((Version("1"), Nonce("a")), (Version("2"), Nonce("b"))):
        fleet.apply(
            Sent(
                stream=STREAM, type_url=CLUSTER, version=version, nonce=nonce, resources=1, removed=0, size=7
            ),
            now=1.0,
        )
    fleet.apply(Acked(stream=STREAM, type_url=CLUSTER, version=Version("1"), nonce=Nonce("a")), now=3.0)
    fleet.apply(
        Nacked(stream=STREAM, type_url=CLUSTER, version=Version("2"), nonce=Nonce("b"), message="no"), now=4.0
    )
    fleet.apply(StreamClosed(stream=STREAM, cause=Cause.SLOW), now=5.0)
    return fleet


def test_the_traffic_is_counted_by_type_variant_and_cause() -> None:
    found = text(busy())
    for line in (
        'xds_shadow_envoys{variant="sotw"} 0.0',
        'xds_shadow_streams_opened_total{variant="sotw"} 1.0',
        'xds_shadow_streams_ended_total{cause="slow_reader"} 1.0',
        'xds_shadow_pushes_total{type="CDS"} 2.0',
        'xds_shadow_pushed_bytes_total{type="CDS"} 14.0',
        'xds_shadow_acks_total{type="CDS"} 1.0',
        'xds_shadow_nacks_total{type="CDS"} 1.0',
        'xds_shadow_unanswered_responses{type="CDS"} 0.0',
        'xds_shadow_rejecting_envoys{type="CDS"} 0.0',
        'xds_shadow_ack_latency_seconds_bucket{le="1.0",type="CDS"} 0.0',
        'xds_shadow_ack_latency_seconds_bucket{le="2.5",type="CDS"} 1.0',
        'xds_shadow_ack_latency_seconds_bucket{le="+Inf",type="CDS"} 1.0',
        'xds_shadow_ack_latency_seconds_count{type="CDS"} 1.0',
        'xds_shadow_ack_latency_seconds_sum{type="CDS"} 2.0',
    ):
        assert f"{line}\n" in found


def test_what_has_not_happened_yet_is_there_as_zero() -> None:
    found = text(Fleet())
    for line in (
        'xds_shadow_nacks_total{type="RDS"} 0.0',
        'xds_shadow_streams_ended_total{cause="slow_reader"} 0.0',
        'xds_shadow_ack_latency_seconds_count{type="EDS"} 0.0',
    ):
        assert f"{line}\n" in found


def test_the_page_has_every_metric_with_its_kind() -> None:
    lines = page().splitlines()
    assert len([line for line in lines if line.startswith("| `xds_shadow_")]) == len(TABLE)
    for start in (
        "| `xds_shadow_ready` | gauge |  |",
        "| `xds_shadow_pushes_total` | counter | `type` |",
        "| `xds_shadow_ack_latency_seconds` | histogram | `type` |",
    ):
        assert any(line.startswith(start) for line in lines), start


def test_how_late_the_loop_wakes_up_is_a_histogram_and_its_most() -> None:
    lag = Lag(Latency((3, 1, *[0] * (len(BOUNDS_S) - 2), 1), total_s=40.0), longest_s=31.5)
    facts = Facts(
        version="1", ready=True, outage_s=None, committed=0.0, build_failures=0, leader=False, lag=lag
    )
    found = Metrics(facts).text().decode().splitlines()
    for line in (
        'xds_shadow_loop_lag_seconds_bucket{le="0.0005"} 3.0',
        'xds_shadow_loop_lag_seconds_bucket{le="30.0"} 4.0',
        'xds_shadow_loop_lag_seconds_bucket{le="+Inf"} 5.0',
        "xds_shadow_loop_lag_seconds_sum 40.0",
        "xds_shadow_loop_longest_lag_seconds 31.5",
    ):
        assert line in found
