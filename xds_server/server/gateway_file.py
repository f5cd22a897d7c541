"""The file of ``--gateway``.

An invalid file at the start is an error. While the control plane runs the file is read again and again; if it
becomes invalid, the last valid configuration stays in use.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

from xds_server.base.errors import UsageError
from xds_server.base.yaml_text import texts_of
from xds_server.core.conditions import NO_SUBJECT, Condition, Reason
from xds_server.translate.gateway import TRANSPARENT, GatewayConfig, GatewayError, gateway_config

_LARGEST: Final = 64 * 1024
_PAUSE_S: Final = 0.5
"""Between two reads. A mounted ConfigMap is replaced by changing a symbolic link, which a watch of
the file would not report."""

_log = structlog.stdlib.get_logger(__name__)


def read_gateway(path: Path | None, port: int = 0, before: GatewayConfig | None = None) -> GatewayConfig:
    """The configuration in the file, or the transparent profile without a file.

    Args:
        path: the file.
        port: the value of ``--gateway-port``.
        before: the configuration that the file replaces.

    Raises:
        UsageError: the file is invalid. The message has its path and the key.
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
    if found == TRANSPARENT and path.stat().st_size == 0:  # an incomplete write, or a full disk
        raise UsageError(f"{option}: the file is empty; for the defaults write profile: transparent")
    return found


async def follow_gateway(
    path: Path,
    known: GatewayConfig,
    found: Callable[[GatewayConfig, tuple[Condition, ...]], None],
    *,
    port: int = 0,
    pause: float = _PAUSE_S,
) -> None:
    """Call `found` with the last valid configuration and the problems whenever the content of the file
    changes. `known` is the configuration at the start; `port` is as for `read_gateway`. `pause` is how many
    seconds are between two reads. Runs until it is cancelled."""
    taken: _Look = (known, None)
    before = taken
    while True:
        await asyncio.sleep(pause)
        look = await asyncio.to_thread(_look, path, port, known)
        # Wait for two equal reads: an editor that empties the file before it writes must not change the
        # profile.
        look, before = (look if look == before else taken), look
        if look == taken:
            continue
        taken = look
        known = look[0] or known
        found(known, _problems(path, look[1]))


_Look = tuple[GatewayConfig | None, str | None]


def _look(path: Path, port: int, known: GatewayConfig) -> _Look:
    """The configuration in the file, or the reason why it cannot replace `known`."""
    try:
        return read_gateway(path, port, known), None
    except UsageError as error:
        return None, str(error)


def _problems(path: Path, wrong: str | None) -> tuple[Condition, ...]:
    if wrong is None:
        _log.info("gateway file reloaded", path=str(path))
        return ()
    message = (
        f"{wrong}{'' if wrong.endswith('?') else '.'} The last valid gateway configuration stays in use."
    )
    _log.error("gateway file rejected", problem=wrong)
    return (Condition(NO_SUBJECT, Reason.INVALID_GATEWAY, message, origin=str(path)),)
