"""Decides which plans run, and which hosts are added to a Service.

A mirror is expressed by one set of annotations on its Deployment. Rules that mirror the same Service to the
same Deployment are combined if one set can express them. A plan runs only if every request that it would
mirror was certainly mirrored before. A host is added only if every request to it certainly reached the same
Service. Both are decided by comparing one request of each class (`comparing`). Requests that more specific
rules match are excluded by path, if possible.

The DNS names of a Service always reach it in xds-shadow. For these names, all mirrors of the Service must be
mirrors of one host of the documents. The first host for which that holds is used.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from xds_server.base.ids import NamespacedName
from xds_server.base.text import shown
from xds_server.cli.convert.comparing import Cases, TooManyError
from xds_server.cli.convert.documents import Documents
from xds_server.cli.convert.draft import Draft
from xds_server.cli.convert.fields import Fate, Note, Place, path_text
from xds_server.cli.convert.plans import Finding, Plan, other_versions, plan_of
from xds_server.cli.convert.rules import Mirror, Request, Routing, Rule, Source
from xds_server.core.values import is_host_name

_MOST_EXCLUSIONS: Final = 16
_ANY_HOST: Final = "xyz-any.invalid"
_TOO_MANY: Final = "the rules of this host have too many conditions to be compared"


class Planner:
    """Plans the mirrors of one project."""

    def __init__(self, routing: Routing, docs: Documents) -> None:
        self._routing = routing
        self._docs = docs
        self._places: dict[Source, set[Place]] = {}
        for rule in routing.rules:
            self._places.setdefault(rule.source, set()).add(rule.place)
        self._stops = {
            rule: [str(note) for note in self._notes(rule) if note.fate is Fate.STOPS]
            for rule in routing.rules
        }
        self._cases = Cases(routing)
        self._host_rejections: dict[tuple[NamespacedName, str], str] = {}
        self._reference: dict[NamespacedName, str] = {}

    def findings(self) -> list[Finding]:
        """One finding for each mirror. Mirrors that one set of annotations expresses are combined."""
        found: list[Finding] = []
        for rules, mirror in self._mirrors():
            finding = plan_of(rules, mirror, self._docs)
            finding.stopped += self._stops[rules[0]]
            plans = [each for each in found if isinstance(each, Plan)]
            if not (
                isinstance(finding, Plan) and finding.runs and any(_joined(each, finding) for each in plans)
            ):
                found.append(finding)
        plans = [each for each in found if isinstance(each, Plan)]
        for plan in plans:
            if plan.runs:
                self._bound(plan)
        for plan in plans:
            if plan.runs:
                alike = [each for each in plans if each.runs and each.service == plan.service]
                self._take_hosts(plan, alike)
        return found

    def _notes(self, rule: Rule) -> tuple[Note, ...]:
        return rule.notes(self._places[rule.source])

    def _mirrors(self) -> Iterator[tuple[list[Rule], Mirror]]:
        """Each mirror with the alternatives of its rule, in the order of the documents."""
        order = {source: number for number, source in enumerate(self._routing.sources)}
        rules: dict[tuple[Source, Place], list[Rule]] = {}
        for rule in sorted(self._routing.rules, key=lambda each: (order[each.source], _sortable(each.place))):
            rules.setdefault((rule.source, rule.place), []).append(rule)
        for alternatives in rules.values():
            for mirror in alternatives[0].mirrors:
                yield alternatives, mirror

    def _bound(self, plan: Plan) -> None:
        """Exclude requests that more specific rules match until all mirrored requests were mirrored before,
        or stop the plan."""
        witness = "it has no host"
        for host in self._references(plan):
            try:
                draft, witness = self._bounded(plan, host)
                if not witness:
                    plan.draft = draft
                    self._say_less(plan, host)
                    plan.stopped += filter(None, [plan.mistake(), self._marked(plan)])
                    self._reference.setdefault(plan.service, host)
                    return
            except TooManyError:
                witness = _TOO_MANY
        plan.stopped.append(witness)

    def _marked(self, plan: Plan) -> str:
        """Why the Deployment of the input cannot be labelled; empty if it can."""
        name = NamespacedName(plan.service.namespace, plan.deployment)
        before = self._docs.marked.get(name, {})
        other = min(before.items() - plan.written().items(), default=None)
        return f"Deployment {plan.deployment} already has {other[0]}={other[1]}" if other else ""

    def _references(self, plan: Plan) -> list[str]:
        """The candidates for the host that must have all mirrors of the Service: its DNS name if the
        documents have it, else the host of an earlier mirror of the Service, else any host of its rules."""
        own, before = self._docs.own_name(plan.service), self._reference.get(plan.service)
        if self._cases.names(own):
            return [own]
        hosts = dict.fromkeys(_concrete(pattern) for rule in plan.rules for pattern in rule.hosts)
        return [before] if before else list(hosts)

    def _bounded(self, plan: Plan, host: str) -> tuple[Draft, str]:
        """The draft without requests that are not certainly mirrored for a host, and the remaining
        problem."""
        draft = plan.draft
        for _ in range(_MOST_EXCLUSIONS + 1):
            found = self._unsure(draft, plan, host)
            if found is None:
                some = any(draft.admits(each.request) for each in self._cases.of(host, draft))
                return draft, "" if some else "more specific rules match all of its requests"
            request, rule = found
            narrower = draft.without(rule.match.path) if rule and rule.match.path else None
            if narrower is None or narrower.admits(request):
                return draft, f"{request} would be mirrored, but may not be mirrored now{_by(rule, plan)}"
            draft = narrower
        return draft, "more specific rules have more paths than can be excluded"

    def _unsure(self, draft: Draft, plan: Plan, host: str) -> tuple[Request, Rule | None] | None:
        """A request that would be mirrored but may not have been, with the rule that matched it."""
        for request, rules in self._cases.of(host, draft):
            if draft.admits(request):
                for rule in rules:
                    if rule is None or not self._mirrors_to(rule, plan):
                        return request, rule
        return None

    def _mirrors_to(self, rule: Rule, plan: Plan) -> bool:
        """Whether a rule certainly mirrors the plan's Service to the same target with at least the same
        percentage."""
        if rule.problems or self._stops[rule] or rule.service is None or rule.service.service != plan.service:
            return False
        return any(
            (each.backend, each.deployment) == (plan.mirror.backend, plan.mirror.deployment)
            and not each.problems
            and each.percent >= plan.mirror.percent
            for each in rule.mirrors
        )

    def _say_less(self, plan: Plan, host: str) -> None:
        """Report a request that was mirrored and would no longer be."""
        for request, rules in self._cases.of(host, plan.draft):
            if not plan.draft.admits(request) and all(rule in plan.rules for rule in rules):
                plan.less.append(f"{request} is mirrored now, but would not be")
                return

    def _take_hosts(self, plan: Plan, alike: Sequence[Plan]) -> None:
        """Find the additional hosts of which every request may reach the plan's Service."""
        own = self._docs.own_name(plan.service)
        if self._cases.names(own):
            self._check_own(plan, own)
        for host in dict.fromkeys(pattern for rule in plan.rules for pattern in rule.hosts):
            if host == own:
                continue
            if (plan.service, host) not in self._host_rejections:
                self._host_rejections[plan.service, host] = self._host_rejected(plan, host, alike)
            if why := self._host_rejections[plan.service, host]:
                plan.not_hosts.append(f"{host}: {why}")
            else:
                plan.hosts.append(host)

    def _check_own(self, plan: Plan, host: str) -> None:
        """Report how the routing of the Service's DNS name changes. In xds-shadow it always reaches the
        Service."""
        rejected = ""
        for request, rules in self._cases.of(host, plan.draft):
            for rule in rules:
                if rule is None:
                    rejected = (
                        rejected or f"{request} for {plan.service.name} is rejected now, but would not be"
                    )
                elif rule.service is None or rule.service.service != plan.service:
                    plan.stopped.append(
                        f"{request} for {plan.service.name} is routed elsewhere{_by(rule, plan)}"
                    )
                    return
        plan.assumed += [rejected] if rejected else []

    def _host_rejected(self, plan: Plan, host: str, alike: Sequence[Plan]) -> str:
        """Why a host cannot be added to the Service; empty if it can."""
        if host == "*":
            return "it matches any host; list hosts in xds-shadow.io/hosts"
        if self._docs.is_own_name(host):
            return "it is the DNS name of another Service"
        if not is_host_name(host):
            return f"{shown(host)} is not a valid host name of a Service"
        for rule in self._cases.rules(host):
            for note in self._notes(rule):
                if note.fate in (Fate.NO_HOSTS, Fate.STOPS):
                    return f"{rule.source}, {note}"
        try:
            return next(filter(None, self._differences(plan, host, alike)), "")
        except TooManyError:
            return _TOO_MANY

    def _differences(self, plan: Plan, host: str, alike: Sequence[Plan]) -> Iterator[str]:
        """How requests to a host would be treated differently, at the plan's Service and by all its
        mirrors."""
        for case in self._cases.of(host, plan.draft):
            yield from (self._misrouted(plan, case.request, rule) for rule in case.rules)
        for each in alike:
            for case in self._cases.of(host, each.draft):
                if each.draft.admits(case.request):
                    yield from (
                        f"{case.request} is not mirrored now to {each.deployment}{_by(rule, plan)}"
                        for rule in case.rules
                        if not (rule and self._mirrors_to(rule, each))
                    )

    def _misrouted(self, plan: Plan, request: Request, rule: Rule | None) -> str:
        """Why a request that a rule matches would be routed differently; empty if it would not be."""
        if rule is None:
            return f"{request} is rejected now"
        backend = rule.service
        if backend is None or backend.service != plan.service or rule.problems:
            return f"{request} is routed elsewhere{_by(rule, plan)}"
        if why := self._docs.first_port(plan.service, backend.port) or self._docs.has_hosts(plan.service):
            return f"Service {plan.service.name}: {why}"
        return next(iter(other_versions(backend, plan.deployment, self._docs)), "")


def _joined(before: Plan, plan: Plan) -> bool:
    """Combine a plan with one before it of the same Service and Deployment, or stop it with the reason.
    Returns whether it was combined."""
    if not before.runs or before.deployment != plan.deployment:
        return False
    if before.service.namespace != plan.service.namespace:
        return False
    both = before.draft.with_other(plan.draft)
    if before.service != plan.service:
        why = f"is already a shadow of Service {before.service.name}"
    elif both is None or before.annotations != plan.annotations:
        why = f"already has other annotations, for {before.origin}"
    else:
        twice = any(rule in before.rules for rule in plan.rules)
        before.less += (
            [f"the mirror to {plan.deployment} is defined twice; xds-shadow mirrors once"] if twice else []
        )
        before.draft = both
        before.rules += plan.rules
        before.origins += plan.origins
        before.less += [each for each in plan.less if each not in before.less]
        return True
    plan.stopped.append(f"Deployment {plan.deployment} {why}")
    return False


def without_conflicts(plans: Sequence[Plan], routings: Sequence[Routing], docs: Documents) -> None:
    """Stop plans that conflict between projects. A Service is converted from one project, a Deployment has
    one label, and a host has one Service."""
    own = {(host, routing.project) for routing in routings for rule in routing.rules for host in rule.hosts}
    projects = {routing.project for routing in routings}
    services: dict[NamespacedName, Plan] = {}
    deployments: dict[tuple[str, str], Plan] = {}
    owners: dict[str, set[NamespacedName]] = {}
    for plan in (each for each in plans if each.runs):
        first = services.setdefault(plan.service, plan)
        marked = deployments.setdefault((plan.service.namespace, plan.deployment), plan)
        others = projects - {plan.source.project}
        if named := sorted(each for each in others if (docs.own_name(plan.service), each) in own):
            plan.stopped.append(f"documents of {named[0]} also apply to Service {plan.service.name}")
        elif first.source.project != plan.source.project:
            plan.stopped.append(f"Service {plan.service.name} is already converted from another project")
        elif marked is not plan:
            plan.stopped.append(f"Deployment {plan.deployment} is already marked, for {marked.origin}")
        for host in plan.hosts if plan.runs else ():
            owners.setdefault(host, set()).add(plan.service)
    for plan in plans:
        for host in [each for each in plan.hosts if len(owners.get(each, ())) > 1]:
            plan.hosts.remove(host)
            plan.not_hosts.append(f"{host}: another project routes it to another Service")


def _by(rule: Rule | None, plan: Plan) -> str:
    if rule is None:
        return ": no rule matches it"
    where = path_text(rule.place)
    return f": {where}" if rule.source is plan.source and where else f": {rule.source} {where}".rstrip()


def _concrete(pattern: str) -> str:
    """A host that matches the pattern."""
    if pattern == "*":
        return _ANY_HOST
    return f"xyz-any{pattern[1:]}" if pattern.startswith("*") else pattern


def _sortable(place: Place) -> list[tuple[int, str]]:
    return [(step, "") if isinstance(step, int) else (-1, step) for step in place]
