"""Real Envoys with mutual TLS to the control plane: certificates change under load, and no stream ends."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from tests.envoy.scenarios.stage import BINARIES
from tests.support import objects
from tests.support.backends import recorder
from tests.support.certificates import Authority
from tests.support.mounted import lay as mounted_volume
from tests.support.rig import Rig, rig
from tests.support.waiting import eventually
from xds_server.bootstrap import BootstrapOptions, BootstrapTls, sds_files
from xds_server.demo.control_plane import ControlPlane
from xds_server.demo.envoy import Envoy

pytestmark = pytest.mark.envoy

ROTATIONS = 20
FIRST, LATER = "spiffe://example/first", "spiffe://example/later"
XDS = "cluster.xds-shadow."
LEFT = "its connection ended without a call"


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
            assert await envoy.stat(f"{XDS}upstream_cx_total") == 1
            assert await envoy.stat("control_plane.connected_state") == 1
        for task in loads:
            task.cancel()
        await asyncio.gather(*loads, return_exceptions=True)
        assert answered
        assert all(answered)
        assert LEFT not in (tmp_path / "control-plane.log").read_text()
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


async def test_an_envoy_talks_to_no_control_plane_of_another_name(tmp_path: Path) -> None:
    mounted = files(tmp_path, server_name="elsewhere.example")
    control_plane = ControlPlane([f"--manifests={tmp_path / 'sds'}"], tmp_path, extra=mounted.server)
    await control_plane.start()
    try:
        options = BootstrapOptions(
            node_id="lost", xds_address=control_plane.xds_address, admin_port=0, tls=mounted.client
        )
        envoy = Envoy(options, tmp_path)
        await envoy.start()
        try:

            async def refuses() -> bool:
                return await envoy.stat(f"{XDS}ssl.fail_verify_san") > 0

            await eventually(refuses)
            log = tmp_path / "control-plane.log"
            await eventually(lambda: log.read_text().count(LEFT) == 1)
            assert await envoy.stat("control_plane.connected_state") == 0
        finally:
            await envoy.stop()
    finally:
        await control_plane.stop()
