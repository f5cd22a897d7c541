"""When all streams have what was committed, told from what they were sent and have answered."""

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.xds.peer import cluster, route, snapshot
from xds_server.base.ids import Nonce, StreamId, TypeUrl
from xds_server.xds.convergence import PATIENCE_S, Convergence
from xds_server.xds.delta import DeltaMachine
from xds_server.xds.requests import DeltaRequest
from xds_server.xds.snapshot import Snapshot
from xds_server.xds.types import CLUSTER, ROUTE

A, B = StreamId(1), StreamId(2)
SERVED = Snapshot()


@dataclass
class Machine:
    """A stream that was sent responses, in order, and has answered some."""

    sent: int = 0
    answered: int = 0
    behind: bool = False

    @property
    def oldest_unanswered(self) -> int:
        return self.answered + 1

    def has_sent_all(self, _snapshot: Snapshot, /) -> bool:
        return not self.behind


@dataclass
class Fleet:
    """Streams under a `Convergence`; `told` is what it has said."""

    reported: list[tuple[int, bool]] = field(default_factory=list)
    streams: dict[StreamId, Machine] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.convergence = Convergence(
            lambda generation, answered: self.reported.append((generation, answered))
        )

    def commit(self, generation: int, *concerned: StreamId, now: float = 0.0) -> None:
        for stream in concerned:
            self.streams.setdefault(stream, Machine()).behind = True
        self.convergence.begin(generation, concerned, now=now)

    def send(self, stream: StreamId, *, all_of_it: bool = True) -> None:
        machine = self.streams[stream]
        machine.sent += 1
        machine.behind = not all_of_it
        self.look(stream)

    def answer(self, stream: StreamId) -> None:
        self.streams[stream].answered += 1
        self.look(stream)

    def look(self, stream: StreamId) -> None:
        self.convergence.update(stream, self.streams[stream], SERVED)


def test_a_commit_has_converged_with_the_last_answer_of_the_last_stream() -> None:
    fleet = Fleet()
    fleet.commit(1, A, B)
    fleet.send(A)
    fleet.answer(A)
    fleet.send(B, all_of_it=False)
    fleet.answer(B)
    fleet.send(B)
    assert fleet.reported == []
    fleet.answer(B)
    assert fleet.reported == [(1, True)]


def test_a_commit_that_concerns_no_stream_converges_at_once() -> None:
    fleet = Fleet()
    fleet.commit(1)
    assert fleet.reported == [(1, False)]


def test_a_commit_contains_those_before_it_and_so_waits_for_them() -> None:
    fleet = Fleet()
    fleet.commit(1, A)
    fleet.commit(2, B)
    fleet.commit(3)
    fleet.send(B)
    fleet.answer(B)
    assert fleet.reported == []
    fleet.send(A)
    fleet.answer(A)
    assert fleet.reported == [(1, True), (2, True), (3, False)]


def test_a_stream_that_is_sent_more_before_it_answers_has_the_earlier_commit_with_its_answer_to_that() -> (
    None
):
    fleet = Fleet()
    fleet.commit(1, A)
    fleet.send(A)
    fleet.commit(2, A)
    fleet.send(A)
    fleet.answer(A)
    assert fleet.reported == [(1, True)]
    fleet.answer(A)
    assert fleet.reported == [(1, True), (2, True)]


def test_commits_that_a_stream_was_sent_in_one_response_converge_together() -> None:
    fleet = Fleet()
    fleet.commit(1, A)
    fleet.commit(4, A)
    fleet.send(A)
    fleet.answer(A)
    assert fleet.reported == [(1, True), (4, True)]


def test_who_needs_no_response_after_all_has_it() -> None:
    fleet = Fleet()
    fleet.commit(1, A)
    fleet.streams[A].behind = False
    fleet.look(A)
    assert fleet.reported == [(1, True)]


def test_who_has_left_is_not_waited_for() -> None:
    fleet = Fleet()
    fleet.commit(1, A, B)
    fleet.convergence.leave(B)
    fleet.convergence.leave(StreamId(3))
    assert fleet.reported == []
    fleet.convergence.leave(A)
    assert fleet.reported == [(1, True)]


def test_who_does_not_answer_is_waited_for_no_longer_than_a_minute() -> None:
    fleet = Fleet()
    fleet.commit(1, A)
    fleet.send(A)
    fleet.commit(2, A, B, now=PATIENCE_S)
    assert fleet.reported == []
    fleet.commit(3, B, now=PATIENCE_S + 1)
    assert fleet.reported == [(1, True)]
    # It is waited for again from the next on, and nothing is kept of what was given up.
    fleet.commit(4, now=2 * PATIENCE_S + 2)
    assert fleet.reported == [(1, True), (2, True), (3, True), (4, False)]
    assert not fleet.convergence._behind
    assert not fleet.convergence._commits
    fleet.answer(A)


@dataclass
class Definition:
    """What is meant, said directly: for each commit, whom it concerns and how many responses each of these
    had been sent when it had all of it."""

    due: dict[int, dict[StreamId, int | None]] = field(default_factory=dict)

    def sent_all(self, stream: StreamId, sent: int) -> None:
        for waiting in self.due.values():
            if stream in waiting and waiting[stream] is None:
                waiting[stream] = sent

    def reported(self, streams: dict[StreamId, Machine]) -> list[tuple[int, bool]]:
        found = []
        for generation, waiting in self.due.items():
            if any(sent is None or sent > streams[stream].answered for stream, sent in waiting.items()):
                break
            found.append((generation, bool(waiting)))
        return found


@given(
    st.lists(
        st.one_of(
            st.sets(st.sampled_from([A, B])),
            st.tuples(st.sampled_from(["all", "part", "answer"]), st.sampled_from([A, B])),
        ),
        max_size=25,
    )
)
@settings(max_examples=500)
def test_every_commit_converges_once_in_order_and_just_when_everybody_has_it(
    history: list[set[StreamId] | tuple[str, StreamId]],
) -> None:
    fleet, meant = Fleet(streams={A: Machine(), B: Machine()}), Definition()
    for generation, step in enumerate(history, start=1):
        if isinstance(step, set):
            meant.due[generation] = dict.fromkeys(step)
            fleet.commit(generation, *sorted(step))
            continue
        action, stream = step
        machine = fleet.streams[stream]
        if action == "answer" and machine.answered < machine.sent:
            fleet.answer(stream)
        elif action != "answer" and machine.behind:
            if action == "all":
                meant.sent_all(stream, machine.sent + 1)
            fleet.send(stream, all_of_it=action == "all")
        assert fleet.reported == meant.reported(fleet.streams)


def test_a_machine_has_sent_all_once_it_has_nothing_more_to_send_and_nothing_to_take_away() -> None:
    machine = DeltaMachine(A)
    for type_url in (CLUSTER, ROUTE):
        machine.receive(DeltaRequest(type_url=type_url, nonce=Nonce(""), subscribe=("*",)))

    def answer(type_url: TypeUrl, nonce: Nonce, error: str | None = None) -> None:
        machine.receive(DeltaRequest(type_url=type_url, nonce=nonce, error=error))

    both = snapshot(cluster("a"), route("r", "a"))
    assert not machine.has_sent_all(both)
    clusters, routes = machine.next(both), machine.next(both)
    assert clusters
    assert routes
    assert not machine.has_sent_all(both)
    assert machine.next(both) is None
    assert machine.has_sent_all(both)
    assert (machine.sent, machine.oldest_unanswered) == (2, 1)
    # By type, answers may come in another order than the responses went.
    answer(ROUTE, routes.nonce)
    assert machine.oldest_unanswered == 1
    answer(CLUSTER, clusters.nonce)
    assert machine.oldest_unanswered == 3
    # The cluster is not taken away while the route may use it.
    fewer = both.updated([route("r", rev=2)], [cluster("a").key])
    routes = machine.next(fewer)
    assert routes
    assert machine.next(fewer) is None
    assert not machine.has_sent_all(fewer)
    # Where the route is rejected the cluster stays: there is nothing left that can be sent.
    answer(ROUTE, routes.nonce, error="no")
    assert machine.next(fewer) is None
    assert machine.has_sent_all(fewer)
    assert (machine.sent, machine.oldest_unanswered) == (3, 4)
