"""Connects to the control plane: at an address, or through ``kubectl port-forward``."""

import contextlib
import re
import subprocess
from collections.abc import Iterator
from typing import Final

from xds_server.base.address import Address
from xds_server.base.errors import XdsShadowError
from xds_server.cli.options import server_address
from xds_server.cli.plugin.kubectl import Kubectl, binary
from xds_server.server.config import ADMIN_PORT

_FORWARDED: Final = re.compile(r"Forwarding from 127\.0\.0\.1:(\d+) ")


@contextlib.contextmanager
def control_plane(server: str | None, kubectl: Kubectl) -> Iterator[Address]:
    """The address of the control plane: `server`, or the local end of a port-forward.

    Raises:
        XdsShadowError: the port-forward fails; the message contains kubectl's.
    """
    if server is not None:
        yield server_address(server)
        return
    command = [binary(), *kubectl.command("port-forward", "deployment/xds-shadow", f":{ADMIN_PORT}")[1:]]
    forward = subprocess.Popen(  # noqa: S603 - no shell
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        yield _local_address(forward)
    finally:
        forward.terminate()
        forward.communicate()


def _local_address(forward: "subprocess.Popen[str]") -> Address:
    assert forward.stdout  # noqa: S101 - it is a pipe
    assert forward.stderr  # noqa: S101
    for line in forward.stdout:
        if found := _FORWARDED.match(line):
            return Address("127.0.0.1", int(found[1]))
    message = forward.stderr.read().strip()
    raise XdsShadowError(
        f"no port-forward to the control plane ({message}); give its --admin-address with --server"
    )
