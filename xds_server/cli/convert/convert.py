"""Converts documents of all supported projects to commands with the same effect."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from xds_server.cli.convert import apisix, consul, contour, emissary, flagger, gateway_api, istio, nginx
from xds_server.cli.convert.claims import keep_named_hosts
from xds_server.cli.convert.documents import Documents
from xds_server.cli.convert.fields import Doc, Part
from xds_server.cli.convert.form import Output
from xds_server.cli.convert.output import block, comments, merged
from xds_server.cli.convert.planning import Planner, without_conflicts
from xds_server.cli.convert.plans import Finding, Plan
from xds_server.cli.convert.rules import Routing, Source
from xds_server.cli.convert.unread import OF_LISTENERS, note_unread
from xds_server.core.hosts import CLUSTER_DOMAINS


class Reader(NamedTuple):
    """One project and how its documents are read.

    Of its API `groups`, `kinds` are read and `passed` do not affect mirroring. Other kinds may affect it.
    `inside` are structs of documents inside a field.
    """

    project: str
    groups: tuple[str, ...]
    kinds: Mapping[str, type[Part]]
    passed: tuple[str, ...]
    read: Callable[[Documents], Routing]
    inside: Mapping[str, type[Part]] = {}


READERS: Final = (
    Reader(istio.PROJECT, istio.GROUPS, istio.KINDS, istio.PASSED, istio.routing),
    Reader(flagger.PROJECT, flagger.GROUPS, flagger.KINDS, flagger.PASSED, flagger.routing),
    Reader(emissary.PROJECT, emissary.GROUPS, emissary.KINDS, emissary.PASSED, emissary.routing),
    Reader(contour.PROJECT, contour.GROUPS, contour.KINDS, contour.PASSED, contour.routing),
    Reader(nginx.PROJECT, nginx.GROUPS, nginx.KINDS, nginx.PASSED, nginx.routing),
    Reader(
        gateway_api.PROJECT, gateway_api.GROUPS, gateway_api.KINDS, gateway_api.PASSED, gateway_api.routing
    ),
    Reader(apisix.PROJECT, apisix.GROUPS, apisix.KINDS, apisix.PASSED, apisix.routing, apisix.INSIDE),
    Reader(consul.PROJECT, consul.GROUPS, consul.KINDS, consul.PASSED, consul.routing, consul.INSIDE),
)


_NO_ROUTES: Final = {
    *((group, kind) for reader in READERS for group in reader.groups for kind in reader.passed),
    *((group, kind) for reader in READERS for group in reader.groups for kind in OF_LISTENERS),
}
_COMPARED: Final = {
    reader.project: {*_NO_ROUTES, *((group, kind) for group in reader.groups for kind in reader.kinds)}
    for reader in READERS
}
"""Group and kind of the documents that are compared with a project's plans or contain no routes."""


class Converted(NamedTuple):
    """The output, the number of mirrors in the documents, and how many of them run. `whole`: nothing is left
    out or assumed."""

    lines: list[str]
    mirrors: int
    running: int
    whole: bool


def convert(
    docs: Sequence[Doc],
    output: Output = Output.KUBECTL,
    cluster_domains: Sequence[str] = CLUSTER_DOMAINS,
) -> Converted:
    """Convert the documents of a cluster with these DNS domains."""
    known = Documents(docs, cluster_domains)
    routings = [each for each in (_routing(reader, known) for reader in READERS) if each.rules]
    found = [(each, Planner(each, known).findings()) for each in routings]
    findings = [finding for _, its in found for finding in its]
    plans = [each for each in findings if isinstance(each, Plan)]
    without_conflicts(plans, routings, known)
    wrong = {
        (rule.source.kind, rule.source.name) for each in routings for rule in each.rules if not rule.hosts
    }
    for plan in plans:
        keep_named_hosts(plan, known, _COMPARED[plan.source.project], wrong)
    merged(plans)
    lines: list[str] = []
    whole = True
    for routing, its in found:
        for source in _concerned(routing, its):
            lines += [*comments(str(source), map(str, source.notes)), ""]
            whole = False
        for finding in its:
            lines += [*block(finding, output), ""]
    named = any(each.assumed or each.less or each.stopped for each in findings)
    named |= any(each.not_hosts for each in plans)
    return Converted(lines[:-1], len(findings), sum(each.runs for each in findings), whole and not named)


def _routing(reader: Reader, docs: Documents) -> Routing:
    routing = reader.read(docs)
    note_unread(routing, docs, groups=reader.groups, passed=(*reader.kinds, *reader.passed))
    return routing


def _concerned(routing: Routing, findings: Sequence[Finding]) -> Iterator[Source]:
    """The documents with notes that concern a mirror: they have rules for its hosts, or are in its
    namespace."""
    hosts = {host for finding in findings for rule in finding.rules for host in rule.hosts}
    near = {rule.source for rule in routing.rules if hosts.intersection(rule.hosts)}
    namespaces = {finding.source.name.namespace for finding in findings}
    yield from (
        each for each in routing.sources if each.notes and (each in near or each.name.namespace in namespaces)
    )
