"""The table of served kinds: their names and subresources."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One kind at one version, as in discovery."""

    group: str = ""  # empty for the core group
    version: str = "v1"
    kind: str
    plural: str
    singular: str
    short_names: tuple[str, ...] = ()
    namespaced: bool = True
    categories: tuple[str, ...] = ()
    status: bool = False  # has /status
    scale: bool = False  # has /scale

    @property
    def api_version(self) -> str:
        """The `apiVersion` of an object."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified(self) -> str:
        """The resource in messages and file names, such as `deployments.apps`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def qualified_kind(self) -> str:
        """The kind in messages, such as `Deployment.apps`."""
        return f"{self.kind}.{self.group}" if self.group else self.kind


_RBAC = "rbac.authorization.k8s.io"

NAMESPACES = Resource(
    kind="Namespace",
    plural="namespaces",
    singular="namespace",
    short_names=("ns",),
    namespaced=False,
    status=True,
)
SERVICES = Resource(
    kind="Service",
    plural="services",
    singular="service",
    short_names=("svc",),
    categories=("all",),
    status=True,
)
DEPLOYMENTS = Resource(
    group="apps",
    kind="Deployment",
    plural="deployments",
    singular="deployment",
    short_names=("deploy",),
    categories=("all",),
    status=True,
    scale=True,
)
REPLICASETS = Resource(
    group="apps",
    kind="ReplicaSet",
    plural="replicasets",
    singular="replicaset",
    short_names=("rs",),
    categories=("all",),
    status=True,
)
STATEFULSETS = Resource(
    group="apps",
    kind="StatefulSet",
    plural="statefulsets",
    singular="statefulset",
    short_names=("sts",),
    categories=("all",),
    status=True,
    scale=True,
)
DAEMONSETS = Resource(
    group="apps",
    kind="DaemonSet",
    plural="daemonsets",
    singular="daemonset",
    short_names=("ds",),
    categories=("all",),
    status=True,
)
ENDPOINTSLICES = Resource(
    group="discovery.k8s.io", kind="EndpointSlice", plural="endpointslices", singular="endpointslice"
)
PODS = Resource(
    kind="Pod", plural="pods", singular="pod", short_names=("po",), categories=("all",), status=True
)
SECRETS = Resource(kind="Secret", plural="secrets", singular="secret")
CONFIGMAPS = Resource(kind="ConfigMap", plural="configmaps", singular="configmap", short_names=("cm",))
SERVICEACCOUNTS = Resource(
    kind="ServiceAccount", plural="serviceaccounts", singular="serviceaccount", short_names=("sa",)
)
EVENTS = Resource(kind="Event", plural="events", singular="event", short_names=("ev",))
LEASES = Resource(group="coordination.k8s.io", kind="Lease", plural="leases", singular="lease")
PODDISRUPTIONBUDGETS = Resource(
    group="policy",
    kind="PodDisruptionBudget",
    plural="poddisruptionbudgets",
    singular="poddisruptionbudget",
    short_names=("pdb",),
    status=True,
)
NETWORKPOLICIES = Resource(
    group="networking.k8s.io",
    kind="NetworkPolicy",
    plural="networkpolicies",
    singular="networkpolicy",
    short_names=("netpol",),
)
ROLES = Resource(group=_RBAC, kind="Role", plural="roles", singular="role")
ROLEBINDINGS = Resource(group=_RBAC, kind="RoleBinding", plural="rolebindings", singular="rolebinding")
CLUSTERROLES = Resource(
    group=_RBAC, kind="ClusterRole", plural="clusterroles", singular="clusterrole", namespaced=False
)
CLUSTERROLEBINDINGS = Resource(
    group=_RBAC,
    kind="ClusterRoleBinding",
    plural="clusterrolebindings",
    singular="clusterrolebinding",
    namespaced=False,
)

RESOURCES: tuple[Resource, ...] = (
    NAMESPACES,
    SERVICES,
    DEPLOYMENTS,
    REPLICASETS,
    STATEFULSETS,
    DAEMONSETS,
    ENDPOINTSLICES,
    PODS,
    SECRETS,
    CONFIGMAPS,
    SERVICEACCOUNTS,
    EVENTS,
    LEASES,
    PODDISRUPTIONBUDGETS,
    NETWORKPOLICIES,
    ROLES,
    ROLEBINDINGS,
    CLUSTERROLES,
    CLUSTERROLEBINDINGS,
)

_BY_PATH = {(each.group, each.version, each.plural): each for each in RESOURCES}
_BY_KIND = {(each.api_version, each.kind): each for each in RESOURCES}


def find(group: str, version: str, plural: str) -> Resource | None:
    """The resource in a URL."""
    return _BY_PATH.get((group, version, plural))


def of_kind(api_version: object, kind: object) -> Resource | None:
    """The resource for an object's `apiVersion` and `kind`."""
    return (
        _BY_KIND.get((api_version, kind)) if isinstance(api_version, str) and isinstance(kind, str) else None
    )


def group_versions() -> tuple[tuple[str, str], ...]:
    """The named groups and their versions, without the core group, in the order of the table."""
    return tuple(dict.fromkeys((each.group, each.version) for each in RESOURCES if each.group))
