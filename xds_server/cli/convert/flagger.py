"""Flagger: a Canary whose analysis has ``mirror: true``.

While it analyses a new version, Flagger mirrors the requests of its Service to the target Deployment. It
creates the stable Deployment itself. The conditions are those of the VirtualService that it creates.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Final

from xds_server.base.ids import NamespacedName
from xds_server.cli.convert.documents import Documents
from xds_server.cli.convert.fields import Document, Harmless, Part, PlainMetadata, lost, no_hosts, stops
from xds_server.cli.convert.istio import HttpMatch, match_of
from xds_server.cli.convert.reading import documents
from xds_server.cli.convert.rules import Backend, Mirror, Routing, Rule, Source

PROJECT: Final = "Flagger"
GROUPS: Final = ("flagger.app",)
PASSED: Final = ("AlertProvider", "MetricTemplate")

_WITH_MIRRORS: Final = ("istio", "gatewayapi")
_UNTIL: Final = (
    "Flagger mirrors during an analysis; xds-shadow mirrors until the label is removed. Keep a stable"
    " Deployment behind Service {}"
)
_Promotes = Annotated[object, lost("xds-shadow has no analysis, promotion and rollback")]
_Kubernetes = Annotated[object, lost("xds-shadow creates no Services and Deployments")]


class TargetRef(Part, frozen=True):
    """The workload."""

    api_version: Harmless = None
    kind: str = ""
    name: str = ""


class Analysis(Part, frozen=True):
    """CanaryAnalysis."""

    mirror: bool = False
    mirror_weight: int | None = None
    match: Annotated[object, stops("matching requests are routed to the new version")] = None
    session_affinity: Annotated[object, lost("xds-shadow has no session affinity")] = None
    interval: _Promotes = None
    schedule: _Promotes = None
    iterations: _Promotes = None
    threshold: _Promotes = None
    primary_ready_threshold: _Promotes = None
    canary_ready_threshold: _Promotes = None
    max_weight: _Promotes = None
    step_weight: _Promotes = None
    step_weights: _Promotes = None
    step_weight_promotion: _Promotes = None
    alerts: _Promotes = None
    metrics: _Promotes = None
    webhooks: _Promotes = None


class ServicePart(Part, frozen=True):
    """CanaryService."""

    name: str = ""
    port: int | None = None
    hosts: list[str] = []
    match: list[HttpMatch] = []
    gateways: Harmless = None
    gateway_refs: Harmless = None
    mesh_name: Harmless = None
    port_name: _Kubernetes = None
    target_port: _Kubernetes = None
    app_protocol: _Kubernetes = None
    port_discovery: _Kubernetes = None
    headless: _Kubernetes = None
    apex: _Kubernetes = None
    primary: _Kubernetes = None
    canary: _Kubernetes = None
    backends: _Kubernetes = None
    timeout: Annotated[object, lost("xds-shadow sets no route timeout for the stable version")] = None
    retries: Annotated[object, lost("xds-shadow retries all requests alike")] = None
    traffic_policy: Annotated[object, lost("xds-shadow balances and limits all requests alike")] = None
    rewrite: Annotated[object, stops("xds-shadow does not rewrite requests to the stable version")] = None
    headers: Annotated[object, stops("xds-shadow does not change requests to the stable version")] = None
    cors_policy: Annotated[object, stops("it answers preflight requests; xds-shadow mirrors them")] = None
    mirror: Annotated[object, lost("additional mirrors: set annotations on their Deployments")] = None
    delegation: Annotated[object, stops("the VirtualService that delegates to it may narrow it")] = None


class Spec(Part, frozen=True):
    """CanarySpec."""

    provider: str = ""
    target_ref: TargetRef = TargetRef()
    service: ServicePart = ServicePart()
    analysis: Analysis | None = None
    canary_analysis: Analysis | None = None
    metrics_server: _Promotes = None
    progress_deadline_seconds: _Promotes = None
    skip_analysis: _Promotes = None
    revert_on_deletion: _Promotes = None
    suspend: _Promotes = None
    autoscaler_ref: _Kubernetes = None
    ingress_ref: Annotated[object, no_hosts("the Ingress is not read with it")] = None
    route_ref: Annotated[object, no_hosts("the route is not read with it")] = None
    upstream_ref: Annotated[object, no_hosts("the upstream is not read with it")] = None


class Canary(Document, frozen=True):
    """A Canary."""

    metadata: PlainMetadata = PlainMetadata()
    spec: Spec = Spec()


KINDS: Final[Mapping[str, type[Document]]] = {"Canary": Canary}


def routing(docs: Documents) -> Routing:
    """The rule of each Canary, in one or more alternatives."""
    canaries, wrong = documents(docs, PROJECT, GROUPS, Canary, "Canary")
    rules = [rule for source, canary in canaries for rule in _rules(source, canary.spec, docs)]
    sources = [source for source, _ in canaries]
    return Routing(PROJECT, (*rules, *wrong), (*sources, *(each.source for each in wrong)), ordered=False)


def _rules(source: Source, spec: Spec, docs: Documents) -> list[Rule]:
    namespace, target = source.name.namespace, spec.target_ref
    service = NamespacedName(namespace, spec.service.name or target.name)
    local = {each: docs.local(each, namespace) for each in spec.service.hosts}
    hosts = dict.fromkeys(
        (docs.own_name(service), *(docs.own_name(its) if its else host for host, its in local.items()))
    )
    analysis = spec.analysis or spec.canary_analysis or Analysis()
    mirrors = (_mirror(spec, analysis, service),) if analysis.mirror else ()
    backend = Backend(service, f"Service {service.name}", spec.service.port)
    return [
        Rule(source, ("spec", "service"), tuple(hosts), match_of(match), (backend,), mirrors)
        for match in spec.service.match or [HttpMatch()]
    ]


def _mirror(spec: Spec, analysis: Analysis, service: NamespacedName) -> Mirror:
    kind, name = spec.target_ref.kind, spec.target_ref.name
    problems = []
    if kind != "Deployment":
        problems.append(
            f"its target is a {kind or 'nothing'}, and the commands are for a Deployment; a StatefulSet or"
            " DaemonSet takes the same label and annotations"
        )
    if spec.provider and not spec.provider.startswith(_WITH_MIRRORS):
        problems.append(f"the provider {spec.provider} does not support mirroring")
    return Mirror(
        Backend(None, name),
        Decimal(100 if analysis.mirror_weight is None else analysis.mirror_weight),
        deployment=name,
        problems=tuple(problems),
        assumed=(_UNTIL.format(service.name),),
    )
