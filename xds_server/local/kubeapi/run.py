"""The embedded API as a program: ``xds-shadow kube``."""

import asyncio
import json
import signal
from contextlib import ExitStack
from pathlib import Path

import structlog

from xds_server.base.address import Address
from xds_server.base.errors import UsageError
from xds_server.base.files import replace_file
from xds_server.base.memory import expect_many_objects
from xds_server.local.kubeapi.files import Directory
from xds_server.local.kubeapi.kubeconfig import write_kubeconfig
from xds_server.local.kubeapi.server import EmbeddedApi
from xds_server.local.kubeapi.store import Store

_log = structlog.stdlib.get_logger(__name__)


async def run(
    *,
    data: Path | None,
    listen: Address,
    kubeconfig: Path | None = None,
    ready_file: Path | None = None,
    insecure: bool = False,
) -> None:
    """Serve until SIGTERM or SIGINT. Without `data`, objects are kept in memory only.

    `ready_file` is written once requests are served and has the address: ``{"kube_address":
    "127.0.0.1:8001"}``.

    Raises:
        UsageError: the address is not loopback, and `insecure` is not set.
        XdsShadowError: the address, the directory or a file cannot be used.
    """
    local = listen.is_loopback
    if not local and not insecure:
        raise UsageError(
            f"--listen: {listen.host} is not a loopback address,"
            " and every client that can connect has full access; to allow this, add --insecure"
        )
    expect_many_objects()
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, stopping.set)
    with ExitStack() as stack:
        store = stack.enter_context(Directory(data)).open_store() if data else Store()
        async with EmbeddedApi(store, address=listen, any_host=not local) as api:
            if kubeconfig:
                write_kubeconfig(kubeconfig, api.url)
            if ready_file:
                replace_file(ready_file, json.dumps({"kube_address": str(api.address)}).encode())
            _log.info(
                "embedded API started",
                url=api.url,
                data=str(data) if data else "in memory",
                kubeconfig=str(kubeconfig) if kubeconfig else None,
            )
            await stopping.wait()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.remove_signal_handler(each)
