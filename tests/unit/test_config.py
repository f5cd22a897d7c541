"""Options as checked values."""

from pathlib import Path

import pytest

from xds_server.ads.events import Node
from xds_server.app import gateway_port_of
from xds_server.base.address import Address, parse_address
from xds_server.base.errors import RequestError, UsageError
from xds_server.base.ids import NodeId
from xds_server.config import GATEWAY_PORT_METADATA, SourceConfig


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:18000", Address("127.0.0.1", 18000)),
        ("localhost:0", Address("localhost", 0)),
        ("[::1]:65535", Address("::1", 65535)),
    ],
)
def test_an_address_is_read_and_written_alike(text: str, address: Address) -> None:
    assert parse_address(text, option="--x") == address
    assert str(address) == text


@pytest.mark.parametrize(
    "text", ["", "18000", ":18000", "host:", "host:http", "::1:80", "host:65536", "[]:1", "h:-1"]
)
def test_a_bad_address_names_its_option(text: str) -> None:
    with pytest.raises(UsageError, match="--xds-address"):
        parse_address(text, option="--xds-address")


def test_files_and_a_cluster_exclude_each_other() -> None:
    with pytest.raises(UsageError, match="one of the two"):
        SourceConfig(manifests=(Path("a"),), kubeconfig=Path("b"))


def _node(port: object) -> Node:
    return Node(id=NodeId("a"), metadata={GATEWAY_PORT_METADATA: port})


@pytest.mark.parametrize("port", [8081.0, "8081"])
def test_a_node_may_ask_for_a_gateway_port(port: object) -> None:
    assert gateway_port_of(_node(port)) == 8081
    assert gateway_port_of(Node(id=NodeId("a"))) is None


@pytest.mark.parametrize(
    "port", [0.0, 65536.0, 80.5, -1.0, float("nan"), float("inf"), True, "http", "", [80.0], "9" * 5000]
)
def test_a_gateway_port_that_is_none_is_refused_by_name(port: object) -> None:
    with pytest.raises(RequestError, match=GATEWAY_PORT_METADATA):
        gateway_port_of(_node(port))
