"""The sums of load reports."""

from xds_server.base.ids import NodeId, StreamId
from xds_server.xds.loads import INTERVALS_S, NO_LOAD, Load, Loads, Reporter, Reports

ONE, TWO = StreamId(1), StreamId(2)
WANTED = frozenset({"a", "b"})


def loads() -> Loads:
    found = Loads()
    found.want(WANTED)
    found.join(ONE, NodeId("one"), now=0.5)
    found.join(TWO, NodeId("two"), now=0.5)
    return found


def test_reports_of_all_envoys_add_up() -> None:
    found = loads()
    found.report(ONE, [("a", Load(10, 8, 1, 1, 5))], WANTED, now=1.0)
    found.report(TWO, [("a", Load(1, 1)), ("b", Load(2, 2))], WANTED, now=2.0)
    assert found.total("a") == Load(11, 9, 1, 1, 5)
    assert found.recent(2.0) == {"a": Load(11, 9, 1, 1, 5), "b": Load(2, 2)}


def test_what_is_recent_ends_after_three_intervals() -> None:
    found = loads()
    found.report(ONE, [("a", Load(10))], WANTED, now=0.0)
    found.report(ONE, [("a", Load(1))], WANTED, now=8.0)
    assert found.recent(9.0) == {"a": Load(11)}
    assert found.recent(9.1) == {"a": Load(1)}
    assert found.total("a") == Load(11)


def test_a_cluster_that_was_not_asked_for_does_not_count() -> None:
    found = loads()
    found.report(ONE, [("a", Load(1)), ("b", Load(1)), ("a", Load(-1)), ("a", Load(2**60))], {"a"}, now=0.0)
    assert (found.total("a"), found.total("b")) == (Load(1), NO_LOAD)
    assert found.counts() == Reports(streams=2, accepted=1, rejected=3)


def test_what_is_no_longer_wanted_is_forgotten() -> None:
    found = loads()
    found.report(ONE, [("a", Load(1)), ("b", Load(1))], WANTED, now=0.0)
    found.want({"b"})
    found.report(ONE, [("a", Load(1))], WANTED, now=1.0)  # it was asked before
    found.want(WANTED)
    assert (found.total("a"), found.total("b"), found.rejected) == (NO_LOAD, Load(1), 0)


def test_who_reports_is_known() -> None:
    found = loads()
    found.report(ONE, [], WANTED, now=5.0)
    found.leave(TWO)
    assert found.reporters() == [Reporter(NodeId("one"), 0.5, 5.0)]


def test_many_envoys_with_many_clusters_report_less_often() -> None:
    found = Loads()
    found.want({str(number) for number in range(1000)})
    seen = []
    assert found.interval_s() == INTERVALS_S[0]
    for number in range(400):
        found.join(StreamId(number), NodeId(str(number)), now=0.0)
        seen.append(found.interval_s())
    assert sorted(set(seen)) == list(INTERVALS_S)
    assert seen == sorted(seen)


def test_many_envoys_report_less_often_and_rarely_if_nothing_is_wanted() -> None:
    found = Loads()
    assert found.interval_s() == found.longest_s == INTERVALS_S[-1]
    found.want({"a"})
    for number in range(301):
        assert found.interval_s() == INTERVALS_S[0]
        found.join(StreamId(number), NodeId(str(number)), now=0.0)
    assert found.interval_s() == INTERVALS_S[1]
