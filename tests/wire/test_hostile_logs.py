"""What peers do in a loop does not fill a disk: the log of a control plane as people run it."""

import asyncio
import contextlib
import json
import os
import resource
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.support.certificates import Authority
from tests.support.waiting import eventually
from tests.wire.rig import Stream, node
from tests.wire.test_tls import Peer, knock
from xds_server.base.address import Address
from xds_server.local.demo.control_plane import ControlPlane
from xds_server.xds.stream_events import Variant
from xds_server.xds.types import CLUSTER, LISTENER

Lines = list[dict[str, Any]]


@contextlib.asynccontextmanager
async def running(directory: Path, extra: Sequence[str] = ()) -> AsyncIterator[ControlPlane]:
    """Of a directory without any manifests."""
    manifests = directory / "manifests"
    manifests.mkdir()
    found = ControlPlane([f"--manifests={manifests}"], directory, extra=[*extra, "--log-format=json"])
    try:
        yield await found.start()
    finally:
        await found.stop()


def logged(directory: Path) -> Lines:
    """Every line; each has to be one of ours."""
    return [json.loads(line) for line in (directory / "control-plane.log").read_text().splitlines()]


def named(lines: Lines, event: str) -> Lines:
    return [each for each in lines if each["event"] == event]


async def test_failed_handshakes_are_no_lines_of_grpcs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GRPC_VERBOSITY", raising=False)  # what this process has set for itself
    authority = Authority()
    tls = [f"{option}={path}" for option, path in authority.server_files(tmp_path).options()]
    async with running(tmp_path, tls) as plane:
        peer = Peer(authority, plane.xds_address, [])
        for kind in ("no certificate", "another authority", "plain text", "expired"):
            await asyncio.to_thread(knock, kind, peer, tmp_path)
    assert {each["level"] for each in logged(tmp_path)} == {"info"}


@pytest.mark.parametrize("variant", Variant, ids=str)
async def test_nacks_without_end_are_a_line_a_minute(tmp_path: Path, variant: Variant) -> None:
    async with (
        running(tmp_path) as plane,
        grpc.aio.insecure_channel(str(plane.xds_address)) as channel,
    ):
        for _ in range(200):
            stream = Stream(channel, variant)
            await stream.ask(LISTENER, node=node())
            await stream.ask(LISTENER, answers=await stream.take(), error="no" * 1000)
            await stream.finish()
            await stream.end()
    found = logged(tmp_path)
    assert len(named(found, "envoy rejected a configuration")) <= 2  # two minutes
    assert len(named(found, "envoy connected")) <= 120
    assert len(named(found, "envoy disconnected")) <= 120


async def test_a_control_plane_logs_from_the_level_that_it_is_given(tmp_path: Path) -> None:
    async with running(tmp_path, ["--log-level=warning"]) as plane:
        await asyncio.to_thread(healthy, plane.http_address, 10.0)
    assert logged(tmp_path) == []


async def test_no_file_descriptors_left_is_one_line_and_passes(tmp_path: Path) -> None:
    async with running(tmp_path) as plane:
        http = plane.http_address
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        in_use = len(os.listdir(f"/proc/{plane.process.pid}/fd"))
        resource.prlimit(plane.process.pid, resource.RLIMIT_NOFILE, (in_use + 8, hard))
        with contextlib.ExitStack() as stack:
            for _ in range(64):
                stack.enter_context(socket.create_connection(http, timeout=10))
            await eventually(lambda: named(logged(tmp_path), "file descriptors exhausted"))
            assert not await asyncio.to_thread(healthy, http, 3.0)  # it tries to accept every second
        assert await asyncio.to_thread(healthy, http, 20.0)
    (line,) = named(logged(tmp_path), "file descriptors exhausted")
    assert (line["level"], line["limit"]) == ("error", in_use + 8)
    assert (tmp_path / "control-plane.log").stat().st_size < 8_000


async def test_a_log_that_cannot_be_written_costs_its_lines_alone(tmp_path: Path) -> None:
    """As on a full disk: every write fails."""
    manifests, ready = tmp_path / "manifests", tmp_path / "ready"
    manifests.mkdir()
    command = [sys.executable, "-m", "xds_server.cli", "serve", f"--manifests={manifests}"]
    addresses = [f"--{name}-address=127.0.0.1:0" for name in ("xds", "admin", "http")]
    with open("/dev/full", "wb") as full:  # noqa: ASYNC230 - a device
        plane = await asyncio.create_subprocess_exec(
            *command, *addresses, f"--ready-file={ready}", stdout=full, stderr=full
        )
    try:
        await eventually(ready.exists)
        xds = json.loads(ready.read_text())["xds_address"]
        for variant in Variant:
            async with grpc.aio.insecure_channel(xds) as channel:
                stream = Stream(channel, variant)
                await stream.ask(LISTENER, node=node())
                await stream.ask(LISTENER, answers=await stream.take(), error="no")
                await stream.ask(CLUSTER)
                assert (await stream.take()).type_url == CLUSTER
    finally:
        plane.terminate()
        await plane.wait()


async def test_malformed_requests_are_a_line_a_minute(tmp_path: Path) -> None:
    async with running(tmp_path) as plane:
        for turn in range(100):
            with socket.create_connection(plane.http_address, timeout=10) as client:
                client.sendall(b"GET / HTTP/1.1\r\n\x00: %d\r\n\r\n" % turn)
                client.recv(65_536)
    (line,) = named(logged(tmp_path), "library error reported")
    assert line["library"] == "aiohttp.server"


def healthy(address: Address, within_s: float) -> bool:
    """Whether an answer comes within so many seconds."""
    try:
        with socket.create_connection(address, timeout=within_s) as client:
            client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            return client.recv(100).startswith(b"HTTP/1.1 200")
    except TimeoutError:
        return False
