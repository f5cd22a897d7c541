"""The tables of `status` and `explain`, made from messages of the status API."""

from collections import Counter
from collections.abc import Iterable, Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from xds_server.base.text import plain
from xds_server.core.conditions import Severity
from xds_server.core.plan import GATEWAY
from xds_server.pb import status_pb2
from xds_server.server.verdict_display import COLOURS, verdict_parts

_COLOURS = {
    "Active": "green",
    "Pending": "yellow",
    "Paused": "cyan",
    "Expired": "cyan",
    "Rejected": "red",
    "Stopping": "yellow",
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
"""Of conditions of one severity: a terminal has about as many lines, and a thousand rows take a second."""
_SHOWN_NACK = 300
"""Characters of a NACK in the table of shadows; `explain` shows more."""
_NOT_KNOWN = "Shadows are not known yet: the first list is not complete."
_HEADINGS = {
    Severity.ERROR: ("PROBLEM WITH", "red", "problems"),
    Severity.INFO: ("NOTICE ABOUT", "dim", "notices"),
}
"""Of the tables of conditions, in order: the first column, how reasons look, what the rows are."""


def status_view(status: status_pb2.GetStatusResponse, namespace: str | None = None) -> RenderableType:
    """Tables of shadows, Envoys and conditions, and a line about the source. A sentence replaces an empty
    table of shadows or Envoys; other empty tables are left out. With `namespace` it has the shadows of this
    namespace only."""
    there_are = [each for each in status.shadows if namespace in (None, each.namespace)]
    shadows = shadow_table(there_are) if status.server.versions else Text(_NOT_KNOWN, style="dim")
    parts: list[RenderableType] = [shadows, Text(), node_table(status.nodes)]
    nacks = list(_nacks(status.nodes))
    if nacks:
        parts += [Text(), *nacks]
    parts += condition_tables(status.conditions)
    source = status.server.source
    style = "red" if source.HasField("outage_seconds") else "dim"
    return Group(*parts, Text(), Text(f"Source: {source.message}.", style=style))


def shadow_table(shadows: Iterable[status_pb2.Shadow]) -> RenderableType:
    """One row for each shadow. Workloads of different kinds with the same name are shown with their kind."""
    table = _table(
        *("SHADOW", "OF SERVICE", "STATE", "REASON", "VERDICT", "PERCENT", "METHODS", "ENDPOINTS", "MESSAGE")
    )
    shadows = list(shadows)
    called = Counter((shadow.namespace, shadow.name) for shadow in shadows)
    for shadow in shadows:
        several = called[shadow.namespace, shadow.name] > 1
        table.add_row(
            f"{shadow.namespace}/{f'{shadow.kind.lower()}/' if several else ''}{shadow.name}",
            _service(shadow),
            _coloured(shadow.state),
            shadow.reason,
            Text(shadow.verdict or "-", style=COLOURS.get(shadow.verdict, "")),
            shadow.percent or "-",
            _methods(shadow, ","),
            str(len(shadow.endpoints)),
            _message(shadow),
        )
    if not table.row_count:
        hint = "No shadows. Mark a canary: kubectl label deployment NAME xds-shadow.io/shadow-of=SERVICE"
        return Text(hint, style="dim")
    return table


def _methods(shadow: status_pb2.Shadow, between: str) -> str:
    """The methods; like the percentage they are not known if the policy could not be read."""
    return (between.join(shadow.methods) or "all") if shadow.percent else "unknown"


def _service(shadow: status_pb2.Shadow) -> str:
    """The Service, with its route configurations unless it is only on the default gateway."""
    on = ", ".join(shadow.gateways)
    return shadow.service if on in ("", GATEWAY) else f"{shadow.service} on {on}"


def _message(shadow: status_pb2.Shadow) -> Text:
    """The message of a shadow, and on a line of its own the first NACK that concerns it."""
    text = Text(shadow.message)
    if shadow.conditions:
        text.append(f"\n{plain(shadow.conditions[0].message, _SHOWN_NACK)}", style="red")
    if others := len(shadow.conditions[1:]):
        text.append(f" ({others} more: see explain)", style="red")
    return text


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


def condition_tables(conditions: Sequence[status_pb2.Condition]) -> list[RenderableType]:
    """A table for each severity that there is, with the number of the rows that are left out."""
    parts: list[RenderableType] = []
    for severity, (heading, style, what) in _HEADINGS.items():
        if found := [each for each in conditions if each.severity == severity]:
            parts += [Text(), _with_rest(_condition_table(found, heading, style), len(found), what)]
    return parts


def _condition_table(conditions: Sequence[status_pb2.Condition], heading: str, style: str) -> Table:
    table = _table(heading, "REASON", "MESSAGE")
    for each in conditions[:_SHOWN_ROWS]:
        origin = f" ({each.origin})" if each.subject and each.origin else each.origin
        table.add_row(Text(f"{each.subject}{origin}"), Text(each.reason, style=style), Text(each.message))
    return table


def _with_rest(table: Table, count: int, what: str) -> RenderableType:
    more = count - _SHOWN_ROWS
    if more <= 0:
        return table
    return Group(table, Text(f"and {more} more {what}: see the live page, or -o json", style="dim"))


def explanation_view(explanation: status_pb2.ExplainResponse) -> RenderableType:
    """One shadow, from its label to the Envoys that mirror to it."""
    shadow = explanation.shadow
    facts = Table.grid(padding=(0, 2))
    facts.add_row(shadow.kind, f"{shadow.namespace}/{shadow.name}")
    facts.add_row("Shadow of", f"Service {shadow.namespace}/{shadow.service}")
    facts.add_row("Routed on", ", ".join(shadow.gateways) or "no gateway")
    facts.add_row("State", Text.assemble(_coloured(shadow.state), f" ({shadow.reason})"))
    facts.add_row("", Text(shadow.message))
    facts.add_row("Percent", shadow.percent or "unknown")
    facts.add_row("Methods", _methods(shadow, ", "))
    facts.add_row("Canary endpoints", _list(shadow.endpoints))
    parts: list[RenderableType] = [facts]
    if shadow.settings:
        parts += [Text(), _settings(shadow.settings)]
    verdict = explanation.verdict
    heading = Text.assemble(("Verdict: ", "bold"), (verdict.verdict, COLOURS.get(verdict.verdict, "")))
    parts += [Text(), heading, *verdict_parts(verdict, explanation.replicas)]
    for condition in shadow.conditions:
        parts += [Text(), Text(condition.message, style="red")]
    for route in explanation.routes:
        parts += [Text(), Text(f"Port {route.port} ({route.protocol})", style="bold"), _route(route)]
    if not explanation.routes:
        parts += [Text(), Text("The Service has no routed port.", style="dim")]
    parts += [Text(), node_table(explanation.nodes), *_nacks(explanation.nodes)]
    parts += condition_tables(explanation.conditions)
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


def _nacks(nodes: Iterable[status_pb2.Node]) -> Iterable[RenderableType]:
    for node in nodes:
        for status in node.types:
            if status.sync == "ERROR":
                who = plain(node.id, _SHOWN_NAME)
                message = f"{who} rejected {status.short_name} {status.last_nack.version[:_SHOWN_VERSION]}"
                yield Text(
                    f"{message} and keeps its previous configuration: {status.last_nack.message}", style="red"
                )


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
