"""Rules 26 to 30 at the wire, in state of the world."""

from tests.unit.xds.peer import Said, cluster, endpoints, listener, route, secret
from tests.wire.client import Client, Served
from xds_server.xds.stream_events import Acked
from xds_server.xds.types import CLUSTER, ENDPOINT, LISTENER, SECRET


async def test_rule_26_clusters_and_listeners_are_complete_and_nothing_deletes_all(
    served: Served, sotw: Client
) -> None:
    served.now(cluster("a"), cluster("b"), listener("l", "r"), route("r"))
    await sotw.subscribe(CLUSTER)
    await sotw.subscribe(LISTENER)
    await sotw.settle()
    served.now(cluster("a", 2), cluster("b"))
    assert await sotw.settle() == [Said("CDS", ["a", "b"], []), Said("LDS", [], [])]
    served.now()
    assert await sotw.settle() == [Said("CDS", [], [])]


async def test_rule_26_assignments_and_secrets_are_sent_alone_and_never_taken_back(
    served: Served, sotw: Client
) -> None:
    served.now(endpoints("a"), endpoints("b"), secret("s"), secret("t"))
    await sotw.subscribe(ENDPOINT, "a", "b")
    await sotw.subscribe(SECRET, "s", "t")
    await sotw.settle()
    served.now(endpoints("a"), endpoints("b", 2), secret("s"), secret("t", 2))
    assert await sotw.settle() == [Said("EDS", ["b"], []), Said("SDS", ["t"], [])]
    served.now(endpoints("a"), secret("s"))
    assert await sotw.settle() == []


async def test_rule_27_a_stale_nonce_acknowledges_nothing_and_its_new_names_are_answered(
    served: Served, sotw: Client
) -> None:
    served.now(endpoints("a", 1), endpoints("b"))
    await sotw.subscribe(ENDPOINT, "a")
    await sotw.flow()
    await sotw.ack(ENDPOINT)
    stale = sotw.latest[ENDPOINT].nonce
    served.now(endpoints("a", 2), endpoints("b"))
    await sotw.flow()
    pending = sotw.latest[ENDPOINT].nonce
    # The client has not seen that yet, and asks for one more.
    await sotw.subscribe(ENDPOINT, "b")
    assert await sotw.flow() == [Said("EDS", ["b"], [])]
    acked = [e.nonce for e in served.rig.events if isinstance(e, Acked) and e.type_url == ENDPOINT]
    assert acked == [stale]
    assert pending != stale


async def test_rule_28_new_names_are_answered_at_the_version_of_the_others(
    served: Served, sotw: Client
) -> None:
    served.now(endpoints("a"), endpoints("b"))
    await sotw.subscribe(ENDPOINT, "a")
    await sotw.settle()
    version = sotw.latest[ENDPOINT].version_info
    await sotw.subscribe(ENDPOINT, "b")
    assert await sotw.settle() == [Said("EDS", ["b"], [])]
    assert sotw.latest[ENDPOINT].version_info == version


async def test_rule_29_the_last_acknowledgement_again_is_answered_while_a_cluster_warms(
    served: Served, sotw: Client
) -> None:
    served.now(cluster("a", 1), endpoints("a"))
    await sotw.subscribe(CLUSTER)
    await sotw.subscribe(ENDPOINT, "a")
    await sotw.settle()
    served.now(cluster("a", 2), endpoints("a"))
    await sotw.flow()
    await sotw.ack(ENDPOINT)
    assert await sotw.flow() == []
    await sotw.request(ENDPOINT)  # the same once more
    assert await sotw.flow() == [Said("EDS", ["a"], [])]
    await sotw.ack(CLUSTER)
    await sotw.ack(ENDPOINT)
    await sotw.request(ENDPOINT)
    assert await sotw.flow() == []
