"""A mirror of the documents as labels and annotations, before it is decided whether it runs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_FLOOR, Decimal
from typing import Final

from xds_server.base.ids import NamespacedName
from xds_server.base.text import plain, shown
from xds_server.cli.convert.documents import Documents
from xds_server.cli.convert.draft import Draft, draft_of
from xds_server.cli.convert.fields import path_text
from xds_server.cli.convert.rules import Backend, Mirror, Rule, Source
from xds_server.core.keys import PREFIX, SHADOW_OF
from xds_server.core.policy import parse_policy
from xds_server.core.values import PolicyError, is_host_name

_FINEST: Final = Decimal("0.0001")
_ALL: Final = Decimal(100)
_LONGEST: Final = 16_384


@dataclass(slots=True, kw_only=True)
class Finding:
    """A mirror of the documents. `stopped` are the reasons why it does not run. `less` and `assumed` are
    printed as comments."""

    source: Source
    origins: list[str]
    rules: list[Rule]
    stopped: list[str] = field(default_factory=list)
    less: list[str] = field(default_factory=list)
    assumed: list[str] = field(default_factory=list)

    @property
    def runs(self) -> bool:
        return not self.stopped

    @property
    def origin(self) -> str:
        """Its rules, as a heading."""
        return "; ".join(self.origins)


@dataclass(slots=True, kw_only=True)
class Plan(Finding):
    """A mirror from one Service to one Deployment. `annotations` are those besides the `draft`'s. `hosts` are
    added to the Service; `not_hosts` are not, each with the reason."""

    service: NamespacedName
    deployment: str
    mirror: Mirror
    draft: Draft = field(default_factory=Draft)
    annotations: dict[str, str] = field(default_factory=dict)
    hosts: list[str] = field(default_factory=list)
    not_hosts: list[str] = field(default_factory=list)

    def said(self) -> dict[str, str]:
        """All annotations of the Deployment by name, without the prefix."""
        return {**self.annotations, **self.draft.annotations()}

    def written(self) -> dict[str, str]:
        """The label and the annotations that the Deployment gets."""
        said = {PREFIX + name: value for name, value in self.said().items()}
        return {SHADOW_OF: self.service.name, **said}

    def mistake(self) -> str:
        """Why the commands are invalid; empty if they are valid."""
        for name in (self.service.namespace, self.service.name, self.deployment):
            if not is_host_name(name):
                return f"{shown(name)} is not a valid object name"
        said = self.said()
        if any(plain(value, _LONGEST) != value for value in said.values()):
            return "a value that cannot be written on one line"
        return _mistake(said)


def plan_of(rules: Sequence[Rule], mirror: Mirror, docs: Documents) -> Finding:
    """The plan of a rule's mirror, or a finding with the reasons why there is none. `rules` are the
    alternatives of the rule."""
    first = rules[0]
    source = mirror.source or first.source
    found = Finding(
        source=source,
        origins=[f"{source}, {path_text(first.place)}" if first.place else str(source)],
        rules=list(rules),
        assumed=list(mirror.assumed),
        stopped=[*first.problems, *mirror.problems],
    )
    primary = first.service
    if primary is None or primary.service is None:
        what = f"{primary.text} is not a Service of the cluster" if primary else _SEVERAL
        found.stopped += [] if found.stopped else [what]
        return found
    deployment = _deployment(primary.service, mirror, docs, found)
    if not deployment:
        return found
    plan = Plan(
        source=found.source,
        origins=found.origins,
        rules=found.rules,
        assumed=found.assumed,
        stopped=found.stopped,
        service=primary.service,
        deployment=deployment,
        mirror=mirror,
    )
    _say_mirror(plan, primary, docs)
    _select(plan)
    plan.stopped += other_versions(primary, deployment, docs)
    _check_port(plan, primary, docs)
    return plan


_SEVERAL: Final = "its requests go to several backends or to none; a shadow has one Service"


def _deployment(service: NamespacedName, mirror: Mirror, docs: Documents, found: Finding) -> str:
    """The Deployment of a mirror, or the reason why there is none."""
    target = mirror.backend
    if mirror.deployment:
        return mirror.deployment
    if target.service is None:
        found.stopped.append(f"the mirror {target.text} is not a Service of the cluster")
    elif target.service.namespace != service.namespace:
        found.stopped.append(
            f"the mirror is in another namespace, {target.service.namespace}; a shadow is in the namespace"
            " of its Service"
        )
    elif target.subset is not None:
        return _of_subset(target.service, target.subset.name, target.subset.labels, docs, found)
    elif target.service == service:
        found.stopped.append("the mirror is the Service itself")
    else:
        canary = docs.canary(target.service)
        found.assumed += [canary.assumed] if canary.assumed else []
        return canary.deployment
    return ""


def _of_subset(
    service: NamespacedName, name: str, labels: Mapping[str, str] | None, docs: Documents, found: Finding
) -> str:
    """The Deployment of a subset, by the labels of the subset and the selector of the Service."""
    selector = docs.selector(service)
    what = f"subset {name} of Service {service.name}"
    if labels is None or selector is None:
        missing = "the document that defines it" if labels is None else "the Service"
        found.stopped.append(
            f"the Deployment of {what} is not known; add {missing} and the Deployments to the input"
        )
        return ""
    behind = docs.behind(service.namespace, {**selector, **labels})
    if len(behind) != 1:
        found.stopped.append(f"{len(behind)} Deployments of the input are {what}; a shadow is one Deployment")
        return ""
    return behind[0]


def _say_mirror(plan: Plan, primary: Backend, docs: Documents) -> None:
    """The annotations for endpoints and percentage, and those of the project."""
    target, share = plan.mirror.backend, plan.mirror.percent
    if not plan.mirror.deployment and target.service and target.subset is None:
        plan.annotations["endpoints-from"] = f"service/{target.service.name}"
        if why := docs.mirror_port(plan.service, primary.port, target):
            plan.stopped.append(why)
    plan.annotations.update(plan.mirror.annotations)
    if further := docs.further_ports(plan.service, primary.port):
        plan.assumed.append(f"requests for port {further} of Service {plan.service.name} are also mirrored")
    if not 0 <= share <= _ALL:
        plan.stopped.append(f"a share of {share} percent")
        return
    rounded = share.quantize(_FINEST, ROUND_FLOOR)
    if rounded != share:
        plan.less.append(f"percentages are multiples of {_FINEST} percent: {rounded:f}")
    if rounded != _ALL:
        plan.annotations["percent"] = f"{rounded.normalize():f}"
    if mistake := _mistake(plan.annotations):
        plan.stopped.append(mistake)


def _mistake(annotations: Mapping[str, str]) -> str:
    try:
        parse_policy({PREFIX + name: value for name, value in annotations.items()})
    except PolicyError as error:
        return str(error)
    return ""


def _check_port(plan: Plan, primary: Backend, docs: Documents) -> None:
    """Stop the plan if its port is not routed, or would reject gRPC calls."""
    grpc = any(rule.grpc for rule in plan.rules)
    wrong = docs.not_routed(plan.service, primary.port)
    wrong = wrong or (docs.not_http2(plan.service, primary.port) if grpc else "")
    plan.stopped += [wrong] if wrong else []
    if grpc and plan.service not in docs.services:
        plan.assumed.append(
            f"Service {plan.service.name} is not in the input; its port must declare HTTP/2, such as with"
            " appProtocol kubernetes.io/h2c, or gRPC calls fail"
        )


def _select(plan: Plan) -> None:
    """Express the conditions of the alternatives as a draft."""
    drafts = [draft_of(rule.match) for rule in plan.rules]
    wrong = [each for each in drafts if isinstance(each, str)]
    if wrong:
        plan.stopped.append(f"no annotation expresses this condition: {wrong[0]}")
        return
    found: Draft | None = None
    for draft in _drafts(drafts):
        joined = found.with_other(draft) if found else draft
        if joined is None:
            plan.stopped.append(
                "its alternatives differ in more than one condition, and a shadow has one value for each"
            )
            return
        found = joined
    plan.draft = found or Draft()


def _drafts(drafts: Sequence[Draft | str]) -> Iterator[Draft]:
    return (each for each in drafts if isinstance(each, Draft))


def other_versions(backend: Backend, canary: str, docs: Documents) -> list[str]:
    """Why live traffic of the Service would reach Pods outside of the backend's subset."""
    if backend.subset is None or backend.service is None:
        return []
    selector, wanted = docs.selector(backend.service), backend.subset.labels
    what = f"subset {backend.subset.name} of Service {backend.service.name}"
    if selector is None or wanted is None:
        missing = "its Service, DestinationRule and Deployments"
        return [f"it is not known which Pods are {what}; add {missing} to the input"]
    if wanted.items() <= selector.items():
        return []
    behind = docs.behind(backend.service.namespace, selector)
    of_subset = docs.behind(backend.service.namespace, {**selector, **wanted})
    others = set(behind) - set(of_subset) - {canary}
    if others:
        return [f"Deployment {min(others)} is behind Service {backend.service.name}, but not in {what}"]
    return [] if of_subset else [f"no Deployment of the input is {what}"]
