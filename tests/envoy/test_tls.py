"""Real Envoys with mutual TLS to the control plane: certificates change under load, and no stream ends."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from tests.envoy.scenarios.stage import BINARIES
from tests.support import objects
from tests.support.backends import recorder
from tests.support.certificates import Authority
from tests.support.mounted import lay as mounted_volume
from tests.support.rig import Rig, rig
from tests.support.waiting import eventually
from xds_server.local.demo.control_plane import ControlPlane
from xds_server.local.demo.envoy import Envoy
from xds_server.translate.bootstrap import BootstrapOptions, BootstrapTls, sds_files

pytestmark = pytest.mark.envoy

ROTATIONS = 20
FIRST, LATER = "spiffe://example/first", "spiffe://example/later"
XDS = "cluster.xds-shadow."


Write = Callable[[Path, Mapping[str, bytes]], None]
"""Puts files into a directory, in place of those that are there."""


def one_by_one(directory: Path, contents: Mapping[str, bytes]) -> None:
    """Each is replaced in one step, so that between two of them they do not fit."""
    directory.mkdir(exist_ok=True)
    for name, content in contents.items():
        part = directory / "part"
        part.write_bytes(content)
        part.replace(directory / name)


@dataclass(frozen=True)
class Files:
    """Certificates as both sides have them mounted."""

    directory: Path
    authority: Authority
    client: BootstrapTls
    write: Write

    @property
    def server(self) -> tuple[str, ...]:
        """The control plane's options."""
        where = self.directory / "server"
        return (
            f"--tls-cert={where / 'tls.crt'}",
            f"--tls-key={where / 'tls.key'}",
            f"--tls-client-ca={where / 'ca.crt'}",
        )

    def rotate(self, client: str = LATER) -> None:
        """New certificates and keys for both sides."""
        sides = {
            "server": self.authority.issue(dns=["localhost"], ips=["127.0.0.1"]),
            "client": self.authority.issue(uris=[client]),
        }
        for name, each in sides.items():
            found = {"tls.key": each.key, "tls.crt": each.certificate, "ca.crt": self.authority.pem}
            self.write(self.directory / name, found)


def files(directory: Path, *, server_name: str = "localhost", write: Write = one_by_one) -> Files:
    where, sds = directory / "client", directory / "sds"
    tls = BootstrapTls(
        certificate=where / "tls.crt",
        key=where / "tls.key",
        ca=where / "ca.crt",
        server_name=server_name,
        sds=sds,
    )
    sds.mkdir()
    for name, text in sds_files(tls).items():
        (sds / name).write_text(text)
    found = Files(directory, Authority(), tls, write)
    found.rotate(FIRST)
    return found


@pytest.fixture(params=sorted(BINARIES))
def binary(request: pytest.FixtureRequest) -> Path | None:
    return BINARIES[request.param]


@pytest.mark.parametrize("write", [one_by_one, mounted_volume], ids=["files", "as the kubelet mounts them"])
async def test_certificates_change_under_load_and_no_stream_ends(
    tmp_path: Path, binary: Path | None, write: Write
) -> None:
    mounted = files(tmp_path, write=write)
    async with (
        recorder("stable") as stable,
        recorder("canary") as canary,
        rig(tmp_path, mounted.server, binary=binary, tls=mounted.client) as fleet,
    ):
        fleet.write("base.yaml", [objects.namespace(), objects.service()])
        fleet.write("addresses.yaml", objects.endpoint_slice("myapp", [("stable-1", stable.address)]))
        answered: list[bool] = []

        async def load(envoy: Envoy) -> None:
            while True:
                answer = await fleet.send(envoy)
                answered.append((answer.status, answer.backend) == (200, "stable"))

        pod = objects.pod("canary-1", canary.address)
        fleet.write("canary.yaml", [objects.canary(), pod])
        await fleet.until_shadow("Active")
        loads = [asyncio.create_task(load(envoy)) for envoy in fleet.envoys]
        taken = [
            await envoy.stat("cluster.xds-shadow.client_ssl_socket_factory.ssl_context_update_by_sds")
            for envoy in fleet.envoys
        ]
        for number in range(ROTATIONS):
            mounted.rotate()
            # A push over the streams that were there before.
            fleet.write("canary.yaml", [objects.canary(percent=f"{number + 1}"), pod])
            await eventually(partial(has_percent, fleet, f"{number + 1}"))
            await fleet.until_synced()
        for envoy, before in zip(fleet.envoys, taken, strict=True):
            await eventually(partial(took_more, envoy, before))
            # The main thread has a connection, and so has the worker, which logs requests.
            assert await envoy.stat(f"{XDS}upstream_cx_total") == 2
            assert await envoy.stat(f"{XDS}upstream_cx_destroy") == 0
            assert await envoy.stat("control_plane.connected_state") == 1
        for task in loads:
            task.cancel()
        await asyncio.gather(*loads, return_exceptions=True)
        assert answered
        assert all(answered)
        await only_later_certificates_are_taken(fleet, mounted)


async def has_percent(fleet: Rig, percent: str) -> bool:
    shadow = await fleet.shadow()
    return shadow is not None and shadow.percent == percent


async def took_more(envoy: Envoy, before: int) -> bool:
    return await envoy.stat("cluster.xds-shadow.client_ssl_socket_factory.ssl_context_update_by_sds") > before


async def only_later_certificates_are_taken(fleet: Rig, mounted: Files) -> None:
    """Another control plane at the same address, which knows the last certificates alone."""
    await fleet.control_plane.stop()
    clients = mounted.directory / "clients.yaml"
    clients.write_text(f"{LATER}: [staging]\n")
    mounted.rotate()
    (mounted.directory / "again").mkdir()
    again = ControlPlane(
        [f"--manifests={fleet.manifests}"],
        mounted.directory / "again",
        xds=fleet.control_plane.xds_address,
        extra=[*mounted.server, f"--tls-clients={clients}"],
    )
    fleet.control_plane = again
    try:
        await again.start()
        await fleet.until_synced()
    finally:
        await again.stop()


GROWS: Final = {
    "the control plane rejects its certificate": {
        "ssl.handshake",
        "upstream_cx_destroy_remote_with_active_rq",
    },
    "its certificate has expired": {"ssl.handshake", "upstream_cx_destroy_remote_with_active_rq"},
    "it speaks plain text": {"upstream_cx_destroy_remote_with_active_rq"},
    "it does not trust the control plane": {"ssl.fail_verify_error"},
    "the control plane has another name": {"ssl.fail_verify_san"},
    "the control plane speaks plain text": {"ssl.connection_error"},
}
"""What of an Envoy's statistics of the cluster grows, by what is wrong; docs/operate.md has it."""


async def _disconnected(envoy: Envoy) -> bool:
    """Envoy counts itself as connected from the start of a stream until the handshake fails."""
    return await envoy.stat("control_plane.connected_state") == 0


async def test_an_envoy_shows_why_its_handshake_fails(tmp_path: Path, binary: Path | None) -> None:
    (tmp_path / "manifests").mkdir()
    mounted = files(tmp_path)
    source = [f"--manifests={tmp_path / 'manifests'}"]
    (tmp_path / "plain").mkdir()
    protected = ControlPlane(source, tmp_path, extra=mounted.server)
    plain = ControlPlane(source, tmp_path / "plain")
    envoys: dict[str, Envoy] = {}
    try:
        await asyncio.gather(protected.start(), plain.start())
        for number, wrong in enumerate(GROWS):
            directory = tmp_path / f"{number}"
            directory.mkdir()
            options = BootstrapOptions(
                node_id=f"envoy-{number}",
                xds_address=plain.xds_address
                if wrong.endswith("plane speaks plain text")
                else protected.xds_address,
                admin_port=0,
                tls=None if wrong == "it speaks plain text" else client(directory, mounted, wrong),
            )
            envoys[wrong] = Envoy(options, directory, binary=binary)
        await asyncio.gather(*(envoy.start() for envoy in envoys.values()))
        for wrong, envoy in envoys.items():
            await eventually(partial(shows, envoy, GROWS[wrong]), what=wrong)
            await eventually(partial(_disconnected, envoy))
    finally:
        await asyncio.gather(*(envoy.stop() for envoy in envoys.values()), protected.stop(), plain.stop())


def client(directory: Path, mounted: Files, wrong: str) -> BootstrapTls:
    """The files of an Envoy with which this is wrong."""
    elsewhere = "elsewhere.example" if wrong == "the control plane has another name" else "localhost"
    found = files(directory, server_name=elsewhere)
    authority = found.authority if wrong == "the control plane rejects its certificate" else mounted.authority
    valid = timedelta(days=-1 if wrong == "its certificate has expired" else 1)
    issued = authority.issue(uris=[FIRST], valid=valid)
    trusts = found.authority if wrong == "it does not trust the control plane" else mounted.authority
    contents = {"tls.key": issued.key, "tls.crt": issued.certificate, "ca.crt": trusts.pem}
    found.write(directory / "client", contents)
    return found.client


async def shows(envoy: Envoy, grows: set[str]) -> bool:
    """Whether these of the statistics that tell what is wrong have grown, and no others."""
    reported = set().union(*GROWS.values())
    found = await envoy.stats(f"^{XDS}")
    return {name for name in reported if found.get(XDS + name, 0) > 0} == grows


def test_the_documentation_says_which_statistics_grow() -> None:
    page = (Path(__file__).parents[2] / "docs" / "operate.md").read_text()
    for grows in GROWS.values():
        assert f"\n| {', '.join(f'`{name}`' for name in sorted(grows))} |" in page
