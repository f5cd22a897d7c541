"""Records as messages."""

from collections import Counter

from xds_server.base.ids import NamespacedName
from xds_server.core.verdict.bodies import Bodies, Field, Kind
from xds_server.core.verdict.evidence import Counts
from xds_server.core.verdict.gaps import Gap
from xds_server.core.verdict.joining import Answer, Lost, Pair, Side, Unpaired
from xds_server.core.verdict.record import Record, Requests
from xds_server.pb import evidence_pb2
from xds_server.server.record_messages import message_of, record_of

CANARY = NamespacedName("staging", "web-canary")
NAME = Field("GET /", "$.name", Kind.MISSING)


def whole() -> Record:
    """A record with something in every field."""
    record = Record(
        canary=CANARY,
        service="web",
        since=12.5,
        template="a/b",
        primary=Requests(10, 8, 1, 1),
        mirrored=Requests(9, 7, 1, 1),
        expected=4.5,
        bodies=Bodies(
            Counter({"GET /": 3}),
            Counter({NAME: 2}),
            Counter({"GET /": 2}),
            Counter({NAME: 1}),
            Counter({"too large": 1}),
            Counter({NAME: 2}),
            Counter({NAME: 1}),
        ),
        envoys=frozenset({"a", "b"}),
        silent=frozenset({"b"}),
        gap=Gap(1.0, 2.0, Counts(1, 1, 0), 1, 3.0),
    )
    good, bad = Answer(failed=False, code=200), Answer(failed=True, code=500, latency_s=0.5)
    slow = Answer(failed=False, code=200, latency_s=0.5)
    record.tally.add(Pair((Side.CANARY, CANARY.name), "GET /", good, bad))
    record.tally.add(Pair((Side.CANARY, CANARY.name), "GET /", good, slow, good))
    record.tally.add(Pair((Side.CANARY, CANARY.name), "GET /", good, good, slow))
    record.tally.add(Unpaired(Lost.NOT_SENT, (Side.CANARY, "web")))
    return record


def test_a_record_is_the_same_after_a_message() -> None:
    assert message_of(record_of(message_of(whole()))) == message_of(whole())
    filled = {field.name for field, _ in message_of(whole()).ListFields()}
    assert filled == {field.name for field in evidence_pb2.Record.DESCRIPTOR.fields}


def test_words_of_another_version_are_left_out() -> None:
    message = message_of(whole())
    message.lost["eaten"] = 1
    message.differing.add(group="GET /", path="$", kind="colour", count=1)
    assert message_of(record_of(message)) == message_of(whole())
