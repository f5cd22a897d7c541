"""What a node is served of the whole, and that a view costs what changed and is what it would be from
scratch."""

from dataclasses import replace

import pytest
from envoy.config.listener.v3 import listener_pb2
from envoy.extensions.filters.http.router.v3 import router_pb2
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
    HttpFilter,
)
from hypothesis import given
from hypothesis import strategies as st

from tests.support.snapshots import dangling
from tests.unit.pure import worlds
from tests.unit.pure.kube import pipeline_of
from xds_server.base.errors import RequestDeniedError, RequestError
from xds_server.core.plan import Plan
from xds_server.core.world import Change
from xds_server.server.views import View, derive, view_of
from xds_server.translate import names
from xds_server.translate.gateway import TRANSPARENT, GatewayListener
from xds_server.translate.gateway_values import Cidr
from xds_server.translate.listeners import gateway_listener
from xds_server.translate.node_metadata import ACCESS_LOGS, GATEWAY_ADDRESS, GATEWAY_PORT, NAMESPACES
from xds_server.translate.translate import translate
from xds_server.translate.upstream_log import CEL_EXTENSION, upstream_log
from xds_server.xds.cache import Derived
from xds_server.xds.resource import Resource
from xds_server.xds.snapshot import Snapshot
from xds_server.xds.types import LISTENER


@pytest.mark.parametrize("port", [8081.0, "8081"])
def test_a_node_may_ask_for_a_gateway_port(port: object) -> None:
    assert view_of({GATEWAY_PORT: port}) == View(gateway_port=8081)
    assert view_of({}) == View()


@pytest.mark.parametrize(
    "port", [0.0, 65536.0, 80.5, -1.0, float("nan"), float("inf"), True, "http", "", [80.0], "9" * 5000]
)
def test_an_invalid_gateway_port_is_rejected_by_name(port: object) -> None:
    with pytest.raises(RequestError, match=GATEWAY_PORT):
        view_of({GATEWAY_PORT: port})


@pytest.mark.parametrize(("given", "meant"), [("127.0.0.1", "127.0.0.1"), ("0:0:0:0:0:0:0:1", "::1")])
def test_a_node_may_ask_for_a_gateway_address(given: str, meant: str) -> None:
    assert view_of({GATEWAY_ADDRESS: given}) == View(gateway_address=meant)


@pytest.mark.parametrize(
    "address",
    ["", "localhost", "127.0.0.1:80", "127.1", "fe80::1%eth0", 2130706433.0, True, ["127.0.0.1"], {}],
)
def test_an_invalid_gateway_address_is_rejected_by_name(address: object) -> None:
    with pytest.raises(RequestError, match=GATEWAY_ADDRESS):
        view_of({GATEWAY_ADDRESS: address})


def test_an_envoy_logs_if_its_bootstrap_and_its_extensions_allow_it() -> None:
    asked = {ACCESS_LOGS: "true"}
    assert view_of(asked, None, {CEL_EXTENSION}) == View(logs=True)
    assert view_of(asked) == view_of({}, None, {CEL_EXTENSION}) == View()
    assert view_of({ACCESS_LOGS: True}, None, {CEL_EXTENSION}) == View()


def test_a_view_that_logs_has_the_log_in_the_routers_of_requests() -> None:
    trusted = replace(TRANSPARENT, trusted_cidrs=(Cidr("10.0.0.0", 8),), upgrades=("websocket",))
    listener = gateway_listener(GatewayListener(name="gateway"), trusted, port=80)
    other = gateway_listener(GatewayListener(name="internal", port=81), trusted, port=80)
    base = Snapshot().updated([listener, other])
    logged = derive(base, View(gateway_port=8081, logs=True), None)
    for name, port in (("gateway", 8081), ("internal", 81)):
        message = listener_pb2.Listener.FromString(logged.of(LISTENER).resources[name].body)
        assert message.address.socket_address.port_value == port
        assert len(message.filter_chains) == 2
        for chain in message.filter_chains:
            manager = HttpConnectionManager.FromString(chain.filters[0].typed_config.value)
            assert _router(manager.http_filters[-1]).upstream_log == [upstream_log()]
            [upgrade] = manager.upgrade_configs
            assert not _router(upgrade.filters[-1]).upstream_log
    assert derive(base, View(), None) is base


def _router(found: HttpFilter) -> router_pb2.Router:
    return router_pb2.Router.FromString(found.typed_config.value)


def test_a_node_may_ask_for_its_namespaces() -> None:
    assert view_of({NAMESPACES: "b, a"}) == View(namespaces=frozenset({"a", "b"}))


def test_a_node_is_sent_what_it_may_see_or_less() -> None:
    allowed = frozenset({"a", "b"})
    assert view_of({}, allowed) == View(namespaces=allowed)
    assert view_of({NAMESPACES: "a"}, allowed) == View(namespaces=frozenset({"a"}))
    with pytest.raises(RequestDeniedError) as rejection:
        view_of({NAMESPACES: "a,c,d,e,f"}, allowed)
    assert str(rejection.value) == (
        f"node.metadata {NAMESPACES} requests c, d, e, which this client may not see"
    )


@pytest.mark.parametrize("wanted", ["", "a,,b", ",", 5.0, ["a"], True, {}, "a," * 9000 + "a"])
def test_an_invalid_list_of_namespaces_is_rejected_by_name(wanted: object) -> None:
    with pytest.raises(RequestError, match=NAMESPACES):
        view_of({NAMESPACES: wanted})


def _listener(port: int, address: str = "0.0.0.0") -> Resource:
    return gateway_listener(GatewayListener(addresses=(address,)), TRANSPARENT, port=port)


def test_a_node_can_have_a_gateway_port_of_its_own() -> None:
    snapshot = translate(Plan(), gateway_port=8080)
    assert derive(snapshot, View(), None) is snapshot
    other = derive(snapshot, View(9000), None)
    assert other == translate(Plan(), gateway_port=9000)
    found = other.get(names.LISTENER_KEY)
    assert found == _listener(9000)
    assert found
    assert listener_pb2.Listener.FromString(found.body).address.socket_address.port_value == 9000
    assert derive(Snapshot(), View(9000), None) == Snapshot()


def test_a_gateway_address_of_its_own_goes_with_any_port() -> None:
    snapshot = translate(Plan(), gateway_port=8080)
    for view, wanted in (
        (View(gateway_address="127.0.0.1"), _listener(8080, "127.0.0.1")),
        (View(gateway_port=9000, gateway_address="127.0.0.1"), _listener(9000, "127.0.0.1")),
    ):
        shown = derive(snapshot, view, None)
        assert shown.get(names.LISTENER_KEY) == wanted
        assert dangling(shown) == []
    socket = listener_pb2.Listener.FromString(wanted.body).address.socket_address
    assert (socket.address, socket.port_value) == ("127.0.0.1", 9000)


def test_a_listener_of_its_own_is_the_same_one_after_each_commit() -> None:
    snapshot = translate(Plan(), gateway_port=8080)
    first = derive(snapshot, View(9000), None)
    again = derive(snapshot.updated([]), View(9000), Derived(snapshot, first))
    assert again.of(names.LISTENER_KEY.type_url) is first.of(names.LISTENER_KEY.type_url)


@given(worlds.histories(), st.sets(st.sampled_from(["a", "b", "none"]), min_size=1))
def test_a_limited_view_is_after_every_step_what_it_would_be_from_scratch(
    history: list[list[Change]], namespaces: set[str]
) -> None:
    view = View(namespaces=frozenset(namespaces))
    pipeline = pipeline_of()
    before: Derived | None = None
    for batch in history:
        base = pipeline.step(batch, now=0.0).snapshot
        shown = derive(base, view, before)
        assert shown == derive(base, view, None)
        assert shown.versions() == derive(base, view, None).versions()
        found = {r.key for of_type in shown.types.values() for r in of_type.resources.values()}
        assert found == {
            r.key
            for of_type in base.types.values()
            for r in of_type.resources.values()
            if not r.scope or r.scope in namespaces
        }
        assert dangling(shown) == []
        before = Derived(base, shown)
