"""The doors that the forms go through: an Envoy's listener each, with what it does to every request."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from tests.envoy.forms.arrival import Arrival, by_form
from tests.envoy.forms.backend import Backend
from tests.envoy.forms.client import Http1, send
from tests.envoy.forms.forms import FORMS, GRPC_HOST, HOST, Form, Outcome
from tests.envoy.scenarios.stage import BINARIES
from tests.support import objects
from tests.support.own_listener import OwnEnvoy, Surroundings
from tests.support.waiting import eventually
from xds_server.base.address import Address
from xds_server.local.demo.control_plane import ControlPlane
from xds_server.local.demo.envoy import Envoy
from xds_server.local.demo.fleet import reserved_ports
from xds_server.translate.bootstrap import BootstrapOptions
from xds_server.xds.stream_events import Variant

_PROBE: Final = Http1((f"GET / HTTP/1.1\r\nhost: {HOST}\r\n\r\n".encode(),))
_HOSTS: Final = "xds-shadow.io/hosts"


@dataclass(frozen=True)
class Door:
    """A kind of listener. `every` is what is different with every request behind it."""

    name: str
    secure: bool
    every: frozenset[str]

    def outcome(self, form: Form) -> Outcome:
        """What becomes of a form behind this door."""
        return form.gateway if self is GATEWAY and form.gateway else form.outcome

    def mirrored(self) -> set[str]:
        """The names of the forms that arrive at the canary."""
        return {form.name for form in FORMS if self.outcome(form).canary is not None}


OWN: Final = Door(
    name="own listener",
    secure=True,
    every=frozenset(
        (
            "+ x-forwarded-for: ADDRESS",
            "+ x-forwarded-proto: https",
            "+ x-envoy-external-address: ADDRESS",
            "+ x-request-id: UUID",
        )
    ),
)
GATEWAY: Final = Door(
    name="gateway",
    secure=False,
    every=OWN.every - {"+ x-forwarded-proto: https"} | {"+ x-forwarded-proto: http"},
)
DOORS: Final = (OWN, GATEWAY)


@dataclass(frozen=True)
class Seen:
    """What became of all forms: what the client was answered, what arrived at the Service and the canary, by
    the name of the form."""

    answered: dict[str, int]
    service: dict[str, list[Arrival]]
    canary: dict[str, list[Arrival]]


def world(stable: Backend, canary: Backend) -> list[objects.Document]:
    """Two Services with a canary each, of which one speaks HTTP/2."""
    found = [objects.namespace()]
    for name, port, host in (("forms", "http", HOST), ("calls", "grpc", GRPC_HOST)):
        ports = [{"name": port, "port": 80, "targetPort": port}]
        labels = {"app": f"{name}-canary"}
        found += [
            objects.service(name, ports=ports, annotations={_HOSTS: host}),
            *objects.endpoint_slice(name, [(f"{name}-1", stable.address)], port_name=port),
            objects.canary(f"{name}-canary", shadow_of=name),
            objects.pod(f"{name}-canary-1", canary.address, labels=labels, port_name=port),
        ]
    return found


async def walk(
    door: Door,
    version: str,
    variant: Variant,
    *,
    control_plane: ControlPlane,
    around: Surroundings,
    backends: tuple[Backend, Backend],
) -> Seen:
    """Start an Envoy with this door and send every form through it, one after the other. `backends` are the
    Service's and the canary's."""
    stable, canary = backends
    stable.arrivals.clear()
    canary.arrivals.clear()
    async with _opened(door, version, variant, control_plane, around) as envoy:
        at = await _routed(envoy, door)
        answered = {form.name: await send(form.request, at, secure=door.secure) for form in FORMS}
        with contextlib.suppress(AssertionError):  # the test of a form that did not arrive says so
            await eventually(lambda: door.mirrored() <= by_form(canary.arrivals).keys())
        # And those that should not have been, which Envoy had begun to mirror before the last.
        mirrored = sum((await envoy.stats(r"/shadow/.*upstream_rq_total$")).values())
        await eventually(lambda: len(canary.arrivals) >= mirrored, what=f"{mirrored} mirrored requests")
    return Seen(answered, by_form(stable.arrivals), by_form(canary.arrivals))


@contextlib.asynccontextmanager
async def _opened(
    door: Door, version: str, variant: Variant, control_plane: ControlPlane, around: Surroundings
) -> AsyncIterator[Envoy]:
    with reserved_ports(1) as (port,):
        options = BootstrapOptions(
            node_id=f"{door.name}-{version}-{variant}".replace(" ", "-"),
            mode=variant,
            xds_address=control_plane.xds_address,
            admin_port=0,
            gateway_port=port,
        )
        envoy = (
            OwnEnvoy(around.example(), options, around.directory, binary=BINARIES[version])
            if door is OWN
            else Envoy(options, around.directory, binary=BINARIES[version])
        )
        try:
            yield await envoy.start()
        finally:
            await envoy.stop()


async def _routed(envoy: Envoy, door: Door) -> Address:
    """Where its listener is, once a request is routed."""
    found: list[Address] = []

    async def routed() -> bool:
        at = await envoy.listening() if isinstance(envoy, OwnEnvoy) else envoy.gateway
        with contextlib.suppress(ConnectionRefusedError):
            if at is not None and await send(_PROBE, at, secure=door.secure) == 200:
                found.append(at)
        return bool(found)

    await eventually(routed, what=f"routes of {envoy.id}")
    return found[0]
