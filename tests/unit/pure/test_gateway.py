"""The gateway file: every key, both profiles, and what is rejected by its key."""

import contextlib
import re
from dataclasses import fields
from typing import Any

import pytest
import yaml
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_pb2
from envoy.extensions.access_loggers.stream.v3 import stream_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2
from hypothesis import given
from hypothesis import strategies as st

from xds_server.translate.access_log import ACCESS_LOG
from xds_server.translate.gateway import (
    FIELDS,
    HARDENED,
    TRANSPARENT,
    AccessLog,
    GatewayConfig,
    GatewayError,
    GatewayListener,
    OtherMethods,
    OtherUpgrades,
    Profile,
    Underscores,
    gateway_config,
)
from xds_server.translate.gateway_values import Cidr
from xds_server.translate.listeners import other_tokens
from xds_server.translate.translate import frame
from xds_server.xds.types import LISTENER, ROUTE

MOST_REGEX = 100
"""What Envoy 1.36 admits as the size of a regular expression's program."""


def read(text: str) -> GatewayConfig:
    """The file with this text, read as the program does: every scalar is a text."""
    return gateway_config(yaml.load(text, Loader=yaml.BaseLoader))  # noqa: S506 - makes texts only


def listener_of(gateway: GatewayConfig, port: int = 8080) -> listener_pb2.Listener:
    [found] = [each for each in frame(port, gateway) if each.key.type_url == LISTENER]
    return listener_pb2.Listener.FromString(found.body)


def managers_of(gateway: GatewayConfig) -> list[Any]:
    return [
        http_connection_manager_pb2.HttpConnectionManager.FromString(chain.filters[0].typed_config.value)
        for chain in listener_of(gateway).filter_chains
    ]


def test_an_empty_file_is_the_transparent_profile() -> None:
    assert read("") == read("{}") == read("profile: transparent") == TRANSPARENT
    assert (
        GatewayConfig(
            profile=Profile.TRANSPARENT,
            normalize_paths=False,
            header_underscores=Underscores.ALLOW,
            keep_request_id=True,
            http10=True,
            http1_trailers=True,
            other_methods=OtherMethods.ALLOW,
            upgrades=("websocket",),
            other_upgrades=OtherUpgrades.IGNORE,
            stream_idle_timeout=None,
            connection_idle_timeout=3600,
            request_headers_timeout=10,
            trusted_hops=0,
            trusted_cidrs=(),
            access_log=AccessLog.OFF,
            listeners=(GatewayListener(name="gateway", port=None, addresses=("0.0.0.0",)),),
        )
        == TRANSPARENT
    )


def test_the_hardened_profile_is_of_envoys_practices_for_edges() -> None:
    assert read("profile: hardened") == HARDENED
    assert (
        GatewayConfig(
            profile=Profile.HARDENED,
            normalize_paths=True,
            header_underscores=Underscores.REJECT,
            keep_request_id=False,
            http10=False,
            http1_trailers=False,
            other_methods=OtherMethods.REJECT,
            upgrades=("websocket",),
            other_upgrades=OtherUpgrades.REJECT,
            stream_idle_timeout=300,
            connection_idle_timeout=3600,
            request_headers_timeout=10,
            trusted_hops=0,
            trusted_cidrs=(),
            access_log=AccessLog.OFF,
            listeners=(GatewayListener(),),
        )
        == HARDENED
    )


EVERYTHING = """
profile: hardened
normalize-paths: false
header-underscores: drop
keep-request-id: true
http10: true
http1-trailers: true
other-methods: allow
upgrades: [spdy/3.1, WebSocket, websocket]
other-upgrades: ignore
stream-idle-timeout: 90s
connection-idle-timeout: none
request-headers-timeout: 1500ms
trusted-hops: 2
trusted-cidrs: [10.0.0.0/8, "fd00::/8", 192.0.2.7]
access-log: json
listeners:
- name: gateway
  port: 9000
  addresses: ["::", 192.0.2.1, "0:0::1"]
"""


def test_every_field_can_be_set() -> None:
    assert set(yaml.safe_load(EVERYTHING)) == {field.key for field in FIELDS}
    assert read(EVERYTHING) == GatewayConfig(
        profile=Profile.HARDENED,
        normalize_paths=False,
        header_underscores=Underscores.DROP,
        keep_request_id=True,
        http10=True,
        http1_trailers=True,
        other_methods=OtherMethods.ALLOW,
        upgrades=("spdy/3.1", "websocket"),
        other_upgrades=OtherUpgrades.IGNORE,
        stream_idle_timeout=90,
        connection_idle_timeout=None,
        request_headers_timeout=1.5,
        trusted_hops=2,
        trusted_cidrs=(Cidr("10.0.0.0", 8), Cidr("fd00::", 8), Cidr("192.0.2.7", 32)),
        access_log=AccessLog.JSON,
        listeners=(GatewayListener(name="gateway", port=9000, addresses=("::", "192.0.2.1", "::1")),),
    )


def test_the_former_name_of_a_value_is_accepted() -> None:
    assert read("other-upgrades: refuse") == read("other-upgrades: reject")


def test_the_table_has_every_field_of_the_configuration() -> None:
    assert [field.key.replace("-", "_") for field in FIELDS] == [each.name for each in fields(GatewayConfig)]


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.key)
def test_a_field_set_to_its_default_changes_nothing(field: Any) -> None:
    for profile, default in ((TRANSPARENT, field.transparent), (HARDENED, field.hardened)):
        said = {"profile": profile.profile.value, field.key: default}
        assert gateway_config(said) == profile


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- profile", "write keys and values, such as profile: transparent"),
        ("hardened", "write keys and values, such as profile: transparent"),
        ("profil: hardened", "'profil' is not a key of a gateway file; did you mean profile?"),
        (
            "Stream_Idle_Timeout: 5m",
            "'Stream_Idle_Timeout' is not a key of a gateway file; did you mean stream-",
        ),
        ("tls: yes", "'tls' is not a key of a gateway file; known are profile, normalize-paths, "),
        ("profile: Hardened", "profile: 'Hardened' is none of transparent, hardened"),
        ("profile: [hardened]", "profile: write one value, not a list or a mapping"),
        ("profile:", "profile: '' is none of transparent, hardened"),
        ("normalize-paths: yes", "normalize-paths: 'yes' is neither true nor false"),
        ("normalize-paths: {a: b}", "normalize-paths: write one value, not a list or a mapping"),
        ("header-underscores: keep", "header-underscores: 'keep' is none of allow, drop, reject"),
        ("keep-request-id: 'True'", "keep-request-id: 'True' is neither true nor false"),
        ("http10: on", "http10: 'on' is neither true nor false"),
        ("http1-trailers: both", "http1-trailers: 'both' is neither true nor false"),
        ("other-methods: any", "other-methods: 'any' is none of allow, reject"),
        ("upgrades: websocket", "upgrades: write a list, such as [websocket]"),
        (
            "upgrades: [web socket]",
            "upgrades[0]: 'web socket' is not a protocol for Upgrade; write websocket",
        ),
        ("upgrades: [websocket, CONNECT]", "upgrades[1]: 'CONNECT' would make the gateway an open proxy"),
        ("upgrades: [connect-udp]", "upgrades[0]: 'connect-udp' would make the gateway an open proxy"),
        ("upgrades: [H2C]", "upgrades[0]: 'h2c' is never forwarded by Envoy; leave it out"),
        (f"upgrades: [{'a' * 33}]", f"upgrades[0]: '{'a' * 33}' is not a protocol for Upgrade"),
        ("upgrades: ['*']", "upgrades[0]: '*' is not a protocol for Upgrade; write websocket"),
        ("upgrades: [10.0.0.0/8]", "upgrades[0]: '10.0.0.0/8' is not a protocol for Upgrade"),
        ("upgrades: [a, b, c, d, e, f, g, h, i]", "upgrades: has 9 entries, and 8 are the most"),
        ("other-upgrades: drop", "other-upgrades: 'drop' is none of ignore, reject"),
        (
            "stream-idle-timeout: 300",
            "stream-idle-timeout: '300' is not a duration from 100ms to 24h; write 30s, 5m, 1h or",
        ),
        (
            "stream-idle-timeout: 0s",
            "stream-idle-timeout: '0s' is not a duration from 100ms to 24h; write 30s, 5m, 1h or none",
        ),
        ("stream-idle-timeout: 25h", "stream-idle-timeout: '25h' is not a duration from 100ms to 24h"),
        (
            "connection-idle-timeout: -1s",
            "connection-idle-timeout: '-1s' is not a duration from 100ms to 24h",
        ),
        (
            "connection-idle-timeout: 1.5h",
            "connection-idle-timeout: '1.5h' is not a duration from 100ms to 24h",
        ),
        (
            "request-headers-timeout: off",
            "request-headers-timeout: 'off' is not a duration from 100ms to 24h",
        ),
        (
            "request-headers-timeout: 1ms",
            "request-headers-timeout: '1ms' is not a duration from 100ms to 24h",
        ),
        ("trusted-hops: all", "trusted-hops: 'all' is not a number from 0 to 10"),
        ("trusted-hops: -1", "trusted-hops: '-1' is not a number from 0 to 10"),
        ("trusted-hops: 11", "trusted-hops: '11' is not a number from 0 to 10"),
        (
            "{trusted-hops: 0, trusted-cidrs: [10.0.0.0/8]}",
            "trusted-hops: 0 trusts no peer, but trusted-cidrs",
        ),
        ("trusted-cidrs: 10.0.0.0/8", "trusted-cidrs: write a list, such as [10.0.0.0/8]"),
        (
            "trusted-cidrs: [10.0.0.1/8]",
            "trusted-cidrs[0]: '10.0.0.1/8' names a host in a network; write 10.0.0.0/8",
        ),
        (
            "trusted-cidrs: [10.0.0.0/8, lb]",
            "trusted-cidrs[1]: 'lb' is no network; write 10.0.0.0/8 or fd00::/8",
        ),
        ("trusted-cidrs: [10.0.0.0/33]", "trusted-cidrs[0]: '10.0.0.0/33' is no network"),
        (
            "trusted-cidrs: [10.0.0.0/0.255.255.255]",
            "trusted-cidrs[0]: '10.0.0.0/0.255.255.255' is no network",
        ),
        ("trusted-cidrs: ['fe80::%eth0/64']", "trusted-cidrs[0]: 'fe80::%eth0/64' is no network"),
        (
            "trusted-cidrs: ['::ffff:10.0.0.0/104']",
            "trusted-cidrs[0]: '::ffff:10.0.0.0/104' is IPv4 written as IPv6; write 10.0.0.0/8",
        ),
        ("trusted-cidrs: [[10.0.0.0/8]]", "trusted-cidrs[0]: write one value, not a list or a mapping"),
        ("access-log: stdout", "access-log: 'stdout' is none of off, json"),
        ("listeners: {name: gateway}", "listeners: write a list, such as - name: gateway"),
        ("listeners: [gateway]", "listeners[0]: write keys and values, such as name, port and addresses"),
        (
            "listeners: [{adresses: []}]",
            "listeners[0]: 'adresses' is not a key of a gateway file; did you mean addresses?",
        ),
        ("listeners: [{addresses: []}]", 'listeners[0]: addresses: is empty; write ["::"] for every address'),
        ("listeners: [{addresses: [localhost]}]", "listeners[0]: addresses[0]: 'localhost' is no IP address"),
        *(
            (f"listeners: [{{addresses: ['{address}']}}]", f"listeners[0]: addresses[0]: '{address}' {wrong}")
            for address, wrong in (
                ("::ffff:127.0.0.1", "is IPv4 written as IPv6; write 127.0.0.1"),
                ("::ffff:0:0", "is IPv4 written as IPv6; write 0.0.0.0"),
                ("fe80::1", "needs an interface, which is not supported; write ::"),
                ("224.0.0.1", "is not an address to listen on; write 0.0.0.0 or ::"),
                ("ff02::1", "is not an address to listen on; write 0.0.0.0 or ::"),
                ("255.255.255.255", "is not an address to listen on; write 0.0.0.0 or ::"),
            )
        ),
        (
            'listeners: [{addresses: ["::1", "0:0::1"]}]',
            "listeners[0]: addresses: has an address twice; write",
        ),
        ("listeners: [{port: 0}]", "listeners[0]: port: '0' is not a number from 1 to 65535"),
        ("listeners: [{port: 65536}]", "listeners[0]: port: '65536' is not a number from 1 to 65535"),
        (
            "listeners: [{name: In_ternal, port: 1}]",
            "listeners[0]: name: 'In_ternal' is not a name; write lower-case letters,",
        ),
        (
            "listeners: [{name: internal}]",
            "listeners[0]: port: listener internal needs one; write port: 8081",
        ),
        ("listeners: [{}, {}]", "listeners: two have the name gateway; give each its own"),
        (
            "listeners: [{port: 81}, {name: b, port: 81}]",
            "listeners: two have the port 81; give each its own",
        ),
        (
            "listeners: [{name: internal, port: 81}]",
            "listeners: none is named gateway, so the port of --gateway-port would close; name one so",
        ),
        ("listeners: []", "listeners: is empty; write at least one, such as - name: gateway"),
    ],
)
def test_an_invalid_file_is_rejected_with_its_key(text: str, message: str) -> None:
    with pytest.raises(GatewayError) as rejection:
        read(text)
    assert str(rejection.value).startswith(message)


def test_a_network_that_stands_twice_is_one() -> None:
    [trusted, _] = listener_of(
        read("trusted-cidrs: [10.0.0.1, 10.0.0.0/8, 10.0.0.1/32, 10.0.0.0/8]")
    ).filter_chains
    ranges = trusted.filter_chain_match.direct_source_prefix_ranges
    assert [(each.address_prefix, each.prefix_len.value) for each in ranges] == [
        ("10.0.0.1", 32),
        ("10.0.0.0", 8),
    ]


ANYTHING = st.recursive(
    st.text(max_size=8) | st.sampled_from(["", "1", "true", "10.0.0.0/8", "::", "gateway", "1s"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "port", "x"]), inner)
    ),
    max_leaves=4,
)


@given(st.dictionaries(st.sampled_from([field.key for field in FIELDS]), ANYTHING) | ANYTHING)
def test_nothing_that_yaml_can_say_fails_otherwise(document: object) -> None:
    with contextlib.suppress(GatewayError):
        assert frame(8080, gateway_config(document))


def test_a_port_belongs_to_one_listener() -> None:
    gateway = read("listeners: [{}, {name: internal, port: 8081}]")
    gateway.check_ports(8080)
    with pytest.raises(
        GatewayError, match="listeners: gateway and internal have the port 8081, that of --gate"
    ):
        gateway.check_ports(8081)


def test_a_listener_has_the_port_of_the_option_unless_it_says_otherwise() -> None:
    resources = frame(8081)
    assert [(each.key.type_url, each.name) for each in resources] == [
        (LISTENER, "gateway"),
        (ROUTE, "gateway"),
    ]
    assert route_pb2.RouteConfiguration.FromString(resources[1].body).name == "gateway"
    assert listener_of(TRANSPARENT, 8081).address.socket_address.port_value == 8081
    assert listener_of(read("listeners: [{port: 9000}]"), 8081).address.socket_address.port_value == 9000


@pytest.mark.parametrize(
    ("addresses", "both"),
    [
        (["0.0.0.0"], [False]),
        (["::"], [True]),
        (["::", "0.0.0.0"], [False, False]),  # which has a socket of its own
        (["::1", "127.0.0.1"], [False, False]),
        (["192.0.2.1", "::"], [False, True]),
    ],
)
def test_every_address_is_listened_on_and_that_of_everything_by_both_families(
    addresses: list[str], both: list[bool]
) -> None:
    found = listener_of(gateway_config({"listeners": [{"addresses": addresses}]}))
    sockets = [found.address.socket_address]
    sockets += [each.address.socket_address for each in found.additional_addresses]
    assert [each.address for each in sockets] == addresses
    assert [each.ipv4_compat for each in sockets] == both
    assert {each.port_value for each in sockets} == {8080}


def test_only_peers_of_the_trusted_networks_are_trusted() -> None:
    [manager] = managers_of(TRANSPARENT)
    assert (manager.use_remote_address.value, manager.xff_num_trusted_hops) == (True, 0)
    [manager] = managers_of(read("trusted-hops: 2"))
    assert (manager.use_remote_address.value, manager.xff_num_trusted_hops) == (True, 2)
    gateway = read("trusted-cidrs: [10.0.0.0/8, '::1']")
    trusted, others = managers_of(gateway)
    assert (trusted.xff_num_trusted_hops, others.xff_num_trusted_hops) == (1, 0)
    assert others == managers_of(TRANSPARENT)[0]
    first, second = listener_of(gateway).filter_chains
    ranges = first.filter_chain_match.direct_source_prefix_ranges
    assert [(each.address_prefix, each.prefix_len.value) for each in ranges] == [
        ("10.0.0.0", 8),
        ("::1", 128),
    ]
    assert not second.HasField("filter_chain_match")


def test_the_access_log_has_every_field_and_is_off_unless_asked_for() -> None:
    [manager] = managers_of(TRANSPARENT)
    assert list(manager.access_log) == []
    [manager] = managers_of(read("access-log: json"))
    [log] = manager.access_log
    found = stream_pb2.StdoutAccessLog.FromString(log.typed_config.value).log_format.json_format
    assert dict(found.items()) == {name: form for name, form, _ in ACCESS_LOG}


def test_every_upgrade_but_those_named_is_ignored_or_rejected() -> None:
    [manager] = managers_of(read("upgrades: []"))
    assert list(manager.upgrade_configs) == []
    [regex] = [each.safe_regex.regex for each in manager.http_protocol_options.ignore_http_11_upgrade]
    assert re.fullmatch(regex, "websocket")
    [manager] = managers_of(HARDENED)
    assert not manager.HasField("http_protocol_options")
    assert [each.upgrade_type for each in manager.upgrade_configs] == ["websocket"]


TOKENS = st.from_regex(r"[a-z0-9.+/$|^-]{1,12}", fullmatch=True)


@given(st.lists(TOKENS, min_size=1, max_size=8), TOKENS, st.integers(0, 12), st.integers(0, 12))
def test_what_is_ignored_is_every_other_token_and_none_of_these(
    tokens: list[str], other: str, cut: int, more: int
) -> None:
    regexes = [re.compile(each) for each in other_tokens(sorted(set(tokens)))]
    candidates = {*tokens, other, "", *(each[:cut] + other[:more] for each in tokens)}
    for each in candidates:
        ignored = any(regex.fullmatch(each) for regex in regexes)
        assert ignored == (each not in tokens), each
        assert any(regex.fullmatch(each.upper()) for regex in regexes) == ignored


def test_no_expression_is_larger_than_the_oldest_envoy_admits() -> None:
    """A letter in both cases is one instruction; with (?i) k and s are three."""
    longest = [re.sub(r"\[(.)(?i:\1)\]", "a", each) for each in other_tokens(["k" * 32, "websocket"])]
    assert max(map(len, longest)) < MOST_REGEX / 2
    assert not [each for each in longest if "(?i)" in each]


def test_a_listener_keeps_its_name() -> None:
    before = read("listeners: [{}, {name: inner, port: 8081}]")
    for same in ("[{port: 8080}]", "[{name: inner, port: 8081}, {port: 9000}]", "[{}, {name: x, port: 1}]"):
        read(f"listeners: {same}").check_change(before, 8080)
    renamed = read("listeners: [{}, {name: outer, port: 8081}]")
    why = "listeners: outer has port 8081, at which inner listens; keep the name"
    with pytest.raises(GatewayError, match=why):
        renamed.check_change(before, 8080)
