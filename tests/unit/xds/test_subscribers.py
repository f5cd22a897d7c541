"""Only the streams that a change concerns are woken."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xds_server.base.ids import TypeUrl
from xds_server.xds.name_sets import NO_NAMES, Names
from xds_server.xds.resource import Resource, ResourceKey
from xds_server.xds.snapshot import Snapshot
from xds_server.xds.subscribers import Subscribers
from xds_server.xds.types import CLUSTER, ENDPOINT
from xds_server.xds.variants import HostsMode


def resource(type_url: TypeUrl, name: str, body: bytes = b"") -> Resource:
    return Resource(ResourceKey(type_url, name), body)


def test_a_change_concerns_those_who_watch_it() -> None:
    subscribers: Subscribers[str] = Subscribers(HostsMode.VHDS)
    snapshot = Snapshot().updated([resource(CLUSTER, "a"), resource(ENDPOINT, "a"), resource(ENDPOINT, "b")])
    for stream in ("idle", "clusters", "a", "b", "also a"):
        subscribers.join(stream)
    assert len(subscribers) == 5
    assert subscribers.serve(snapshot) == {"idle", "clusters", "a", "b", "also a"}, "the first concerns all"
    subscribers.subscribe("clusters", CLUSTER, None)
    subscribers.subscribe("a", ENDPOINT, NO_NAMES.plus(("a",)))
    subscribers.subscribe("also a", ENDPOINT, NO_NAMES.plus(("a", "none")))
    subscribers.subscribe("b", ENDPOINT, NO_NAMES.plus(("b",)))
    assert subscribers.serve(snapshot) == set()
    snapshot = snapshot.updated([resource(ENDPOINT, "a", b"2")])
    assert subscribers.serve(snapshot) == {"a", "also a"}
    snapshot = snapshot.updated([resource(CLUSTER, "c")], [ResourceKey(ENDPOINT, "b")])
    assert subscribers.serve(snapshot) == {"clusters", "b"}
    snapshot = snapshot.updated([resource(ENDPOINT, "none")])
    assert subscribers.serve(snapshot) == {"also a"}
    subscribers.subscribe("a", ENDPOINT, NO_NAMES.plus(("b",)))
    subscribers.join("b again")
    subscribers.subscribe("b again", ENDPOINT, NO_NAMES.plus(("b",)))
    subscribers.leave("b again")
    subscribers.leave("also a")
    assert subscribers.serve(snapshot.updated([resource(ENDPOINT, "a", b"3")])) == set()


@pytest.mark.parametrize("hosts", list(HostsMode))
def test_rule_15_nothing_is_there_to_be_served_before_the_first_commit(hosts: HostsMode) -> None:
    subscribers: Subscribers[str] = Subscribers(hosts)
    subscribers.join("early")
    subscribers.subscribe("early", CLUSTER, None)
    assert subscribers.snapshot is None
    # Nothing at all is something, if it is what the sources say.
    assert subscribers.serve(Snapshot()) == {"early"}
    assert subscribers.snapshot == Snapshot()


def test_nothing_is_kept_of_those_who_left() -> None:
    subscribers: Subscribers[str] = Subscribers(HostsMode.INLINE)
    subscribers.join("a")
    subscribers.subscribe("a", CLUSTER, None)
    subscribers.subscribe("a", CLUSTER, None)
    subscribers.leave("a")
    assert not subscribers
    assert subscribers._groups == {CLUSTER: {}}


@given(
    st.dictionaries(st.sampled_from("stuvw"), st.sets(st.sampled_from("abcd")) | st.none()),
    st.lists(st.dictionaries(st.sampled_from("abcd"), st.sampled_from([b"1", b"2"])), max_size=6),
)
def test_exactly_the_streams_whose_names_differ_are_returned(
    watching: dict[str, set[str] | None], history: list[dict[str, bytes]]
) -> None:
    subscribers: Subscribers[str] = Subscribers(HostsMode.INLINE)
    snapshot = Snapshot()
    subscribers.serve(snapshot)
    for stream, wanted in watching.items():
        subscribers.join(stream)
        names: Names | None = None if wanted is None else NO_NAMES.plus(tuple(sorted(wanted)))
        subscribers.subscribe(stream, CLUSTER, names)
    for world in history:
        before = {name: each.body for name, each in snapshot.of(CLUSTER).resources.items()}
        gone = [ResourceKey(CLUSTER, name) for name in before if name not in world]
        snapshot = snapshot.updated([resource(CLUSTER, name, body) for name, body in world.items()], gone)
        changed = {name for name in {*before, *world} if before.get(name) != world.get(name)}
        assert subscribers.serve(snapshot) == {
            stream
            for stream, wanted in watching.items()
            if changed and (wanted is None or not wanted.isdisjoint(changed))
        }
