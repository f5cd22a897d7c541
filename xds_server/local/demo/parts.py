"""The demo's parts as separate programs, for `docker-compose.yml`: ``python3 -m
xds_server.local.demo.parts``.

In a cluster, the kubelet runs Pods and controllers publish their addresses, and clients send requests. Here,
each of these is a container that logs what it observes.
"""

import argparse
import asyncio
import contextlib
import itertools
import signal
import socket
import sys
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

import aiohttp

from xds_server.base.address import Address, parse_address
from xds_server.base.errors import XdsShadowError
from xds_server.local.demo.api import Api
from xds_server.local.demo.backend import Backend
from xds_server.local.demo.stage import documents, example_manifests
from xds_server.local.demo.traffic import Clients

_EVERY_S = 1.0
_REQUESTS_PER_S = 20


class Gateway(NamedTuple):
    """The gateway of an Envoy."""

    id: str
    gateway: Address


async def backend(arguments: argparse.Namespace) -> None:
    """A version of the application; logs how many requests from clients and how many mirrored requests it
    received."""
    it = await Backend(arguments.name, arguments.listen, remember=False).start()
    try:
        await _log_changes(lambda: f"requests: {it.live} from clients, {it.mirrored} mirrored")
    finally:
        await it.stop()


async def pods(arguments: argparse.Namespace) -> None:
    """Creates the example's objects, and the Pods and EndpointSlices that a cluster would create."""
    api, known = Api(arguments.api), None
    while True:
        try:
            found = await _resolved(arguments.stable), await _resolved(arguments.canary)
            if found != known or not await api.has_pods():
                for document in documents(example_manifests()):
                    await api.create(document)
                await api.add_pods(*found)
                known = found
                print(f"the stable Pod is at {found[0]}, the canary at {found[1]}", flush=True)
        except (OSError, aiohttp.ClientError, XdsShadowError) as error:
            print(f"retrying: {error}", flush=True)
        await asyncio.sleep(_EVERY_S)


async def clients(arguments: argparse.Namespace) -> None:
    """A low load through all gateways in turn, once they serve; logs which version responded."""
    gateways = [Gateway(each.host, each) for each in arguments.gateway]
    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
        for gateway in gateways:
            await _until_serving(gateway, session)
        it = Clients(session)

        async def send() -> None:
            for gateway in itertools.cycle(gateways):
                await it.send(gateway)
                await asyncio.sleep(1 / _REQUESTS_PER_S)

        def summary() -> str:
            answers = ", ".join(
                f"{it.answers[name]} from the {name} version" for name in ("stable", "canary")
            )
            return f"responses: {answers}; failed: {it.failures.total()} {dict(it.failures) or ''}".rstrip()

        group.create_task(send(), name="clients-send")
        group.create_task(_log_changes(summary), name="clients-log")


async def _until_serving(gateway: Gateway, session: aiohttp.ClientSession) -> None:
    first = Clients(session)
    while not first.answers:
        await first.send(gateway)
        await asyncio.sleep(1 / _REQUESTS_PER_S)


async def _log_changes(what: Callable[[], str]) -> None:
    """Print the line when it has changed, at most once per second."""
    last = ""
    while True:
        if (now := what()) != last:
            print(now, flush=True)
            last = now
        await asyncio.sleep(_EVERY_S)


async def _resolved(address: Address) -> Address:
    found = await asyncio.get_running_loop().getaddrinfo(address.host, address.port, family=socket.AF_INET)
    return Address(str(found[0][4][0]), address.port)


def _parser() -> argparse.ArgumentParser:
    def address(text: str) -> Address:
        return parse_address(text, option="address")

    parser = argparse.ArgumentParser(prog="python3 -m xds_server.local.demo.parts", description=__doc__)
    parts = parser.add_subparsers(required=True, metavar="PART")

    def part(run: Callable[[argparse.Namespace], Coroutine[Any, Any, None]]) -> argparse.ArgumentParser:
        added = parts.add_parser(run.__name__, help=run.__doc__)
        added.set_defaults(run=run)
        return added

    one = part(backend)
    one.add_argument("name", help="stable or canary; the name in responses")
    one.add_argument("--listen", type=address, required=True, metavar="HOST:PORT")
    one = part(pods)
    one.add_argument("--api", type=address, required=True, metavar="HOST:PORT")
    one.add_argument("--stable", type=address, required=True, metavar="HOST:PORT")
    one.add_argument("--canary", type=address, required=True, metavar="HOST:PORT")
    one = part(clients)
    one.add_argument("gateway", type=address, nargs="+", metavar="HOST:PORT")
    return parser


async def _until_stopped(work: Coroutine[Any, Any, None]) -> None:
    running = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, running.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await running


def main() -> int:
    """Run the part until it ends or receives a signal."""
    arguments = _parser().parse_args()
    asyncio.run(_until_stopped(arguments.run(arguments)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
