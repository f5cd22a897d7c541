"""Kubernetes objects, reduced to the fields on which a route or a shadow depends.

Field names and shapes are the API's own (core/v1, apps/v1, discovery.k8s.io/v1), so msgspec decodes a
response body into them and skips all other fields. There is no ``resourceVersion``: it belongs to the watch,
and two objects that differ only in it are equal here.

Optional lists and maps may be ``null`` in the API's JSON. The properties return empty ones instead.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, NamedTuple, Self

import msgspec

from xds_server.core.keys import SERVICE_NAME


class Kind(StrEnum):
    """The kinds that are watched, with their API versions and, of a workload, kubectl's short name."""

    api_version: str
    short: str

    def __new__(cls, name: str, api_version: str = "", short: str = "") -> Self:
        kind = str.__new__(cls, name)
        kind._value_ = name
        kind.api_version = api_version
        kind.short = short
        return kind

    NAMESPACE = "Namespace", "v1"
    SERVICE = "Service", "v1"
    ENDPOINT_SLICE = "EndpointSlice", "discovery.k8s.io/v1"
    POD = "Pod", "v1"
    SECRET = "Secret", "v1"
    DEPLOYMENT = "Deployment", "apps/v1", "deploy"
    STATEFUL_SET = "StatefulSet", "apps/v1", "sts"
    DAEMON_SET = "DaemonSet", "apps/v1", "ds"
    REPLICA_SET = "ReplicaSet", "apps/v1", "rs"
    ROLLOUT = "Rollout", "argoproj.io/v1alpha1", "ro"
    CLONE_SET = "CloneSet", "apps.kruise.io/v1alpha1", "clone"

    @property
    def resource(self) -> str:
        """The plural name in the API's paths."""
        return f"{self.lower()}s"

    @property
    def built_in(self) -> bool:
        """Whether every cluster has the kind, so that an API server without it is an error."""
        return self.api_version in ("v1", "apps/v1", "discovery.k8s.io/v1")


class Ref(NamedTuple):
    """Identifies one object. `namespace` is empty for a Namespace."""

    kind: Kind
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


class _Base(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """Camel-case in JSON, immutable in Python."""


class Meta(_Base, frozen=True):
    """``metadata``. `creation_timestamp` is RFC 3339 in UTC as the API writes it, so it sorts as text; it
    is empty for objects from files. `uid` is kept where Events refer to the object."""

    name: str
    uid: str | None = None
    namespace: str | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None


class _Object(_Base, frozen=True):
    metadata: Meta

    @property
    def name(self) -> str:
        return self.metadata.name

    @property
    def namespace(self) -> str:
        return self.metadata.namespace or ""

    @property
    def labels(self) -> Mapping[str, str]:
        return self.metadata.labels or {}

    @property
    def annotations(self) -> Mapping[str, str]:
        return self.metadata.annotations or {}

    @property
    def created(self) -> str:
        return self.metadata.creation_timestamp or ""


class Namespace(_Object, frozen=True):
    """core/v1 Namespace."""


class ServicePort(_Base, frozen=True):
    """core/v1 ServicePort."""

    port: int
    name: str | None = None
    target_port: int | str | None = None
    protocol: str | None = None
    app_protocol: str | None = None


class ServiceSpec(_Base, frozen=True):
    """core/v1 ServiceSpec."""

    type: str | None = None
    selector: dict[str, str] | None = None
    ports: tuple[ServicePort, ...] | None = None
    ip_families: tuple[str, ...] | None = None


class Service(_Object, frozen=True):
    """core/v1 Service."""

    spec: ServiceSpec = ServiceSpec()

    @property
    def ports(self) -> tuple[ServicePort, ...]:
        return self.spec.ports or ()


class LabelRequirement(_Base, frozen=True):
    """meta/v1 LabelSelectorRequirement; `operator` is In, NotIn, Exists or DoesNotExist."""

    key: str
    operator: str
    values: tuple[str, ...] | None = None


class LabelSelector(_Base, frozen=True):
    """meta/v1 LabelSelector."""

    match_labels: dict[str, str] | None = None
    match_expressions: tuple[LabelRequirement, ...] | None = None


class OwnerReference(_Base, frozen=True):
    """meta/v1 OwnerReference."""

    kind: str
    name: str
    controller: bool | None = None


class WorkloadSpec(_Base, frozen=True):
    """The common part of the specs of all workloads: the selector of their Pods."""

    selector: LabelSelector = LabelSelector()


class Workload(_Object, frozen=True):
    """An object that selects its Pods by a selector, so the label can mark it as a canary."""

    spec: WorkloadSpec = WorkloadSpec()

    @property
    def kind(self) -> Kind:
        return _KIND_OF[type(self)]

    @property
    def key(self) -> str:
        """See `workload_key`."""
        return workload_key(self.kind, self.name)

    @property
    def controller(self) -> OwnerReference | None:
        """The controller that owns the workload, if any. Its labels then come from the controller's Pod
        template and do not mark it."""
        return None


class Deployment(Workload, frozen=True):
    """apps/v1 Deployment."""


class StatefulSet(Workload, frozen=True):
    """apps/v1 StatefulSet."""


class DaemonSet(Workload, frozen=True):
    """apps/v1 DaemonSet."""


class OwnedMeta(Meta, frozen=True):
    """``metadata`` of an object that another workload may own."""

    owner_references: tuple[OwnerReference, ...] | None = None


class ReplicaSet(Workload, frozen=True):
    """apps/v1 ReplicaSet. A ReplicaSet of a Deployment has the labels of the Deployment's Pod template."""

    metadata: OwnedMeta

    @property
    def controller(self) -> OwnerReference | None:
        return next((each for each in self.metadata.owner_references or () if each.controller), None)


class WorkloadRef(_Base, frozen=True):
    """argoproj.io/v1alpha1 ObjectRef: the workload whose Pod template a Rollout uses."""

    kind: str = ""
    name: str = ""


class RolloutSpec(WorkloadSpec, frozen=True):
    """argoproj.io/v1alpha1 RolloutSpec. With a `workload_ref` it has no selector of its own."""

    workload_ref: WorkloadRef | None = None


class Rollout(Workload, frozen=True):
    """argoproj.io/v1alpha1 Rollout."""

    spec: RolloutSpec = RolloutSpec()


class CloneSet(Workload, frozen=True):
    """apps.kruise.io/v1alpha1 CloneSet, of OpenKruise."""


class ObjectReference(_Base, frozen=True):
    """core/v1 ObjectReference, as in ``endpoints[].targetRef``."""

    kind: str | None = None
    name: str | None = None


class EndpointConditions(_Base, frozen=True):
    """discovery.k8s.io/v1 EndpointConditions; an absent `ready` means ready."""

    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class SliceEndpoint(_Base, frozen=True):
    """discovery.k8s.io/v1 Endpoint."""

    addresses: tuple[str, ...] = ()
    conditions: EndpointConditions | None = None
    target_ref: ObjectReference | None = None


class SlicePort(_Base, frozen=True):
    """discovery.k8s.io/v1 EndpointPort."""

    name: str | None = None
    port: int | None = None


class EndpointSlice(_Object, frozen=True):
    """discovery.k8s.io/v1 EndpointSlice."""

    address_type: str = "IPv4"
    endpoints: tuple[SliceEndpoint, ...] | None = None
    ports: tuple[SlicePort, ...] | None = None

    @property
    def service(self) -> str:
        """The name of the Service that the slice belongs to, from its label."""
        return self.labels.get(SERVICE_NAME, "")


class ContainerPort(_Base, frozen=True):
    """core/v1 ContainerPort."""

    container_port: int
    name: str | None = None
    protocol: str | None = None


class Container(_Base, frozen=True):
    """core/v1 Container."""

    ports: tuple[ContainerPort, ...] | None = None


class PodSpec(_Base, frozen=True):
    """core/v1 PodSpec. A sidecar is an init container that keeps running, so both lists count."""

    containers: tuple[Container, ...] | None = None
    init_containers: tuple[Container, ...] | None = None


class PodCondition(_Base, frozen=True):
    """core/v1 PodCondition."""

    type: str
    status: str


class PodIP(_Base, frozen=True):
    """core/v1 PodIP."""

    ip: str | None = None


class PodStatus(_Base, frozen=True):
    """core/v1 PodStatus."""

    pod_ip: str | None = msgspec.field(default=None, name="podIP")
    pod_ips: tuple[PodIP, ...] | None = msgspec.field(default=None, name="podIPs")
    conditions: tuple[PodCondition, ...] | None = None


class Pod(_Object, frozen=True):
    """core/v1 Pod; only those of canaries are watched."""

    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()

    @property
    def addresses(self) -> tuple[str, ...]:
        """Its IP addresses, the primary one first."""
        found = (self.status.pod_ip, *(entry.ip for entry in self.status.pod_ips or ()))
        return tuple(dict.fromkeys(address for address in found if address))

    @property
    def ready(self) -> bool:
        """Whether the Pod may get traffic: it is Ready and not terminating."""
        if self.metadata.deletion_timestamp:
            return False
        return any(c.type == "Ready" and c.status == "True" for c in self.status.conditions or ())


class Secret(_Object, frozen=True):
    """core/v1 Secret; only those that canaries name and that have the label `ALLOW` are watched. `data` is
    base64 and is never printed."""

    data: dict[str, str] | None = None

    def __repr__(self) -> str:
        return f"Secret({self.namespace}/{self.name})"

    def __rich_repr__(self) -> list[tuple[str, str]]:
        return [("name", f"{self.namespace}/{self.name}")]


Object = Namespace | Service | Workload | EndpointSlice | Pod | Secret

KINDS: Mapping[Kind, type[Object]] = {
    Kind.NAMESPACE: Namespace,
    Kind.SERVICE: Service,
    Kind.DEPLOYMENT: Deployment,
    Kind.STATEFUL_SET: StatefulSet,
    Kind.DAEMON_SET: DaemonSet,
    Kind.REPLICA_SET: ReplicaSet,
    Kind.ROLLOUT: Rollout,
    Kind.CLONE_SET: CloneSet,
    Kind.ENDPOINT_SLICE: EndpointSlice,
    Kind.POD: Pod,
    Kind.SECRET: Secret,
}
_KIND_OF: Mapping[type[_Object], Kind] = {cls: kind for kind, cls in KINDS.items()}

WORKLOADS: Final = tuple(kind for kind, cls in KINDS.items() if issubclass(cls, Workload))
"""The kinds that can be canaries, the built-in ones first."""


def workload_key(kind: Kind, name: str) -> str:
    """The identifier of a workload in its namespace: a Deployment's name, and ``KIND/NAME`` of any other, as
    in ``statefulset/db``."""
    return name if kind is Kind.DEPLOYMENT else f"{kind.lower()}/{name}"


def ref_of(obj: Object) -> Ref:
    """The reference that identifies `obj`."""
    return Ref(_KIND_OF[type(obj)], obj.namespace, obj.name)
