"""The tables of `status` and `explain`, made from messages of the status API."""

from collections import Counter
from collections.abc import Iterable, Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from xds_server.base.text import listed, plain
from xds_server.core.plan import GATEWAY
from xds_server.pb import status_pb2

_COLOURS = {
    "Active": "green",
    "Pending": "yellow",
    "Paused": "cyan",
    "Expired": "cyan",
    "Rejected": "red",
    "SYNCED": "green",
    "STALE": "yellow",
    "NOT_SENT": "yellow",
    "ERROR": "red",
}
_TYPES = ("CDS", "EDS", "SDS", "LDS", "RDS", "VHDS")
_SHOWN_VERSION = 8
_SHOWN_NAME = 100
_SHOWN_VALUE = 500
_SHOWN_ROWS = 20
"""The maximum of rows for problems and for notices. A terminal has about as many lines, and a thousand rows
take a second to print."""
_SHOWN_WORDS = 200
"""Characters of an Envoy's message in a table. `explain` shows more."""


def status_view(status: status_pb2.GetStatusResponse) -> RenderableType:
    """Tables of shadows, Envoys, problems and notices, and a line about the source. A sentence replaces an
    empty table of shadows or Envoys; other empty tables are left out."""
    parts: list[RenderableType] = [shadow_table(status.shadows), Text(), node_table(status.nodes)]
    refusals = list(_refusals(status.nodes))
    if refusals:
        parts += [Text(), *refusals]
    if status.problems:
        parts += [Text(), problem_table(status.problems)]
    if status.notices:
        parts += [Text(), notice_table(status.notices)]
    source = status.server.source
    style = "red" if source.HasField("outage_seconds") else "dim"
    return Group(*parts, Text(), Text(f"Source: {source.message}.", style=style))


def shadow_table(shadows: Iterable[status_pb2.Shadow]) -> RenderableType:
    """One row for each shadow. Workloads of different kinds with the same name are shown with their kind."""
    table = _table("SHADOW", "OF SERVICE", "STATE", "REASON", "PERCENT", "METHODS", "ENDPOINTS", "MESSAGE")
    shadows = list(shadows)
    called = Counter((shadow.namespace, shadow.deployment) for shadow in shadows)
    for shadow in shadows:
        several = called[shadow.namespace, shadow.deployment] > 1
        table.add_row(
            f"{shadow.namespace}/{f'{shadow.kind.lower()}/' if several else ''}{shadow.deployment}",
            _service(shadow),
            _coloured(shadow.state),
            shadow.reason,
            shadow.percent or "-",
            ",".join(shadow.methods) or "all",
            str(len(shadow.endpoints)),
            _note(shadow),
        )
    if not table.row_count:
        hint = "No shadows. Mark a canary: kubectl label deployment NAME xds-shadow.io/shadow-of=SERVICE"
        return Text(hint, style="dim")
    return table


def _service(shadow: status_pb2.Shadow) -> str:
    """The Service, with its route configurations unless it is only on the default gateway."""
    on = ", ".join(shadow.gateways)
    return shadow.service if on in ("", GATEWAY) else f"{shadow.service} on {on}"


def _note(shadow: status_pb2.Shadow) -> Text:
    """The message of a shadow and, on a line of its own, the first NACK that it caused."""
    note = Text(shadow.message)
    if shadow.refusals:
        words = plain(shadow.refusals[0].message, _SHOWN_WORDS)
        first = f"{shadow.refusals[0].short_name} rejected by {_who(shadow.refusals[0])}"
        note.append(f"\n{first}: {words}", style="red")
    if others := len(shadow.refusals) - 1 if shadow.refusals else 0:
        note.append(f" ({others} more: see explain)", style="red")
    return note


def node_table(nodes: Iterable[status_pb2.Node]) -> RenderableType:
    """One row for each connected Envoy, with the sync state and the version of each resource type. For an
    Envoy that defines its own listeners the column LDS has "routes only"."""
    table = _table("ENVOY", "PROTOCOL", "BUILD", *_TYPES)
    for node in nodes:
        by_type = {status.short_name: status for status in node.types}
        who, build = Text(plain(node.id, _SHOWN_NAME)), Text(plain(node.build, _SHOWN_NAME))
        of_types = [_sync(by_type.get(name)) for name in _TYPES]
        if node.routes_only:
            of_types[_TYPES.index("LDS")] = Text("routes only")
        table.add_row(who, node.variant, build, *of_types)
    return table if table.row_count else Text("No Envoy is connected.", style="dim")


def problem_table(problems: Sequence[status_pb2.Problem]) -> RenderableType:
    """One row for each problem up to a maximum, and the number of the others."""
    table = _table("PROBLEM WITH", "REASON", "MESSAGE")
    for problem in problems[:_SHOWN_ROWS]:
        origin = f" ({problem.origin})" if problem.subject and problem.origin else problem.origin
        table.add_row(f"{problem.subject}{origin}", f"[red]{problem.reason}[/]", Text(problem.message))
    return _with_rest(table, len(problems), "problems")


def notice_table(notices: Sequence[status_pb2.Notice]) -> RenderableType:
    """One row for each notice up to a maximum, and the number of the others."""
    table = _table("NOTICE ABOUT", "REASON", "MESSAGE")
    for notice in notices[:_SHOWN_ROWS]:
        table.add_row(notice.subject, Text(notice.reason, style="dim"), Text(notice.message))
    return _with_rest(table, len(notices), "notices")


def _with_rest(table: Table, count: int, what: str) -> RenderableType:
    more = count - _SHOWN_ROWS
    if more <= 0:
        return table
    return Group(table, Text(f"and {more} more {what}: see the live page, or -o json", style="dim"))


def explanation_view(explanation: status_pb2.ExplainResponse) -> RenderableType:
    """One shadow, from its label to the Envoys that mirror to it."""
    shadow = explanation.shadow
    facts = Table.grid(padding=(0, 2))
    facts.add_row(shadow.kind, f"{shadow.namespace}/{shadow.deployment}")
    facts.add_row("Shadow of", f"Service {shadow.namespace}/{shadow.service}")
    facts.add_row("Routed on", ", ".join(shadow.gateways) or "no gateway")
    facts.add_row("State", Text.assemble(_coloured(shadow.state), f" ({shadow.reason})"))
    facts.add_row("", Text(shadow.message))
    facts.add_row("Percent", shadow.percent or "unknown")
    facts.add_row("Methods", ", ".join(shadow.methods) or "all")
    facts.add_row("Canary endpoints", _list(shadow.endpoints))
    parts: list[RenderableType] = [facts]
    if shadow.settings:
        parts += [Text(), _settings(shadow.settings)]
    for refusal in shadow.refusals:
        sentence = f"{refusal.short_name} rejected by {_who(refusal)}: {refusal.message}"
        parts += [Text(), Text(sentence, style="red")]
    for route in explanation.routes:
        parts += [Text(), Text(f"Port {route.port} ({route.protocol})", style="bold"), _route(route)]
    if not explanation.routes:
        parts += [Text(), Text("The Service has no routed port.", style="dim")]
    parts += [Text(), node_table(explanation.nodes), *_refusals(explanation.nodes)]
    if explanation.problems:
        parts += [Text(), problem_table(explanation.problems)]
    if explanation.notices:
        parts += [Text(), notice_table(explanation.notices)]
    return Group(*parts)


def _settings(settings: Iterable[status_pb2.Setting]) -> RenderableType:
    table = _table("SETTING", "VALUE", "SOURCE")
    for setting in settings:
        table.add_row(setting.name, Text(plain(setting.value, _SHOWN_VALUE)), Text(setting.origin))
    return table


def _route(route: status_pb2.Route) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    grid.add_row("Hosts", _list(route.domains))
    grid.add_row("Live cluster", route.cluster)
    grid.add_row("Live endpoints", _list(route.endpoints))
    grid.add_row("Shadow cluster", route.shadow_cluster or "none: requests to this port are not mirrored")
    return Padding(grid, (0, 0, 0, 2))


def _refusals(nodes: Iterable[status_pb2.Node]) -> Iterable[RenderableType]:
    for node in nodes:
        for status in node.types:
            if status.sync == "ERROR":
                who = plain(node.id, _SHOWN_NAME)
                message = f"{who} rejected {status.short_name} {status.last_nack.version[:_SHOWN_VERSION]}"
                yield Text(
                    f"{message} and keeps its previous configuration: {status.last_nack.message}", style="red"
                )


def _who(refusal: status_pb2.Refusal) -> str:
    return listed(refusal.nodes, refusal.envoys, "Envoy")


def _sync(status: status_pb2.TypeStatus | None) -> Text:
    if status is None:
        return Text("-", style="dim")
    return Text.assemble(_coloured(status.sync), f" {status.sent_version[:_SHOWN_VERSION]}")


def _coloured(word: str) -> Text:
    return Text(word, style=_COLOURS.get(word, ""))


def _list(items: Iterable[str]) -> str:
    return "\n".join(items) or "none"


def _table(*columns: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
