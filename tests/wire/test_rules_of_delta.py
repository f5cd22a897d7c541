"""Rules 31 to 36 at the wire, incremental."""

import pytest

from tests.unit.xds.peer import Said, cluster, endpoints, listener, route, secret
from tests.wire.client import Client, Served
from tests.wire.test_rules_of_both import one
from xds_server.base.ids import TypeUrl
from xds_server.xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET

NAMED = [ENDPOINT, SECRET, ROUTE]


async def test_rule_31_a_subscription_with_a_stale_nonce_counts(served: Served, delta: Client) -> None:
    served.now(endpoints("a"), endpoints("b"))
    await delta.subscribe(ENDPOINT, "a")
    await delta.settle()
    await delta.request(ENDPOINT, nonce="stale", subscribe=("b",), unsubscribe=("a",))
    assert await delta.settle() == [Said("EDS", ["b"], [])]
    served.now(endpoints("a", 2), endpoints("b"))
    assert await delta.settle() == []


@pytest.mark.parametrize("type_url", [*NAMED, CLUSTER])
async def test_rule_32_a_name_that_does_not_exist_is_removed_at_once_and_watched(
    served: Served, delta: Client, type_url: TypeUrl
) -> None:
    served.now(one(type_url, "b"))
    await delta.subscribe(type_url, "a", "b")
    assert [said[1:] for said in await delta.flow()] == [(["b"], ["a"])]
    served.now(one(type_url, "a"), one(type_url, "b"))
    assert [said[1:] for said in await delta.flow()] == [(["a"], [])]


@pytest.mark.parametrize("type_url", NAMED)
async def test_rule_33_a_second_subscription_is_answered_and_a_needless_end_of_one_ignored(
    served: Served, delta: Client, type_url: TypeUrl
) -> None:
    served.now(one(type_url, "a"), one(type_url, "b"))
    await delta.subscribe(type_url, "a", "b")
    await delta.settle()
    await delta.subscribe(type_url, "a")
    assert [said[1:] for said in await delta.settle()] == [(["a"], [])]
    await delta.unsubscribe(type_url, "never asked for")
    assert await delta.settle() == []


async def test_rule_34_a_reconnecting_client_gets_what_differs_and_what_is_gone(
    served: Served, delta: Client
) -> None:
    same, new = cluster("same"), cluster("new")
    served.now(same, cluster("changed", 2), new)
    claims = {"same": same.version, "changed": cluster("changed", 1).version, "gone": "v"}
    await delta.request(CLUSTER, claims=claims)
    assert await delta.settle() == [Said("CDS", ["changed", "new"], []), Said("CDS", [], ["gone"])]


@pytest.mark.parametrize("held", [True, False])
async def test_rule_35_the_first_answer_to_a_wildcard_goes_out_even_if_empty(
    served: Served, delta: Client, *, held: bool
) -> None:
    served.now(*([cluster("a")] if held else []))
    await delta.request(CLUSTER, claims={"a": cluster("a").version} if held else {})
    assert await delta.settle() == [Said("CDS", [], [])]


async def test_rule_36_no_names_and_a_star_open_the_same_wildcard(served: Served, delta: Client) -> None:
    served.now(cluster("a"), listener("a", "r"), route("r"), secret("a"))
    await delta.subscribe(CLUSTER)
    await delta.subscribe(LISTENER, "*")
    assert sorted(await delta.settle()) == [Said("CDS", ["a"], []), Said("LDS", ["a"], [])]
