"""The comparison with other servers works, on small sizes and our own side."""

from collections.abc import Mapping
from typing import Any, cast

import pytest
from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf.any_pb2 import Any as AnyMessage
from hypothesis import given
from hypothesis import strategies as st

from bench.peers import resources, tables
from bench.peers.envoy import Envoy, Expected
from bench.peers.measure import OURS, THEIRS, measure
from bench.peers.ours import read_changes
from bench.peers.requests import DeltaRequests, SotwRequests
from bench.peers.rounds import Rounds
from bench.peers.settings import Scenario, Setting, full, quick, usual
from bench.peers.side import Outcome, Side
from bench.peers.wire import Head, field, head_of
from xds_server.base.ids import TypeUrl
from xds_server.xds.types import CLUSTER, ENDPOINT

TYPES = [CLUSTER.encode(), ENDPOINT.encode()]


def sotw_response(type_url: str, nonce: str, *bodies: bytes) -> bytes:
    found = [AnyMessage(type_url=type_url, value=body) for body in bodies]
    message = discovery_pb2.DiscoveryResponse(
        version_info="v1", resources=found, type_url=type_url, nonce=nonce
    )
    raw: bytes = message.SerializeToString()
    return raw


@given(
    bodies=st.lists(st.binary(max_size=300), max_size=20),
    nonce=st.text(max_size=5),
    type_url=st.sampled_from([CLUSTER, ENDPOINT]),
)
def test_the_head_of_a_response_is_what_protobuf_reads(
    bodies: list[bytes], nonce: str, type_url: str
) -> None:
    expected = Head(type_url.encode(), b"v1", nonce.encode())
    assert head_of(sotw_response(type_url, nonce, *bodies), TYPES) == expected
    delta = discovery_pb2.DeltaDiscoveryResponse(
        system_version_info="v1",
        resources=[discovery_pb2.Resource(name="n", resource=AnyMessage(value=body)) for body in bodies],
        removed_resources=["gone"],
        type_url=type_url,
        nonce=nonce,
    )
    assert head_of(delta.SerializeToString(), TYPES) == expected


def test_the_head_is_found_in_any_order_and_not_inside_a_resource() -> None:
    fields = [field(1, b"v1"), field(4, TYPES[0]), field(5, b"7")]
    decoy = field(2, field(9, field(4, TYPES[1])) + b"behind")
    for order in (fields, fields[::-1]):
        for at in range(len(order) + 1):
            raw = b"".join([*order[:at], decoy, *order[at:]])
            assert head_of(raw, TYPES) == Head(TYPES[0], b"v1", b"7")


def test_what_is_no_response_is_rejected() -> None:
    with pytest.raises(ValueError, match="of type"):
        head_of(field(4, b"another"), TYPES)
    with pytest.raises(ValueError, match="length-delimited"):
        head_of(b"\x08\x01", TYPES)


def test_state_of_the_world_lists_all_names_again() -> None:
    requests = SotwRequests(TYPES[1], ["a", "b"])
    requests.learn(sotw_response(CLUSTER, "1"))
    read = discovery_pb2.DiscoveryRequest.FromString
    back = read(requests.opening(TYPES[0], first=True, resume=True))
    assert (back.node.id, back.version_info, list(back.resource_names)) == ("bench", "v1", [])
    head = Head(TYPES[1], b"v2", b"5")
    requests.rename(["c"], ["a"])
    ack = read(requests.ack(head))
    assert (ack.version_info, ack.response_nonce, list(ack.resource_names)) == ("v2", "5", ["b", "c"])
    assert ack.type_url == ENDPOINT
    assert not ack.HasField("node")
    assert read(requests.renamed(head)) == ack


def test_delta_tells_changes_and_comes_back_with_what_it_has() -> None:
    requests = DeltaRequests(TYPES[1], ["a"])
    read = discovery_pb2.DeltaDiscoveryRequest.FromString
    assert list(read(requests.opening(TYPES[1], first=False, resume=False)).resource_names_subscribe) == ["a"]
    response = discovery_pb2.DeltaDiscoveryResponse(
        type_url=ENDPOINT,
        resources=[discovery_pb2.Resource(name=name, version="7") for name in ("a", "b")],
    )
    requests.learn(response.SerializeToString())
    gone = discovery_pb2.DeltaDiscoveryResponse(type_url=ENDPOINT, removed_resources=["b"])
    requests.learn(gone.SerializeToString())
    back = read(requests.opening(TYPES[1], first=True, resume=True))
    assert (back.node.id, dict(back.initial_resource_versions)) == ("bench", {"a": "7"})
    requests.rename(["c"], ["a"])
    change = read(requests.renamed(Head(TYPES[1], b"", b"1")))
    assert (list(change.resource_names_subscribe), list(change.resource_names_unsubscribe)) == (["c"], ["a"])
    assert read(requests.ack(Head(TYPES[1], b"", b"9"))).response_nonce == "9"


def test_an_envoy_asks_for_assignments_once_it_has_clusters() -> None:
    requests = SotwRequests(TYPES[1], ["a"])
    envoy = Envoy(requests, TYPES)
    envoy.expect(Expected(dict.fromkeys(TYPES, 1)))
    assert envoy.opening(resume=False) == [requests.opening(TYPES[0], first=True, resume=False)]
    ack, ask = envoy.answers(sotw_response(CLUSTER, "1"))
    assert ack == requests.ack(Head(TYPES[0], b"v1", b"1"))
    assert ask == requests.opening(TYPES[1], first=False, resume=False)
    assert not envoy.newly_satisfied()
    assert len(envoy.answers(sotw_response(ENDPOINT, "2"))) == 1
    assert envoy.newly_satisfied()
    assert not envoy.newly_satisfied()


def test_an_envoy_is_not_satisfied_by_another_change() -> None:
    envoy = Envoy(SotwRequests(TYPES[1], ["a"]), TYPES)
    envoy.expect(Expected({TYPES[1]: 1}, mark=b"mark-2", marked=[TYPES[1]]))
    envoy.answers(sotw_response(ENDPOINT, "1", b"mark-1"))
    assert not envoy.newly_satisfied()
    envoy.answers(sotw_response(ENDPOINT, "2", b"..mark-2.."))
    assert envoy.newly_satisfied()
    assert envoy.tally.responses[TYPES[1]] == 2


def test_every_change_carries_its_mark_where_it_is_looked_for() -> None:
    for virtual_hosts in (False, True):
        before = {(each.type_url, each.name): each.body for each in initial(virtual_hosts=virtual_hosts)}
        for turn in range(30):
            for change in (
                resources.endpoint_changed(10, turn),
                resources.cluster_changed(10, turn),
                resources.label_added(10, turn, virtual_hosts=virtual_hosts),
            ):
                assert {each.type_url for each in change.records if change.mark in each.body} == set(
                    change.marked
                )
                assert not any(change.mark in body for body in before.values())
        added = resources.label_added(10, 3, virtual_hosts=virtual_hosts)
        removed = resources.labels_removed(10, [3], virtual_hosts=virtual_hosts)
        after = {(each.type_url, each.name): each.body for each in [*added.records, *removed.records]}
        assert {key: body for key, body in (before | after).items() if body} == before


def initial(*, virtual_hosts: bool) -> list[resources.Record]:
    return list(resources.initial(10, virtual_hosts=virtual_hosts))


def test_a_file_gives_what_was_written(tmp_path: Any) -> None:
    records = [*initial(virtual_hosts=True), resources.Record(CLUSTER, "old")]
    resources.write(tmp_path / "records", records)
    upserts, removals = read_changes(tmp_path / "records")
    assert [(each.key.type_url, each.name, each.body) for each in upserts] == [
        (each.type_url, each.name, each.body) for each in records[:-1]
    ]
    assert [tuple(key) for key in removals] == [(CLUSTER, "old")]


def test_the_sizes_that_are_promised_are_measured() -> None:
    found = {(each.services, each.streams, each.variant) for each in usual()}
    assert {(1_000, 500, "delta"), (1_000, 500, "sotw"), (10_000, 1_000, "delta")} <= found
    assert found <= {(each.services, each.streams, each.variant) for each in full()}
    assert all(each.rounds >= 5 for each in usual() if each.syncs)
    assert all(each.services * each.streams <= 1_000 for each in quick())


def side(cpu_us: float, wall_ms: float) -> dict[str, float]:
    return {
        "cpu_us": cpu_us,
        "client_us": 9.0,
        "wall_ms": wall_ms,
        "bytes": 10.0,
        "responses": 1,
        "refused": 0,
        "rss_mib": 50.0,
    }


def test_wins_losses_and_failures_stand_side_by_side() -> None:
    scenarios = {
        "endpoint": {OURS: side(20, 4), THEIRS: side(100, 10)},
        "cluster": {OURS: side(50, 6) | {"responses": 2}, THEIRS: side(100, 10)},
        "label": {OURS: side(50, 6), THEIRS: {"failed": "label: nothing came"}},
    }
    setting = {"services": 1_000, "streams": 500, "variant": "delta", "scenarios": scenarios}
    ads = {
        "peer": "it",
        "skipped": "",
        "virtual_hosts": True,
        "settings": [setting | {"connected_in_groups": False}],
    }
    rows = tables.times(ads)
    assert [(row[6], row[7], row[8], row[11], row[12]) for row in rows] == [
        ("0.20", "reached", "0.20", "0.40", "reached"),
        ("0.50", "missed", "0.25", "0.60", "missed"),
        ("-", "-", "-", "-", "-"),
    ]
    assert rows[2][5] == "FAILED"
    assert "reached in 1 of 2 rows" in tables.verdicts(ads)
    assert "label: nothing came" in tables.verdicts(ads)


class Scripted:
    """A side that does everything right, but for one call of `commit`."""

    def __init__(self, wrong: Outcome | None, at: int) -> None:
        self._wrong, self._at, self._commits = wrong, at, 0
        self._last = right()

    async def open(self, _streams: int, need: Mapping[TypeUrl, int], **_options: Any) -> Outcome:
        self._last = right(need, received=dict.fromkeys(need, 5))
        return self._last

    async def prepare(self, _change: Any) -> None: ...

    async def nothing(self) -> None: ...

    async def commit(self, _change: Any, need: Mapping[TypeUrl, int]) -> Outcome:
        self._commits += 1
        wrong = self._wrong if self._commits == self._at else None
        self._last = wrong or right(need)
        return self._last

    async def settled(self) -> Outcome:
        return self._last

    async def close(self) -> None: ...

    async def cpu_when_idle(self) -> float:
        return 1.0

    def clients_cpu(self) -> float:
        return 1.0

    def rss_mib(self) -> float:
        return 1.0


def right(need: Mapping[TypeUrl, int] | None = None, **more: Any) -> Outcome:
    need = {CLUSTER: 1} if need is None else need
    return Outcome(0.1, {each: (count, count) for each, count in need.items()}, (9, 9), **more)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (None, ""),
        (right(error="3 of 9 streams did not get what was due"), "3 of 9"),
        (right({ENDPOINT: 2}), "instead of"),
        (Outcome(0.1, {ENDPOINT: (0, 1)}, (9, 9)), "instead of"),
        (Outcome(0.1, {ENDPOINT: (1, 1)}, (9, 900)), "between 9 and 900 bytes"),
    ],
)
async def test_what_was_not_sent_as_due_is_a_failure(wrong: Outcome | None, reason: str) -> None:
    size = Setting(services=5, streams=9, variant="sotw", rounds=1, commits=2)
    # The first commit of a scenario shows what is due, the second is measured.
    rounds = Rounds(cast("Side", Scripted(wrong, at=2)), size, [CLUSTER, ENDPOINT])
    await rounds.run()
    if wrong is None:
        assert rounds.failure is None
        assert all(rounds.samples.values())
    else:
        assert rounds.failure is not None
        assert rounds.failure.scenario is Scenario.ENDPOINT
        assert reason in rounds.failure.reason


@pytest.mark.parametrize("variant", ["delta", "sotw"])
async def test_the_harness_measures_our_own_side(variant: str) -> None:
    size = Setting(services=5, streams=3, variant=variant, rounds=2, commits=2)
    found = await measure([size], alone=True, progress=lambda _: None)
    [setting] = found["settings"]
    assert setting["scenarios"].keys() == {scenario.value for scenario in Scenario}
    for scenario, sides in setting["scenarios"].items():
        assert "failed" not in sides[OURS], (scenario, sides[OURS])
        assert sides[OURS]["client_us"] > 0
        assert sides[OURS]["responses"] >= 1
    assert found["skipped"]
    assert tables.remarks(found)


async def test_streams_can_come_in_groups() -> None:
    size = Setting(services=5, streams=5, variant="delta", rounds=1, commits=1, at_once=2, syncs=False)
    found = await measure([size], alone=True, progress=lambda _: None)
    assert "failed" not in str(found["settings"])
