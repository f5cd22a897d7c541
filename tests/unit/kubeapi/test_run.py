"""The embedded API as a program: started, killed, stopped, rejected."""

import asyncio
import json
import signal
import stat
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import pytest
import yaml

from tests.support.waiting import PATIENCE_S, eventually
from tests.unit.kubeapi.client import SERVICES
from tests.unit.kubeapi.objects import service
from xds_server.base.address import Address
from xds_server.base.errors import UsageError, XdsShadowError
from xds_server.local.kubeapi.kubeconfig import write_kubeconfig
from xds_server.local.kubeapi.run import run


@asynccontextmanager
async def program(directory: Path, *arguments: str) -> AsyncIterator[tuple[Process, str]]:
    """The program with its data in `directory`, and its URL."""
    ready = directory / "ready"
    ready.unlink(missing_ok=True)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "xds_server.local.kubeapi", "--listen", "127.0.0.1:0"),
        *("--data", str(directory / "data"), "--ready-file", str(ready)),
        *arguments,
        stderr=PIPE,
        stdout=PIPE,
    )
    try:
        await eventually(ready.exists, what="being ready")
        yield process, f"http://{json.loads(ready.read_text())['kube_address']}"
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_what_was_answered_survives_being_killed(tmp_path: Path) -> None:
    async with aiohttp.ClientSession() as session:
        async with program(tmp_path) as (process, url):
            for name in ("a", "b", "c"):
                async with session.post(f"{url}{SERVICES}", json=service(name)) as response:
                    assert response.status == 201
            async with session.delete(f"{url}{SERVICES}/b") as response:
                assert response.status == 200
            async with session.get(f"{url}{SERVICES}") as response:
                before = await response.json()
            process.send_signal(signal.SIGKILL)
            await process.wait()
        async with program(tmp_path) as (_, url), session.get(f"{url}{SERVICES}") as response:
            assert await response.json() == before


async def test_what_was_answered_survives_being_killed_in_the_middle(tmp_path: Path) -> None:
    answered: set[str] = set()

    async def write(writer: int, url: str, session: aiohttp.ClientSession) -> None:
        with suppress(aiohttp.ClientError):
            for number in range(1000):
                name = f"s-{writer}-{number}"
                async with session.post(f"{url}{SERVICES}", json=service(name)) as response:
                    if response.status == 201:
                        answered.add(name)

    async with aiohttp.ClientSession() as session:
        async with program(tmp_path) as (process, url), asyncio.TaskGroup() as writers:
            for writer in range(4):
                writers.create_task(write(writer, url, session), name=f"writer {writer}")
            await eventually(lambda: len(answered) >= 100)
            process.send_signal(signal.SIGKILL)
        async with program(tmp_path) as (_, url), session.get(f"{url}{SERVICES}") as response:
            kept = {item["metadata"]["name"] for item in (await response.json())["items"]}
    assert answered <= kept
    assert len(kept) <= len(answered) + 4


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_in_good_order(tmp_path: Path, how: signal.Signals) -> None:
    async with program(tmp_path) as (process, url), aiohttp.ClientSession() as session:
        async with session.get(f"{url}{SERVICES}", params={"watch": "1"}) as response:
            process.send_signal(how)
            assert await response.read() == b""
        assert await asyncio.wait_for(process.wait(), PATIENCE_S) == 0


async def test_two_on_one_directory(tmp_path: Path) -> None:
    async with program(tmp_path):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "xds_server.local.kubeapi", "--listen", "127.0.0.1:0"),
            *("--data", str(tmp_path / "data")),
            stderr=PIPE,
        )
        _, reported = await asyncio.wait_for(process.communicate(), PATIENCE_S)
        assert process.returncode == 1
        assert reported.decode().strip() == f"{tmp_path / 'data'}: another server uses this directory"


async def test_a_usage_error_is_two() -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "xds_server.local.kubeapi", "--listen", "8001"), stderr=PIPE
    )
    _, reported = await asyncio.wait_for(process.communicate(), PATIENCE_S)
    assert process.returncode == 2
    assert b"--listen" in reported


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "kube.example"])
async def test_more_than_loopback_has_to_be_meant(host: str) -> None:
    with pytest.raises(
        UsageError,
        match=r"not a loopback address, and every client that can connect .* add --insecure",
    ):
        await run(data=None, listen=Address(host, 0))


async def test_more_than_loopback_can_be_meant(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    task = asyncio.create_task(
        run(data=None, listen=Address("0.0.0.0", 0), ready_file=ready, insecure=True), name="kube"
    )
    await eventually(ready.exists)
    port = json.loads(ready.read_text())["kube_address"].rpartition(":")[2]
    url = f"http://127.0.0.1:{port}/readyz"
    async with (
        aiohttp.ClientSession() as session,
        session.get(url, headers={"Host": "kube.example"}) as answer,
    ):
        assert answer.status == 200
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_address_that_is_taken() -> None:
    server = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0)
    async with server:
        host, port = server.sockets[0].getsockname()
        with pytest.raises(
            XdsShadowError,
            match=f"cannot listen on {host}:{port}: the address may be in use; select another with --listen",
        ):
            await run(data=None, listen=Address(host, port))


def test_a_kubeconfig(tmp_path: Path) -> None:
    path = tmp_path / "new" / "config"
    write_kubeconfig(path, "http://127.0.0.1:8001")
    doc = yaml.safe_load(path.read_text())
    assert doc["current-context"] == "xds-shadow"
    assert doc["clusters"] == [{"name": "xds-shadow", "cluster": {"server": "http://127.0.0.1:8001"}}]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["config"]
    with pytest.raises(XdsShadowError, match="cannot be written"):
        write_kubeconfig(path / "below", "http://127.0.0.1:8001")


async def test_a_kubeconfig_of_the_program(tmp_path: Path) -> None:
    config = tmp_path / "config"
    async with program(tmp_path, "--kubeconfig", str(config)) as (_, url):
        assert yaml.safe_load(config.read_text())["clusters"][0]["cluster"]["server"] == url
