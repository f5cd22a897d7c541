"""Which objects an Envoy's words are about. The messages are those of Envoy 1.40, as the fleet keeps them."""

import pytest

from xds_server.base.ids import NamespacedName
from xds_server.translate import names
from xds_server.translate.blame import Blamed, blame

MYAPP = NamespacedName("staging", "myapp")
SERVICE = Blamed(MYAPP)
CANARY = Blamed(MYAPP, "myapp-canary")
SHOP = Blamed(NamespacedName("prod", "shop"))


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("Error adding/updating cluster(s) staging/myapp/80: ring hash: minimum_ring_size (9000)", {SERVICE}),
        ("Error adding/updating cluster(s) staging/myapp/80/shadow/myapp-canary: ring hash", {CANARY}),
        ("(s) prod/shop/8080: wrong, staging/myapp/80/shadow/myapp-canary: wrong", {SHOP, CANARY}),
        ("route: unknown cluster 'staging/myapp/80'", {SERVICE}),
        ("route: unknown shadow cluster 'staging/myapp/80/shadow/myapp-canary'", {CANARY}),
        ("Unexpected EDS cluster (expecting staging/myapp/80): prod/shop/8080", {SERVICE, SHOP}),
        ("gateway, virtual host staging/myapp/80: Proto constraint validation failed", {SERVICE}),
        # A virtual host that is a resource of its own.
        ("gateway/myapp.staging:80: Proto constraint validation failed", {SERVICE}),
        # A Namespace may be called like the route configuration, and a Service like a port.
        ("gateway/80/81/shadow/82", {Blamed(NamespacedName("gateway", "80"), "82")}),
        ("A sentence ends in staging/myapp/80.", {SERVICE}),
        ("gateway: Envoy's message ends before its reason", set()),
        ("Error adding/updating listener(s) gateway: no such filter", set()),
        ("malformed IP address: not-an-ip", set()),
        # A Service's only port need not have a name.
        ("staging/myapp: wrong", {SERVICE}),
        ("staging/myapp/shadow/myapp-canary: wrong", {CANARY}),
        ("gateway/myapp.staging: Proto constraint validation failed", {SERVICE}),
        ("/etc/staging/80 http://host/app/80 a/b/c/d Staging/MyApp/80", set()),
        ("internal/myapp.staging:80: Proto constraint validation failed", {SERVICE}),
        ("a/other/myapp.staging:80 gateway/myapp.staging.x", set()),
        ("staging/myapp/80/other x.staging/myapp/80 staging/myapp/80-", set()),
        ("", set()),
    ],
)
def test_the_owners_of_the_names_in_a_message_are_found(message: str, expected: set[Blamed]) -> None:
    assert blame(message) == expected


def test_every_name_that_is_generated_is_recognized() -> None:
    service = NamespacedName("a-1", "svc-2")
    assert blame(names.cluster(service, "http")) == {Blamed(service)}
    assert blame(names.shadow_cluster(service, "", "my.canary-3")) == {Blamed(service, "my.canary-3")}
    longest = NamespacedName("n" * 63, "s" * 63)
    assert blame(names.shadow_cluster(longest, "p" * 15, "d" * 253)) == {Blamed(longest, "d" * 253)}
