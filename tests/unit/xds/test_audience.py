"""Who is woken by a change: those whom it concerns, and nobody else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xds_server.base.ids import TypeUrl
from xds_server.xds.name_sets import NO_NAMES, Names
from xds_server.xds.resource import Resource, ResourceKey
from xds_server.xds.snapshot import Snapshot
from xds_server.xds.subscribers import Audience
from xds_server.xds.types import CLUSTER, ENDPOINT
from xds_server.xds.variants import Hosts


def resource(type_url: TypeUrl, name: str, body: bytes = b"") -> Resource:
    return Resource(ResourceKey(type_url, name), body)


def test_a_change_concerns_those_who_watch_it() -> None:
    audience: Audience[str] = Audience(Hosts.APART)
    snapshot = Snapshot().updated([resource(CLUSTER, "a"), resource(ENDPOINT, "a"), resource(ENDPOINT, "b")])
    for stream in ("idle", "clusters", "a", "b", "also a"):
        audience.join(stream)
    assert len(audience) == 5
    assert audience.show(snapshot) == {"idle", "clusters", "a", "b", "also a"}, "the first concerns all"
    audience.watch("clusters", CLUSTER, None)
    audience.watch("a", ENDPOINT, NO_NAMES.plus(("a",)))
    audience.watch("also a", ENDPOINT, NO_NAMES.plus(("a", "none")))
    audience.watch("b", ENDPOINT, NO_NAMES.plus(("b",)))
    assert audience.show(snapshot) == set()
    snapshot = snapshot.updated([resource(ENDPOINT, "a", b"2")])
    assert audience.show(snapshot) == {"a", "also a"}
    snapshot = snapshot.updated([resource(CLUSTER, "c")], [ResourceKey(ENDPOINT, "b")])
    assert audience.show(snapshot) == {"clusters", "b"}
    snapshot = snapshot.updated([resource(ENDPOINT, "none")])
    assert audience.show(snapshot) == {"also a"}
    audience.watch("a", ENDPOINT, NO_NAMES.plus(("b",)))
    audience.join("b again")
    audience.watch("b again", ENDPOINT, NO_NAMES.plus(("b",)))
    audience.leave("b again")
    audience.leave("also a")
    assert audience.show(snapshot.updated([resource(ENDPOINT, "a", b"3")])) == set()


@pytest.mark.parametrize("hosts", list(Hosts))
def test_rule_15_nothing_is_there_to_be_served_before_the_first_commit(hosts: Hosts) -> None:
    audience: Audience[str] = Audience(hosts)
    audience.join("early")
    audience.watch("early", CLUSTER, None)
    assert audience.snapshot is None
    # Nothing at all is something, if it is what the sources say.
    assert audience.show(Snapshot()) == {"early"}
    assert audience.snapshot == Snapshot()


def test_nothing_is_kept_of_those_who_left() -> None:
    audience: Audience[str] = Audience(Hosts.INSIDE)
    audience.join("a")
    audience.watch("a", CLUSTER, None)
    audience.watch("a", CLUSTER, None)
    audience.leave("a")
    assert not audience
    assert audience._groups == {CLUSTER: {}}


@given(
    st.dictionaries(st.sampled_from("stuvw"), st.sets(st.sampled_from("abcd")) | st.none()),
    st.lists(st.dictionaries(st.sampled_from("abcd"), st.sampled_from([b"1", b"2"])), max_size=6),
)
def test_exactly_those_are_told_whose_names_differ(
    watching: dict[str, set[str] | None], history: list[dict[str, bytes]]
) -> None:
    audience: Audience[str] = Audience(Hosts.INSIDE)
    snapshot = Snapshot()
    audience.show(snapshot)
    for stream, wanted in watching.items():
        audience.join(stream)
        names: Names | None = None if wanted is None else NO_NAMES.plus(tuple(sorted(wanted)))
        audience.watch(stream, CLUSTER, names)
    for world in history:
        before = {name: each.body for name, each in snapshot.of(CLUSTER).resources.items()}
        gone = [ResourceKey(CLUSTER, name) for name in before if name not in world]
        snapshot = snapshot.updated([resource(CLUSTER, name, body) for name, body in world.items()], gone)
        changed = {name for name in {*before, *world} if before.get(name) != world.get(name)}
        assert audience.show(snapshot) == {
            stream
            for stream, wanted in watching.items()
            if changed and (wanted is None or not wanted.isdisjoint(changed))
        }
