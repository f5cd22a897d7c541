"""The model that judges random histories: what it says of small worlds."""

from tests.envoy.histories.should import Should, allowed
from tests.envoy.histories.world import Canary, Endpoint, Port, Service, World


def service(namespace: str, name: str, born: int, *addresses: str, claims: tuple[str, ...] = ()) -> Service:
    return Service(
        namespace,
        name,
        born,
        [Port("http", 80, 0), Port("admin", 81, 1)],
        [Endpoint(address) for address in addresses],
        claims=list(claims),
    )


def world(*services: Service, canaries: tuple[Canary, ...] = ()) -> World:
    return World(
        (7, 8),
        ["a", "b"],
        {each.key: each for each in services},
        {(each.namespace, each.name): each for each in canaries},
    )


def backends(of: World, authority: str, *before: World) -> set[str]:
    should = None
    for each in (*before, of):
        should = Should(each).after(should)
    assert should
    return set(should.outcome(authority).backends)


def test_a_port_is_found_by_its_number_and_the_first_is_for_all_others() -> None:
    one = world(service("a", "web", 1, "1"))
    assert [backends(one, each) for each in ("web.a", "web.a:80", "web.a:81", "web.a:9")] == [
        {"1:7"},
        {"1:7"},
        {"1:8"},
        {"1:7"},
    ]
    assert backends(one, "web.a.svc.cluster.local:81") == {"1:8"}
    assert backends(one, "web.b") == backends(one, "shop.example") == set()


def test_the_oldest_exposed_service_has_a_host_and_none_has_anothers_own_name() -> None:
    old = service("a", "web", 1, "1", claims=("shop.example", "web.b"))
    young = service("b", "web", 2, "2", claims=("shop.example",))
    assert backends(world(old, young), "shop.example") == {"1:7"}
    assert backends(world(old, young), "web.b") == {"2:7"}
    young.expose = "false"
    assert backends(world(old, young), "web.b") == set()
    assert Should(world(old)).outcome("web.b").anything
    old.expose = "yes"
    assert backends(world(old), "shop.example") == {"1:7"}


def test_a_marked_canary_is_out_of_every_service_but_where_it_is_all_there_is() -> None:
    stable = service("a", "web", 1, "1")
    canary = Canary("a", "next", "9", shadow_of="wbe", joined="web")
    assert backends(world(stable, canaries=(canary,)), "web.a") == {"1:7"}
    canary.shadow_of = None
    assert backends(world(stable, canaries=(canary,)), "web.a") == {"1:7", "9:7"}
    canary.shadow_of = "web"
    alone = world(service("a", "web", 1), canaries=(canary,))
    assert backends(alone, "web.a") == {"9:7"}
    unready = world(service("a", "web", 1, "1"), canaries=(canary,))
    unready.services["a", "web"].endpoints[0].ready = False
    assert Should(unready).after(None).outcome("web.a").anything
    kept = Should(unready).after(Should(alone).after(None)).outcome("web.a")
    assert (set(kept.backends), kept.answered) == ({"9:7"}, True)


def test_between_two_worlds_a_request_may_fail_only_if_it_may_in_one() -> None:
    before = Should(world(service("a", "web", 1, "1", claims=("shop.example",)), service("b", "web", 2, "2")))
    after = Should(world(service("a", "web", 1, "1"), service("b", "web", 2, "2", claims=("shop.example",))))
    gone = Should(world(service("b", "web", 2, "2")))
    moving = allowed("shop.example", [before, after], [before, after])
    assert [moving.takes(each) for each in ("1:7", "2:7", "3:7", None)] == [True, True, False, False]
    ending = allowed("shop.example", [before, gone], [before, gone])
    assert [ending.takes(each) for each in ("1:7", "2:7", None)] == [True, False, True]
    settled = allowed("shop.example", [after], [before, after])
    assert [settled.takes(each) for each in ("1:7", "2:7", None)] == [True, True, False]
    long_ago = allowed("shop.example", [after], [after])
    assert [long_ago.takes(each) for each in ("1:7", "2:7", None)] == [False, True, False]
