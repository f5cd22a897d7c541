"""``xds-shadow verdict`` against a status API with scripted evidence: output, exit codes, waiting."""

import asyncio
import contextlib
import io
import json
import re
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace

import grpc
import pytest
import yaml
from rich.console import Console

from tests.support.cli import Ran, run
from tests.support.records import CANARY, record, shadow
from tests.support.status import STATE
from xds_server.base.address import parse_address
from xds_server.base.ids import NamespacedName
from xds_server.cli import verdict as command
from xds_server.core.plan import ShadowStatus
from xds_server.core.verdict.bodies import Field, Kind
from xds_server.core.verdict.joining import Lost
from xds_server.core.verdict.record import Record
from xds_server.server.status_api import StatusServicer
from xds_server.server.status_client import get_verdicts
from xds_server.server.verdict_display import verdict_view
from xds_server.server.verdict_report import Replica
from xds_server.server.verdicts import Answer, Verdicts
from xds_server.xds.fleet import Fleet

NAME = "staging/web-canary"


@dataclass
class Server:
    """A control plane's status API, and what it has."""

    records: dict[NamespacedName, Record] = field(default_factory=dict)
    shadows: list[ShadowStatus] = field(default_factory=lambda: [shadow()])
    peers: list[Answer] = field(default_factory=list)
    address: str = ""

    async def ask(self) -> list[Answer]:
        return self.peers

    async def verdict(self, *arguments: str) -> Ran:
        """Run the command against it."""
        return await asyncio.to_thread(run, "verdict", *arguments, "--server", self.address, COLUMNS="80")


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    found = Server()
    state = replace(STATE, versions={"CDS": "1"})
    servicer = StatusServicer(
        state=lambda: replace(state, shadows=found.shadows),
        explain=lambda _: None,
        fleet=Fleet(),
        verdicts=Verdicts(
            name="one", records=lambda: found.records, shadows=lambda: found.shadows, peers=found
        ),
    )
    serving = grpc.aio.server()
    servicer.register(serving)
    found.address = f"127.0.0.1:{serving.add_insecure_port('127.0.0.1:0')}"
    await serving.start()
    yield found
    await serving.stop(0)


@pytest.mark.parametrize(
    ("found", "word", "code"),
    [
        (record(20_000), "NoWorse", 0),
        (record(400, 20), "Worse", 1),
        (record(10), "TooEarly", 3),
        (record(2_000, arrived=0.5), "Blind", 3),
    ],
)
async def test_the_exit_code_is_the_verdict(server: Server, found: Record, word: str, code: int) -> None:
    server.records[CANARY] = found
    ran = await server.verdict(NAME)
    assert (ran.returncode, ran.stderr) == (code, "")
    assert ran.stdout.startswith(f"{NAME}: {word}\n")


async def test_both_sides_are_beside_each_other_within_80_columns(server: Server) -> None:
    found = record(
        1_200, 30, since=time.time() - 1_000, differing={Field("GET /", "$.name", Kind.MISSING): 4}
    )
    found.tally.lost[Lost.NOT_SENT] = 3
    found.bodies.skipped["too large"] = 2
    found.silent = frozenset({"envoy-1"})
    server.records[CANARY] = found
    server.peers = [Answer(Replica("two", "it cannot be reached"), {})]
    answer = await asyncio.to_thread(get_verdicts, parse_address(server.address, option=""))
    out = io.StringIO()
    Console(file=out, width=80).print(verdict_view(answer.verdicts[0], answer.replicas))
    assert max(map(len, out.getvalue().splitlines())) <= 80
    words = " ".join(out.getvalue().split())
    assert re.search(
        r"Evidence since [0-9-]{10} [0-9:]{8} UTC \(16m4[0-9]s\): 1,200 pairs, 100% of those", words
    )
    for part in (
        "In 1200 pairs the canary failed alone in 30, the primary alone in 0.",
        "Requests: primary 1,200 (1.2/s), mirrored 1,200 (1.2/s).",
        "Replica two: it cannot be reached.",
        "No loads are reported by Envoy envoy-1.",
        "3 not mirrored, or not reported",
        "REQUESTS SIDE FAILED CODES P50 P95 P99",
        "GET / primary 0 200: 1,200 11 ms 11 ms 11 ms",
        "1,200 pairs canary 30 200: 1,170, 500: 30 11 ms 11 ms 108 ms",
        "$.name missing GET / 4 of 1,200 -",
        "No body of a baseline was compared",
        "Bodies that were not compared: 2 too large.",
    ):
        assert part in words, out.getvalue()


async def test_requests_that_nobody_reported_are_not_called_none(server: Server) -> None:
    server.records[CANARY] = record(0)
    assert "Requests:" not in (await server.verdict(NAME)).stdout


async def test_without_a_name_all_shadows_are_listed(server: Server) -> None:
    other = NamespacedName("staging", "statefulset/db")
    server.records = {CANARY: record(400, 20), other: record(5, canary=other)}
    server.shadows = [shadow(), shadow(other)]
    ran = await server.verdict()
    assert (ran.returncode, ran.stderr) == (0, "")
    rows = [line.split() for line in ran.stdout.splitlines()]
    assert rows[1] == [NAME, "Worse", "400", "20", "0"]
    assert rows[2] == ["staging/statefulset/db", "TooEarly", "5", "0", "0"]
    assert json.loads((await server.verdict("-o", "json")).stdout)["verdicts"][1]["name"] == "db"
    server.shadows = []
    assert (await server.verdict("--alpha", "1%")).stdout == "No shadows.\n"


async def test_json_has_numbers_and_the_verdict_at_the_top(server: Server) -> None:
    server.records[CANARY] = record(400, 20)
    ran = await server.verdict(NAME, "-o", "json")
    assert ran.returncode == 1
    found = json.loads(ran.stdout)
    assert (found["verdict"], found["name"], found["replicas"]) == (
        "Worse",
        "web-canary",
        [{"name": "one", "problem": ""}],
    )
    assert (found["total"]["pairs"], found["total"]["canary"]["codes"]) == (400, {"200": 380, "500": 20})
    assert found["groups"][0]["codes"][0] == {"primary": "200", "shadow": "200", "pairs": 380}
    assert yaml.safe_load((await server.verdict(NAME, "-o", "yaml")).stdout) == found


async def test_terms_are_passed_on(server: Server) -> None:
    server.records[CANARY] = record(600)
    terms = ["--tolerance", "2%", "--alpha", "0.01", "--min-pairs", "500"]
    ran = await server.verdict(NAME, *terms, "-o", "json")
    assert (ran.returncode, json.loads(ran.stdout)["terms"]) == (
        0,
        {"alpha": 0.01, "tolerance": 0.02, "min_pairs": 500},
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("staging/web-canari",), "did you mean staging/web-canary?"),
        (("",), "is neither NAMESPACE/NAME nor NAMESPACE/KIND/NAME"),
        (("web-canary",), "is neither NAMESPACE/NAME nor NAMESPACE/KIND/NAME"),
        (("staging/cronjob/x",), "'cronjob' is no kind of workload; kinds are Deployment, StatefulSet, "),
        ((NAME, "--for", "1m"), "give both, or neither"),
        (("--wait",), "give its name"),
        ((NAME, "--wait", "--for", "soon"), "is not a time such as 90s, 10m or 1h"),
        ((NAME, "--wait", "--for", "0m"), "is not a time such as 90s, 10m or 1h"),
        ((NAME, "--tolerance", "some"), "--tolerance 'some' is not a share"),
        ((NAME, "--alpha", "2"), "alpha 2 is not between 1e-09 and 0.5; 0.1% is 0.001"),
        ((NAME, "--min-pairs", "-1"), "--min-pairs -1 is below 0"),
    ],
)
async def test_errors_exit_with_2(server: Server, arguments: tuple[str, ...], message: str) -> None:
    ran = await server.verdict(*arguments)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert message in ran.stderr


async def test_a_server_that_is_not_there_exits_with_2() -> None:
    ran = await asyncio.to_thread(run, "verdict", "--server", "127.0.0.1:1")
    assert ran.returncode == 2
    assert "no xds-shadow server responds at 127.0.0.1:1" in ran.stderr


async def test_before_the_first_list_nothing_is_known() -> None:
    servicer = StatusServicer(
        state=lambda: STATE,
        explain=lambda _: None,
        fleet=Fleet(),
        verdicts=Verdicts(name="one", records=dict, shadows=list),
    )
    serving = grpc.aio.server()
    servicer.register(serving)
    port = serving.add_insecure_port("127.0.0.1:0")
    await serving.start()
    ran = await asyncio.to_thread(run, "verdict", "--server", f"127.0.0.1:{port}")
    await serving.stop(0)
    assert ran.returncode == 2
    assert "shadows are not known yet" in ran.stderr


async def test_waiting_ends_with_the_verdict(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "_ASK_S", 0.01)
    server.records[CANARY] = record(10)
    waiting = asyncio.create_task(server.verdict(NAME, "--wait", "--for", "1h"))
    await asyncio.sleep(0)
    server.records[CANARY] = record(400, 20)
    ran = await waiting
    assert ran.returncode == 1
    assert ran.stdout.startswith(f"{NAME}: Worse\n")
    for line in ran.stderr.splitlines():
        assert line.startswith(f"{NAME}: TooEarly, 10 pairs, ")


async def test_waiting_ends_with_the_time(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    slept = 0.0

    def sleep(seconds: float) -> None:
        nonlocal slept
        slept += seconds

    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setattr(time, "monotonic", lambda: slept)
    server.records[CANARY] = record(10)
    ran = await server.verdict(NAME, "--wait", "--for", "25s")
    assert ran.returncode == 3
    assert ran.stderr.splitlines() == [f"{NAME}: TooEarly, 10 pairs, {left}s left" for left in (25, 15, 5)]
    assert slept == 25


async def test_ctrl_c_prints_what_is_known(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", interrupted)
    server.records[CANARY] = record(10)
    ran = await server.verdict(NAME, "--wait")
    assert ran.returncode == 3
    state = "State: Active, Mirroring. 100 percent of the requests are mirrored."
    assert ran.stdout.startswith(f"{NAME}: TooEarly\n{state}\n10 of at least 1000 pairs were compared.\n")


async def test_a_server_that_restarts_is_waited_for(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "_ASK_S", 0.01)
    server.records[CANARY] = record(10)
    failures = 3

    async def ask() -> list[Answer]:
        nonlocal failures
        if failures := failures - 1:
            return []
        server.records[CANARY] = record(400, 20)
        raise ValueError

    server.ask = ask  # type: ignore[method-assign]

    ran = await server.verdict(NAME, "--wait", "--for", "1h")
    assert "returned an error" in ran.stderr
    assert ran.returncode == 1


def test_on_a_terminal_the_progress_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("COLUMNS", "20")
    with contextlib.redirect_stderr(Terminal()) as err:
        line = command._Line()
        line.show("x" * 30, "TooEarly")
        line.close()
    assert err.getvalue() == f"\r\x1b[K{'x' * 19}\r\x1b[K"
