"""What goes between the builder and its workers arrives as it was."""

import asyncio
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xds_server.ads import events
from xds_server.ads.convergence import Converged
from xds_server.base.ids import NodeId, Nonce, StreamId, Version
from xds_server.config import PLAIN, Security, TlsFiles
from xds_server.serving import link
from xds_server.snapshot.resource import Resource, ResourceKey
from xds_server.snapshot.snapshot import Snapshot
from xds_server.snapshot.types import CLUSTER, ENDPOINT, ROUTE

_keys = st.builds(ResourceKey, st.sampled_from([CLUSTER, ENDPOINT, ROUTE]), st.sampled_from("abc"))
_resources = st.builds(
    Resource,
    _keys,
    st.sampled_from([b"", b"1", b"2"]),
    st.lists(_keys, max_size=2).map(tuple),
    scope=st.sampled_from(["", "staging"]),
    open=st.booleans(),
)


def through(message: link.ToWorker) -> link.ToWorker | None:
    """A message as it comes out at the other end."""

    async def read() -> link.ToWorker | None:
        reader = asyncio.StreamReader()
        reader.feed_data(link.frame(message))
        reader.feed_eof()
        found = await link.to_worker(reader)
        assert await link.to_worker(reader) is None
        return found

    return asyncio.run(read())


@given(st.lists(st.lists(_resources, max_size=4, unique_by=lambda r: r.key), max_size=5))
def test_a_worker_has_after_every_commit_what_the_builder_has(history: list[list[Resource]]) -> None:
    ours = theirs = Snapshot()
    for number, world in enumerate(history, start=1):
        gone = {r.key for t in ours.types.values() for r in t.resources.values()} - {r.key for r in world}
        after = ours.updated(world, gone)
        commit = link.difference(ours, after, number)
        sent = set(commit.removals) | {(each.type_url, each.name) for each in commit.upserts}
        assert sent == {
            tuple(r.key)
            for snapshot, other in ((ours, after), (after, ours))
            for t in snapshot.types.values()
            for r in t.resources.values()
            if other.get(r.key) != r
        }
        received = through(commit)
        assert isinstance(received, link.Commit)
        ours, theirs = after, link.applied(theirs, received)
        assert received.generation == number
        assert theirs == ours
        assert theirs.versions() == ours.versions()
        for of_type in ours.types.values():
            for each in of_type.resources.values():
                other = theirs.get(each.key)
                assert other is not None
                assert (other.body, other.version) == (each.body, each.version)


def test_refs_scope_and_openness_arrive() -> None:
    key = ResourceKey(CLUSTER, "a")
    before = Resource(key, b"1", (ResourceKey(ENDPOINT, "a"),), scope="staging", open=True)
    received = through(link.difference(Snapshot(), Snapshot().updated([before]), 1))
    assert isinstance(received, link.Commit)
    after = link.applied(Snapshot(), received).get(key)
    assert after is not None
    assert (after.refs, after.scope, after.open) == (before.refs, before.scope, before.open)


def test_events_arrive() -> None:
    stream, version, nonce = StreamId(1 << 40), Version("v"), Nonce("n")
    node = events.Node(id=NodeId("a"), cluster="c", metadata={"x": [1.0, {"y": None}]}, build="envoy 1.40.0")
    found: list[events.Event] = [
        events.StreamOpened(stream=stream, node=node, variant=events.Variant.SOTW, peer="p"),
        events.Subscribed(stream=stream, type_url=CLUSTER),
        events.Sent(
            stream=stream, type_url=CLUSTER, version=version, nonce=nonce, resources=1, removed=2, size=3
        ),
        events.Resumed(stream=stream, type_url=CLUSTER, version=version),
        events.Acked(stream=stream, type_url=CLUSTER, version=version, nonce=nonce, refusing=True),
        events.Nacked(stream=stream, type_url=CLUSTER, version=version, nonce=nonce, message="no"),
        events.StreamClosed(stream=stream, reason="why"),
    ]
    times = [1e9 + number / 8 for number in range(len(found))]

    async def received() -> link.FromWorker | None:
        reader = asyncio.StreamReader()
        reader.feed_data(link.frame(link.happened([*zip(times, found, strict=True)])))
        return await link.from_worker(reader)

    message = asyncio.run(received())
    assert isinstance(message, link.Happened)
    assert link.events_of(message) == [*zip(times, found, strict=True)]


def test_what_a_worker_s_streams_have_arrives() -> None:
    async def received() -> link.FromWorker | None:
        reader = asyncio.StreamReader()
        reader.feed_data(link.frame(link.Reached(Converged(7, answered=True, at=12.5))))
        return await link.from_worker(reader)

    assert asyncio.run(received()) == link.Reached(Converged(7, answered=True, at=12.5))


@pytest.mark.parametrize(
    "security",
    [
        PLAIN,
        Security(tls=TlsFiles(certificate=Path("a b.crt"), key=Path("/k"), client_ca=Path("ca"))),
        Security(
            tls=TlsFiles(certificate=Path("a"), key=Path("b"), client_ca=Path("c")),
            clients={"spiffe://example/a": None, "ä": frozenset({"staging", "b"}), "none": frozenset()},
        ),
    ],
)
def test_the_security_arrives(security: Security) -> None:
    assert link.security_from(link.security_argument(security)) == security
