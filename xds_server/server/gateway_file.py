"""The file of ``--gateway``: read at the start, where a mistake in it is the end of the start, and looked at
again while the control plane runs, where the last good one stays.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

from xds_server.base.errors import UsageError
from xds_server.base.yaml_text import texts_of
from xds_server.core.problems import Problem
from xds_server.translate.gateway import TRANSPARENT, GatewayConfig, GatewayError, gateway_config

INVALID_GATEWAY: Final = "InvalidGateway"
_LARGEST: Final = 64 * 1024
_LOOK_S: Final = 0.5
"""A look is one read of a small file. A ConfigMap that is mounted is a chain of links, which no watch of the
file itself would see replaced."""

_log = structlog.get_logger("xds_shadow.gateway")


def read_gateway(path: Path | None, port: int = 0, before: GatewayConfig | None = None) -> GatewayConfig:
    """What the file says; without one the transparent profile. `port` is that of ``--gateway-port``, and
    `before` what the file replaces, if it does.

    Raises:
        UsageError: it cannot be read; file and key are named.
    """
    if path is None:
        return TRANSPARENT
    option = f"--gateway {path}"
    try:
        found = gateway_config(texts_of(path, option, _LARGEST))
        found.check_ports(port)
        if before is not None:
            found.check_change(before, port)
    except GatewayError as error:
        raise UsageError(f"{option}: {error}") from error
    if found == TRANSPARENT and path.stat().st_size == 0:  # half of a write, or the disk was full
        raise UsageError(f"{option}: it is empty; for the defaults write profile: transparent")
    return found


async def follow_gateway(
    path: Path,
    known: GatewayConfig,
    found: Callable[[GatewayConfig, tuple[Problem, ...]], None],
    *,
    port: int = 0,
) -> None:
    """Call `found` whenever the file, of which `known` was read, says something else, with the last good
    configuration and with what is wrong now. `port` is as for `read_gateway`. Ends only when it is
    cancelled."""
    taken: _Look = (known, None)
    before = taken
    while True:
        await asyncio.sleep(_LOOK_S)
        look = await asyncio.to_thread(_look, path, port, known)
        # Twice the same: an editor that empties a file before it writes must not switch the profile.
        look, before = (look if look == before else taken), look
        if look == taken:
            continue
        taken = look
        known = look[0] or known
        found(known, _problems(path, look[1]))


_Look = tuple[GatewayConfig | None, str | None]


def _look(path: Path, port: int, known: GatewayConfig) -> _Look:
    """What the file says, or why it cannot be used instead of what is `known`."""
    try:
        return read_gateway(path, port, known), None
    except UsageError as error:
        return None, str(error)


def _problems(path: Path, wrong: str | None) -> tuple[Problem, ...]:
    if wrong is None:
        _log.info("gateway file read", path=str(path))
        return ()
    message = f"{wrong}{'' if wrong.endswith('?') else '.'} The last good configuration of the gateway stays."
    _log.error("gateway file cannot be used; the last good one stays", problem=wrong)
    return (Problem("", INVALID_GATEWAY, message, str(path)),)
