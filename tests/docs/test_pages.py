"""docs/operate.md and docs/security.md: what they list is what the program has."""

import ast
import re
from collections.abc import Iterator

import pytest

from tests.docs.blocks import PAGES, ROOT
from tests.support.installation import INSTALL, build, container_of, memory_limit, named
from xds_server.core.conditions import Reason
from xds_server.core.verdict import body_joining, body_text
from xds_server.core.verdict.joining import MOST_WAITING
from xds_server.server import bodies
from xds_server.server.metrics import TABLE
from xds_server.xds import access_logs, load_reports, loads, outline, servicer
from xds_server.xds import fleet as state
from xds_server.xds import node as nodes
from xds_server.xds.admission import StreamLimits
from xds_server.xds.budget import NameLimits
from xds_server.xds.clients import FIRST_REQUEST_DEADLINE_S
from xds_server.xds.pace import PaceLimits
from xds_server.xds.server_options import (
    HANDSHAKE_S,
    IDLE_S,
    MAX_MESSAGE_BYTES,
    MAX_REQUEST_BYTES,
    server_options,
)
from xds_server.xds.view_budget import ViewLimits

OPERATE, SECURITY = ((ROOT / "docs" / f"{name}.md").read_text() for name in ("operate", "security"))
SOURCE = ROOT / "xds_server"
_ROOMS = ("local/demo", *(each.name for each in SOURCE.iterdir() if each.name not in ("local", "pb")))
_LOGS = {"info", "warning", "error", "exception"}


def section(page: str, heading: str) -> str:
    return page.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def tables(text: str) -> list[list[str]]:
    """The names in the first column of each table."""
    found = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    firsts = [[line.split(" | ")[0] for line in table.splitlines()[2:]] for table in found]
    return [[name for first in column for name in re.findall(r"`([^`]+)`", first)] for column in firsts]


def trees(*parts: str) -> Iterator[ast.AST]:
    for part in parts:
        path = SOURCE / part
        for file in [path] if path.is_file() else path.rglob("*.py"):
            yield from ast.walk(ast.parse(file.read_text()))


def test_every_reason_is_listed_with_what_to_do() -> None:
    of_shadows, of_others = tables(section(OPERATE, "A shadow that is not Active"))
    # The reason of an Event about a shadow is its state.
    expected = [reason for reason in Reason if not reason.startswith("Shadow")]
    assert sorted([*of_shadows, *of_others]) == sorted(expected)


def logs(function: ast.expr) -> bool:
    """Whether a call of it writes to the log: ``_log.info``, or ``log``, a method that was chosen before."""
    match function:
        case ast.Attribute(value=ast.Name(id="log" | "_log"), attr=level):
            return level in _LOGS
        case ast.Name(id=name):
            return name == "log"
    return False


def events_of_the_log() -> set[str]:
    """What the program logs while it serves; the embedded API is another program."""
    return {
        node.args[0].value
        for node in trees(*_ROOMS)
        if isinstance(node, ast.Call)
        and logs(node.func)
        and isinstance(node.args[0], ast.Constant)
        and isinstance(node.args[0].value, str)
    }


def test_every_line_of_the_log_is_listed() -> None:
    [listed] = tables(section(OPERATE, "Logs").replace("`by the client`", ""))
    assert sorted(listed) == sorted(events_of_the_log())


@pytest.mark.parametrize("page", PAGES)
def test_every_metric_that_is_named_is_one(page: str) -> None:
    known = {row.name for row in TABLE}
    assert set(re.findall(r"`(xds_shadow_\w+)`", (ROOT / page).read_text())) <= known


def test_the_limit_of_memory_is_twice_what_was_measured() -> None:
    """What the page says of the sizes in manifests/install."""
    measured = (ROOT / "docs" / "performance.md").read_text()
    peaks = re.findall(r"\| ([\d,]+) MiB \|$", section(measured, _MEMORY), re.MULTILINE)
    limit = memory_limit(container_of(named(build(INSTALL), "Deployment", "xds-shadow")))
    assert 2 * max(int(peak.replace(",", "")) for peak in peaks) * 1024**2 < limit


_MEMORY = "Memory: 1,000 streams, 10,000 Services, 100,000 endpoints"


def test_limits_are_those_of_the_program() -> None:
    limits, names, streams = (
        StreamLimits(),
        NameLimits(),
        dict(server_options())["grpc.max_concurrent_streams"],
    )
    pace, views = PaceLimits(), ViewLimits()
    report, cluster = load_reports.REPORT_BYTES, load_reports.CLUSTER_BYTES
    of_one, of_all = access_logs.ADDRESS_LIMITS, access_logs.TOTAL_LIMITS
    rows = {
        f"| everything but names in a request (node, type, version) | {outline.MAX_OTHER_BYTES:,} bytes |",
        f"| names in one request | {outline.MAX_NAMES:,} |",
        f"| bytes of an `error_detail` that are read | {outline.MAX_ERROR_BYTES:,} bytes |",
        f"| event-loop time for requests below {pace.large >> 10} KiB of one address "
        f"| {pace.small_share:.0%} after a first {pace.small_burst:g} s |".replace("%", " %"),
        f"| the same for larger requests; one that takes {pace.long:g} s counts double "
        f"| {pace.large_share:.0%} after a first {pace.large_burst:g} s |".replace("%", " %"),
        f"| bytes of waiting requests of one address | {pace.waiting >> 20} MiB |",
        f"| different views of one address | {views.per_peer} |",
        f"| different views of a process | {views.total:,} |",
        f"| a request | {MAX_REQUEST_BYTES >> 20} MiB |",
        f"| a response | {MAX_MESSAGE_BYTES >> 20} MiB |",
        f"| names of one type in a stream's subscription | {outline.MAX_NAMES:,} |",
        f"| characters of a name or a version | {outline.LONGEST_NAME:,} |",
        f"| memory for the names of a stream's subscriptions | {names.per_stream >> 20} MiB |",
        f"| the same for all streams of one address | {names.per_peer >> 20} MiB |",
        f"| the same for all streams of a process | {names.total >> 20} MiB |",
        f"| `node.metadata` | {nodes.MAX_METADATA_BYTES:,} bytes |",
        f"| `node.id`, `node.cluster`, `node.user_agent_name`, each | {nodes.MAX_TEXT_BYTES:,} bytes |",
        f"| a load report | {report >> 10} KiB, and {cluster:,} bytes for each cluster that was asked for |",
        "| a cluster in a load report | one of the view, for which the Envoy was asked |",
        f"| a count in a load report | {loads.LARGEST:,} |",
        f"| streams from one address | {limits.per_peer:,} |",
        f"| new streams a second, after a first {limits.burst:,} | {limits.rate:g} |",
        f"| streams of one connection | {streams} |",
        f"| time until the TLS handshake and HTTP/2's first frame are done | {HANDSHAKE_S:g} s |",
        f"| time of a connection without an RPC | {IDLE_S:g} s |",
        f"| time without a first request | {FIRST_REQUEST_DEADLINE_S:g} s |",
        f"| time to take a response | {servicer._WRITE_DEADLINE_S:g} s |",
        f"| a message of the access log | {access_logs._LARGEST_MESSAGE:,} bytes |",
        f"| event-loop time for access logs of one address | {of_one.small_share:.0%} after a first "
        f"{of_one.small_burst:g} s |".replace("%", " %"),
        f"| the same for all addresses | {of_all.small_share:.0%} after a first "
        f"{of_all.small_burst:g} s |".replace("%", " %"),
        f"| logged requests that wait to be compared | {MOST_WAITING:,} |",
        f"| characters of a NACK's message that are kept | {state._LONGEST_MESSAGE:,} characters |",
    }
    assert {row for row in rows if row not in SECURITY} == set()
    assert len(rows) == len(section(SECURITY, "Limits on what peers can send").split("\n| ")) - 2


def test_limits_on_bodies_are_those_of_the_program() -> None:
    waiting = body_joining.MOST_WAITING_BYTES
    rows = {
        f"| bodies a second from all Envoys | {bodies._LIMITS.rate:g} |",
        f"| bodies at once from one address | {bodies._LIMITS.per_peer} |",
        f"| requests of one canary a second | {body_joining.RATE:g} |",
        f"| bytes of a body, before and after decompression | {body_text.MOST_BYTES >> 20} MiB |",
        f"| values in a body | {body_text.MOST_VALUES:,} |",
        f"| bytes of bodies that wait for others of their request | {waiting >> 20} MiB |",
        f"| bytes of bodies that wait for a comparison | {bodies._MOST_QUEUED_BYTES >> 20} MiB |",
        f"| time of a processor for comparisons | {100 / (1 + bodies._PAUSE):g} % |",
    }
    assert {row for row in rows if row not in SECURITY} == set()
    assert len(rows) == len(section(SECURITY, "Limits on bodies that are compared").split("\n| ")) - 2


def anchors(text: str) -> set[str]:
    """Of the headings, as they are made for links."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page: str) -> None:
    here = (ROOT / page).parent
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", (ROOT / page).read_text()):
        name, _, anchor = target.partition("#")
        file = here / name if name else ROOT / page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file.read_text()), target


@pytest.mark.parametrize("page", [page for page in PAGES if page.startswith("docs/internals/")])
def test_every_file_that_a_page_for_maintainers_names_exists(page: str) -> None:
    named = re.findall(
        r"`((?:\w[\w.-]*/)+[\w.-]+\.(?:py|html|css|js|md|yaml|lock))`", (ROOT / page).read_text()
    )
    assert [name for name in named if not any((root / name).exists() for root in (ROOT, SOURCE))] == []
