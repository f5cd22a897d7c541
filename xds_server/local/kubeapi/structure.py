"""Which lists of an object are maps or sets, and which mappings are atomic.

The data follow the `patchMergeKey`, `listType` and `mapType` markers of Kubernetes' API types (k8s.io/api),
for the fields of the served kinds. Strategic merge patches and server-side apply both need them.
"""

from typing import Final

from xds_server.local.kubeapi.resources import Resource

Path = tuple[str, ...]
"""The names of the fields that lead to a value, without list indices."""

_CONTAINERS: Final = ("containers", "initContainers", "ephemeralContainers")

_LIST_KEYS: Final[dict[str, tuple[str, ...]]] = {
    **dict.fromkeys(_CONTAINERS, ("name",)),
    "env": ("name",),
    "volumeMounts": ("mountPath",),
    "volumeDevices": ("devicePath",),
    "volumes": ("name",),
    "imagePullSecrets": ("name",),
    "hostAliases": ("ip",),
    "topologySpreadConstraints": ("topologyKey", "whenUnsatisfiable"),
    "ownerReferences": ("uid",),
    "podIPs": ("ip",),
    "resourceClaims": ("name",),
}
_ATOMIC_MAPS: Final = frozenset(
    {
        "selector",
        "labelSelector",
        "nodeSelector",
        "configMapKeyRef",
        "secretKeyRef",
        "fieldRef",
        "resourceFieldRef",
        "roleRef",
        "involvedObject",
        "related",
    }
)


def list_keys(resource: Resource, path: Path) -> tuple[str, ...]:
    """The fields that identify the items of the list at `path`; empty for an atomic list."""
    field, parent = path[-1], path[-2] if len(path) > 1 else ""
    match field:
        case "imagePullSecrets" if resource.plural == "serviceaccounts":
            return ()
        case "ports" if parent in _CONTAINERS:
            return ("containerPort", "protocol")
        case "ports" if resource.plural == "services":
            return ("port", "protocol")
        case "conditions" if parent == "status":
            return ("type",)
        case "secrets" if resource.plural == "serviceaccounts":
            return ("name",)
    return _LIST_KEYS.get(field, ())


def is_set(path: Path) -> bool:
    """Whether the list at `path` is a set."""
    return path == ("metadata", "finalizers")


def is_one_value(path: Path) -> bool:
    """Whether the mapping at `path` is atomic: it has one owner and is applied as a whole."""
    return path[-1] in _ATOMIC_MAPS


def keys_of(item: object, keys: tuple[str, ...]) -> tuple[object, ...] | None:
    """The key of a list item; None if it has no value for the first key field."""
    if not isinstance(item, dict) or keys[0] not in item:
        return None
    return tuple(item.get(key, "TCP" if key == "protocol" else None) for key in keys)
