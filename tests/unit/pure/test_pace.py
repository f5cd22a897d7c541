"""Who may tell when. Time is a number here."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xds_server.core.conditions import Condition, Reason, Subject
from xds_server.core.objects import Kind
from xds_server.kube import event_rate as pacing
from xds_server.kube.event_rate import EventQueue


def note(name: str, message: str = "") -> Condition:
    return Condition(Subject(Kind.DEPLOYMENT, "staging", name), Reason.SHADOW_ACTIVE, message)


def taken(pace: EventQueue, now: float) -> list[str]:
    found = []
    while (each := pace.take(now)) is not None:
        found.append(f"{each[0].subject.name}{each[0].message}")
    return found


def test_the_latest_of_a_topic_waits_behind_the_others() -> None:
    pace = EventQueue()
    for each in (note("a", "1"), note("b", "1"), note("a", "2")):
        pace.put(each, now=0.0, fresh=True)
    assert taken(pace, 0.0) == ["b1", "a2"]
    assert pace.wait(0.0) is None


def test_whether_it_is_fresh_is_kept() -> None:
    pace = EventQueue()
    pace.put(note("a"), now=0.0, fresh=False)
    assert pace.take(0.0) == (note("a"), False)


def test_one_object_gets_its_burst_and_then_its_rate() -> None:
    pace = EventQueue(object_burst=2, object_every=10.0)
    for number in range(2):
        pace.put(note("a", str(number)), now=0.0, fresh=True)
        assert taken(pace, 0.0) == [f"a{number}"]
    pace.put(note("a", "3"), now=0.0, fresh=True)
    pace.put(note("b", "1"), now=0.0, fresh=True)
    assert taken(pace, 0.0) == ["b1"]
    assert pace.wait(0.0) == 10.0
    assert taken(pace, 9.0) == []
    assert pace.wait(9.0) == pytest.approx(1.0)
    assert taken(pace, 10.0) == ["a3"]


def test_all_together_get_theirs() -> None:
    pace = EventQueue(all_burst=3, all_every=1.0)
    for name in "abcde":
        pace.put(note(name), now=0.0, fresh=True)
    assert taken(pace, 0.0) == ["a", "b", "c"]
    assert pace.wait(0.0) == 1.0
    assert taken(pace, 2.0) == ["d", "e"]


def test_an_event_that_could_not_be_written_waits_again_unless_a_newer_one_does() -> None:
    pace = EventQueue()
    pace.put_back(note("a", "1"), now=0.0, fresh=True)
    pace.put_back(note("a", "0"), now=0.0, fresh=True)
    assert taken(pace, 0.0) == ["a1"]


def test_too_many_lose_the_oldest() -> None:
    pace = EventQueue()
    for number in range(pacing.MAX_WAITING + 2):
        pace.put(note(str(number)), now=0.0, fresh=True)
    assert (len(pace), pace.dropped) == (pacing.MAX_WAITING, 2)
    assert pace.take(0.0) == (note("2"), True)


def test_what_another_had_time_to_tell_is_forgotten() -> None:
    pace = EventQueue()
    for number in range(3):
        pace.put(note(str(number)), now=float(number), fresh=False)
    pace.forget(before=2.0)
    assert taken(pace, 3.0) == ["2"]
    pace.forget(before=9.0)
    assert len(pace) == 0


def test_what_another_replica_may_have_written_is_not_fresh() -> None:
    pace = EventQueue()
    pace.put(note("a"), now=0.0, fresh=True)
    pace.doubt()
    assert pace.take(0.0) == (note("a"), False)


def test_an_event_that_could_not_be_written_does_not_count() -> None:
    pace = EventQueue(object_burst=1, object_every=10.0, all_burst=1, all_every=10.0)
    pace.put(note("a"), now=0.0, fresh=True)
    assert taken(pace, 0.0) == ["a"]
    pace.put_back(note("a"), now=0.0, fresh=True)
    assert taken(pace, 0.0) == ["a"]


def test_a_namespace_that_is_held_holds_up_no_other() -> None:
    pace = EventQueue()
    elsewhere = Condition(Subject(Kind.DEPLOYMENT, "production", "b"), Reason.SHADOW_ACTIVE, "")
    for each in (note("a"), elsewhere):
        pace.put(each, now=0.0, fresh=True)
    pace.hold("staging", now=0.0, seconds=30.0)
    assert taken(pace, 1.0) == ["b"]
    assert pace.wait(1.0) == 29.0
    assert taken(pace, 30.0) == ["a"]


def test_holds_that_are_over_are_forgotten() -> None:
    pace = EventQueue()
    for number in range(3):
        pace.hold(str(number), now=number * 10.0, seconds=15.0)
    assert set(pace._held) == {"1", "2"}


def test_not_all_that_waits_is_looked_at_where_the_first_may_go(monkeypatch: pytest.MonkeyPatch) -> None:
    pace, looked = EventQueue(), []
    for number in range(1000):
        pace.put(note(str(number)), now=0.0, fresh=True)
    wait_of = pace._wait_of

    def counted(subject: Subject, now: float) -> float:
        looked.append(subject)
        return wait_of(subject, now)

    monkeypatch.setattr(pace, "_wait_of", counted)
    assert pace.wait(0.0) == 0.0
    assert pace.take(0.0) is not None
    assert len(looked) == 2


def test_objects_that_were_quiet_are_forgotten() -> None:
    pace = EventQueue(all_burst=10**9)
    for number in range(pacing._MAX_BUCKETS + 1):
        pace.put(note(str(number)), now=0.0, fresh=True)
        assert pace.take(float(number)) is not None
    assert len(pace._buckets) < 100


def test_objects_that_were_not_quiet_are_remembered() -> None:
    pace = EventQueue(object_burst=2, all_burst=10**9)
    for number in range(pacing._MAX_BUCKETS + 1):
        pace.put(note(str(number)), now=0.0, fresh=True)
        assert pace.take(0.0) is not None
    pace.put(note("0", "second"), now=0.0, fresh=True)
    pace.put(note("1"), now=0.0, fresh=True)
    assert taken(pace, 0.0) == ["0second", "1"]
    pace.put(note("0", "third"), now=0.0, fresh=True)
    assert taken(pace, 0.0) == []


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.floats(0.0, 5.0, allow_nan=False)), min_size=1, max_size=60)
)
def test_no_event_is_written_faster_than_the_rate_and_the_latest_is_written_in_the_end(
    puts: list[tuple[str, float]],
) -> None:
    pace, now = EventQueue(object_burst=2, object_every=3.0), 0.0
    reported: dict[str, list[tuple[float, str]]] = {name: [] for name in "abc"}

    def tell() -> None:
        while (each := pace.take(now)) is not None:
            reported[each[0].subject.name].append((now, each[0].message))

    for number, (name, pause) in enumerate(puts):
        now += pause
        pace.put(note(name, str(number)), now=now, fresh=True)
        tell()
    while (wait := pace.wait(now)) is not None:
        now += max(wait, 0.001)
        tell()
    for name, found in reported.items():
        for index in range(len(found) - 2):
            assert found[index + 2][0] - found[index][0] >= 3.0 - 1e-6
        latest = [str(number) for number, (put, _) in enumerate(puts) if put == name]
        assert [message for _, message in found][-1:] == latest[-1:]


def test_a_deployment_has_one_topic_and_a_service_one_for_each_reason() -> None:
    web = Subject(Kind.SERVICE, "staging", "web")
    pace = EventQueue()
    for each in (
        note("a", "1"),
        Condition(Subject(Kind.DEPLOYMENT, "staging", "a"), Reason.SHADOW_STOPPED, "2"),
        Condition(web, Reason.HOST_CONFLICT, "3"),
        Condition(web, Reason.NO_HTTP_PORT, "4"),
    ):
        pace.put(each, now=0.0, fresh=True)
    assert taken(pace, 0.0) == ["a2", "web3", "web4"]
