"""Under which names the page is answered."""

import pytest

from xds_server.server.hosts import is_ours

NAMES = {"shadows.example.com", "10.0.0.9"}


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST:18081",
        "localhost.",
        "127.0.0.1",
        "127.0.0.1:18081",
        "127.9.9.9:1",
        "[::1]",
        "[::1]:18081",
        "10.0.0.5:18081",
        "[::ffff:10.0.0.5]:18081",
        "shadows.example.com",
        "Shadows.Example.com.:443",
        "10.0.0.9",
    ],
)
@pytest.mark.parametrize("listening", ["10.0.0.5", "::ffff:10.0.0.5"])
def test_its_own_names_and_addresses_are(host: str, listening: str) -> None:
    assert is_ours(host, listening, NAMES)


@pytest.mark.parametrize(
    "host",
    [
        "",
        ":80",
        "evil.example",
        "evil.example:18081",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "localhost@evil.example",
        "10.0.0.6",
        "[fe80::1]:80",
        "0x7f000001",
        "xshadows.example.com",
        "example.com",
    ],
)
def test_others_are_not(host: str) -> None:
    assert not is_ours(host, "10.0.0.5", NAMES)


def test_a_zone_is_no_part_of_an_address() -> None:
    assert is_ours("[fe80::1]:80", "fe80::1%eth0", ())
