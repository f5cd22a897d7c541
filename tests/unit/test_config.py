"""Options as checked values."""

from pathlib import Path

import pytest

from xds_server.base.address import Address, parse_address
from xds_server.base.errors import UsageError
from xds_server.config import SourceConfig


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
