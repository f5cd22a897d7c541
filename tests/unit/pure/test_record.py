"""The sums of what replicas record."""

from xds_server.base.ids import NamespacedName
from xds_server.core.verdict.bodies import Bodies
from xds_server.core.verdict.joining import Answer, Pair, Side
from xds_server.core.verdict.record import NO_REQUESTS, Record, Requests, added

CANARY = NamespacedName("staging", "web-canary")
GOOD = Answer(failed=False, code=200)


def record(since: float, template: str = "a", envoy: str = "one") -> Record:
    found = Record(
        canary=CANARY,
        service="web",
        since=since,
        template=template,
        primary=Requests(4, 3, 1, 0),
        mirrored=Requests(2, 1, 0, 1),
        expected=1.0,
        envoys=frozenset({envoy}),
        silent=frozenset({envoy}),
    )
    found.tally.add(Pair((Side.CANARY, CANARY.name), "GET /", GOOD, GOOD))
    found.bodies.compared["GET /"] += 1
    return found


def test_what_two_replicas_have_is_added() -> None:
    total = added([{CANARY: record(5.0)}, {CANARY: record(3.0, envoy="two")}])[CANARY]
    assert (total.since, total.expected) == (3.0, 2.0)
    assert (total.primary, total.mirrored) == (Requests(8, 6, 2, 0), Requests(4, 2, 0, 2))
    assert total.tally.counts.pairs == 2
    assert total.bodies == Bodies(compared=total.bodies.compared)
    assert total.bodies.compared == {"GET /": 2}
    assert total.envoys == total.silent == {"one", "two"}


def test_evidence_about_the_templates_before_does_not_count() -> None:
    total = added([{CANARY: record(3.0, "old", "two")}, {CANARY: record(5.0, "new")}])[CANARY]
    assert (total.since, total.template, sorted(total.envoys)) == (5.0, "new", ["one"])
    assert total.tally.counts.pairs == 1


def test_shadows_of_one_replica_alone_stay_as_they_are() -> None:
    other = NamespacedName("staging", "other")
    assert added([{CANARY: record(3.0)}, {other: record(4.0)}]).keys() == {CANARY, other}


def test_evidence_about_another_template_begins_at_nothing() -> None:
    begun = record(1.0)
    begun.restart("new", 9.0)
    assert (begun.since, begun.template, begun.expected) == (9.0, "new", 0.0)
    assert (begun.primary, begun.mirrored) == (NO_REQUESTS, NO_REQUESTS)
    assert (begun.tally.groups, begun.bodies) == ({}, Bodies())
    assert begun.envoys == {"one"}
