"""The large cluster as a process of its own: an embedded Kubernetes API in memory, which changes on command.

``python -m bench.cluster NAMESPACES SERVICES KUBECONFIG`` prints a line of JSON when it serves, and then
takes lines ``churn RATE SECONDS``: so many EndpointSlices a second get another address, spread over all
Services; the address and the moment of every twentieth are printed, to be looked for at the other end.
"""

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Final

from bench.objects import documents, endpoint_slice, service_of
from xds_server.base.memory import expect_many_objects, keep_what_is_there
from xds_server.local.kubeapi.kubeconfig import write_kubeconfig
from xds_server.local.kubeapi.resources import RESOURCES
from xds_server.local.kubeapi.server import EmbeddedApi
from xds_server.local.kubeapi.store import Store

PROBE_EVERY: Final = 20
"""Of the changes, one in so many is a probe. Probes go to Services of their own, the first of all."""

PROBED: Final = 100
_SLICES: Final = next(each for each in RESOURCES if each.plural == "endpointslices")
_STRIDE: Final = 7919  # a prime: neighbours in time are no neighbours in the list


async def serve(namespaces: int, services: int, kubeconfig: Path) -> None:
    """Until standard input ends."""
    expect_many_objects()
    store = Store()
    store.load(documents(namespaces, services))
    keep_what_is_there()
    commands = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(commands), sys.stdin
    )
    async with EmbeddedApi(store) as api:
        write_kubeconfig(kubeconfig, api.url)
        say(serving=api.url)
        while line := (await commands.readline()).split():
            _, rate, seconds = line
            await churn(store, namespaces, services, rate=int(rate), seconds=int(seconds))


async def churn(store: Store, namespaces: int, services: int, *, rate: int, seconds: int) -> None:
    """Change `rate` slices a second, evenly; says when it has fallen behind by itself."""
    clock = asyncio.get_running_loop().time
    began, behind = clock(), 0.0
    for made in range(rate * seconds):
        due = began + made / rate
        await asyncio.sleep(max(0.0, due - clock()))
        behind = max(behind, clock() - due)
        probe = made % PROBE_EVERY == 0
        number = made // PROBE_EVERY % PROBED if probe else PROBED + made * _STRIDE % (services - PROBED)
        address = f"10.25{0 if probe else 1}.{made >> 8 & 255}.{made & 255}"
        store.update(_SLICES, endpoint_slice(number, namespaces, address))
        if probe:
            namespace, name = service_of(number, namespaces)
            say(probe=address, service=f"{namespace}/{name}", at=time.monotonic())
    say(churned=rate * seconds, behind=behind)


def say(**fact: object) -> None:
    """One line of JSON."""
    print(json.dumps(fact), flush=True)


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])))
