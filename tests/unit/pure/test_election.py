"""Never two leaders, and never none for long, whatever gets lost."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from xds_server.kube.lease import Election, Record, Terms

TERMS = Terms(lease=15, renew=10.0, retry=2.0)


class Server:
    """Keeps one Lease as an API server does."""

    def __init__(self) -> None:
        self.lease: dict[str, Any] | None = None
        self.version = 0

    def write(self, bid: dict[str, Any]) -> dict[str, Any] | None:
        """The Lease as written; None for a conflict."""
        given = bid["metadata"].get("resourceVersion")
        current = self.lease["metadata"]["resourceVersion"] if self.lease else None
        if given != current:
            return None
        self.version += 1
        self.lease = {**bid, "metadata": {**bid["metadata"], "resourceVersion": str(self.version)}}
        return self.lease


def candidate(name: str) -> Election:
    return Election(name, namespace="system", name="xds-shadow", terms=TERMS)


def turn(election: Election, server: Server, now: float, *, heard: bool = True) -> None:
    """One look and bid; what was written may go unheard."""
    if not election.holds:
        election.observe(server.lease, now)
    bid = election.bid(now, now)
    if bid is None:
        return
    written = server.write(bid)
    if written is None:
        election.observe(None, now)
    elif heard:
        election.won(written, now)


def spec(server: Server) -> dict[str, Any]:
    assert server.lease is not None
    found: dict[str, Any] = server.lease["spec"]
    return found


def test_the_first_creates_the_lease() -> None:
    server, one = Server(), candidate("one")
    assert not one.leads(100.0)
    turn(one, server, 100.0)
    assert one.leads(100.0)
    assert server.lease is not None
    assert server.lease["metadata"] == {"name": "xds-shadow", "namespace": "system", "resourceVersion": "1"}
    assert spec(server) == {
        "holderIdentity": "one",
        "leaseDurationSeconds": 15,
        "acquireTime": "1970-01-01T00:01:40.000000Z",
        "renewTime": "1970-01-01T00:01:40.000000Z",
        "leaseTransitions": 0,
    }


def test_it_renews_and_stays() -> None:
    server, one = Server(), candidate("one")
    for now in (0.0, 9.0, 18.0):
        turn(one, server, now)
        assert one.leads(now)
    assert (spec(server)["acquireTime"], spec(server)["renewTime"]) == (
        "1970-01-01T00:00:00.000000Z",
        "1970-01-01T00:00:18.000000Z",
    )
    assert not one.leads(28.0)


def test_another_waits_until_the_lease_was_not_renewed_for_its_duration() -> None:
    server, one, two = Server(), candidate("one"), candidate("two")
    turn(one, server, 0.0)
    for now in (1.0, 15.9):
        turn(two, server, now)
        assert not two.leads(now)
    turn(two, server, 16.0)
    assert two.leads(16.0)
    assert (spec(server)["holderIdentity"], spec(server)["leaseTransitions"]) == ("two", 1)
    turn(one, server, 17.0)
    assert not one.leads(17.0)
    assert not one.holds


def test_who_resigns_is_replaced_at_once() -> None:
    server, one, two = Server(), candidate("one"), candidate("two")
    turn(one, server, 0.0)
    turn(two, server, 1.0)
    given_up = one.resign(2.0)
    assert given_up is not None
    assert server.write(given_up) is not None
    assert not one.leads(2.0)
    assert spec(server)["leaseDurationSeconds"] == 1
    turn(two, server, 3.0)
    assert two.leads(3.0)


def test_who_does_not_lead_has_nothing_to_resign() -> None:
    server, one, two = Server(), candidate("one"), candidate("two")
    assert one.resign(0.0) is None
    turn(one, server, 0.0)
    turn(two, server, 0.0)
    assert two.resign(0.0) is None


def test_a_lease_that_vanished_is_created_again() -> None:
    server, one = Server(), candidate("one")
    turn(one, server, 0.0)
    server.lease = None
    turn(one, server, 1.0)
    assert not one.leads(1.0)
    turn(one, server, 2.0)
    assert one.leads(2.0)


def test_a_lease_that_says_nothing_is_free() -> None:
    assert Record.of({}).holder == ""
    server, one = Server(), candidate("one")
    server.lease = {"metadata": {"resourceVersion": "7"}, "spec": None}
    turn(one, server, 0.0)
    assert one.leads(0.0)


@given(
    st.lists(
        st.tuples(
            st.sampled_from("abc"),
            st.floats(0.0, 6.0, allow_nan=False),
            st.sampled_from(["turn", "turn", "turn", "unheard", "resign"]),
        ),
        max_size=80,
    )
)
def test_there_are_never_two(steps: list[tuple[str, float, str]]) -> None:
    server, now = Server(), 1000.0
    candidates = {name: candidate(name) for name in "abc"}
    for name, pause, what in steps:
        now += pause
        assert sum(each.leads(now) for each in candidates.values()) <= 1
        if what == "resign":
            given_up = candidates[name].resign(now)
            if given_up is not None:
                server.write(given_up)
        else:
            turn(candidates[name], server, now, heard=what == "turn")
        assert sum(each.leads(now) for each in candidates.values()) <= 1
    for _ in range(20):  # one that lives on leads in the end
        now += 2.0
        turn(candidates["a"], server, now)
    assert candidates["a"].leads(now)
