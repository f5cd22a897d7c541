"""Which lists of an object are maps or sets in truth, and which mappings are one value.

It is what the `patchMergeKey`, `listType` and `mapType` markers of Kubernetes' API types say, as far as the
kinds that are served have such fields (k8s.io/api). Both kinds of merging need it: strategic merge patches,
and server-side apply.
"""

from typing import Final

from xds_server.local.kubeapi.resources import Resource

Path = tuple[str, ...]
"""The names of the fields that lead to a value, without the indices of lists."""

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
    """The fields that tell the items of the list at `path` apart; empty for a list that is one value."""
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
    """Whether the list at `path` holds each of its values once."""
    return path == ("metadata", "finalizers")


def is_one_value(path: Path) -> bool:
    """Whether the mapping at `path` has one owner, and is applied whole."""
    return path[-1] in _ATOMIC_MAPS


def keys_of(item: object, keys: tuple[str, ...]) -> tuple[object, ...] | None:
    """What tells an item of a list apart; None if it has no value for the first of its keys."""
    if not isinstance(item, dict) or keys[0] not in item:
        return None
    return tuple(item.get(key, "TCP" if key == "protocol" else None) for key in keys)
