"""Ports for Envoys that listen at every address."""

import socket

import pytest

from xds_server.local.demo.fleet import reserved_ports


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.5", ""])
def test_no_other_program_gets_the_port_at_any_address(host: str) -> None:
    with (
        reserved_ports(1) as [port],
        socket.socket() as other,
        pytest.raises(OSError, match="Address already in use"),
    ):
        other.bind((host, port))


@pytest.mark.parametrize("host", ["127.0.0.1", ""])
def test_envoy_can_listen_on_the_port(host: str) -> None:
    with reserved_ports(1) as [port], socket.socket() as envoy:
        envoy.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        envoy.bind((host, port))
        envoy.listen()
        with socket.create_connection(("127.0.0.1", port)):
            envoy.accept()[0].close()
