"""Options as checked values."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from xds_server.base.address import Address, parse_address
from xds_server.base.errors import UsageError
from xds_server.cli.options import cluster_domains_of
from xds_server.core.layers import PolicyFile
from xds_server.server.config import PeersConfig, Security, ServeConfig, SourceConfig, TlsFiles


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


@pytest.mark.parametrize("domain", ["", "local_domain", "cluster.local:53", "*.internal"])
def test_a_bad_cluster_domain_names_its_option(domain: str) -> None:
    with pytest.raises(UsageError, match=r"--cluster-domain .* is not a domain name, such as example\."):
        cluster_domains_of(["cluster.local", domain])


def test_cluster_domains_are_compared_as_dns_does() -> None:
    assert cluster_domains_of(["Example.Internal.", "example.internal", "a.b"]) == ("example.internal", "a.b")
    assert cluster_domains_of(None) == ("cluster.local",)


def test_files_and_a_cluster_exclude_each_other() -> None:
    with pytest.raises(UsageError, match="one of the two"):
        SourceConfig(manifests=(Path("a"),), kubeconfig=Path("b"))


def test_credentials_may_be_sent_with_tls_or_if_that_is_said() -> None:
    def config(**said: Any) -> ServeConfig:
        address = Address("127.0.0.1", 0)
        return ServeConfig(
            source=SourceConfig(), xds_address=address, admin_address=address, http_address=address, **said
        )

    file = PolicyFile("the policy file p.yaml", {"percent": "5"})
    files = TlsFiles(certificate=Path("a"), key=Path("b"), client_ca=Path("c"))
    assert config(policy=file).installation == replace(file, credentials=False)
    assert config(policy=file, plaintext_credentials=True).installation == file
    assert config(policy=file, security=Security(tls=files)).installation == file


def test_replicas_in_plain_text_need_loopback_or_a_word() -> None:
    loopback, anywhere = Address("127.0.0.1", 0), Address("0.0.0.0", 18083)

    def config(address: Address, **said: Any) -> ServeConfig:
        peers = PeersConfig(peers=(Address("replicas", 18083),), address=address)
        return ServeConfig(
            source=SourceConfig(),
            xds_address=loopback,
            admin_address=loopback,
            http_address=loopback,
            peers=peers,
            **said,
        )

    files = TlsFiles(certificate=Path("a"), key=Path("b"), client_ca=Path("c"))
    config(loopback)
    config(anywhere, insecure=True)
    config(anywhere, security=Security(tls=files))
    with pytest.raises(UsageError, match=r"--peer-address 0\.0\.0\.0:18083 is not on loopback"):
        config(anywhere)
