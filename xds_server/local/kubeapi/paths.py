"""Parses URL paths of resources. Pure."""

from dataclasses import dataclass
from urllib.parse import unquote

from xds_server.local.kubeapi.resources import Resource, find


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A collection (no name), an object, or a subresource of one. Without a namespace it is all namespaces,
    or a cluster-scoped kind."""

    resource: Resource
    namespace: str = ""
    name: str = ""
    subresource: str = ""

    @property
    def creatable(self) -> bool:
        """Whether an object can be created here. Namespaced objects can be created in their namespace
        only."""
        return not self.name and self.resource.namespaced == bool(self.namespace)


def segments(raw_path: str) -> list[str]:
    """The parts of a path, decoded separately, so that an encoded slash stays in its part."""
    return [unquote(part) for part in raw_path.split("/") if part]


def parse(parts: list[str]) -> Target | None:
    """The target of ``api/v1/…`` or ``apis/GROUP/VERSION/…``; None for anything else."""
    match parts:
        case ["api", "v1", *rest]:
            return _within("", "v1", rest)
        case ["apis", group, version, *rest] if group:
            return _within(group, version, rest)
        case _:
            return None


def _within(group: str, version: str, rest: list[str]) -> Target | None:
    match rest:
        case ["namespaces", namespace, plural, *more] if found := find(group, version, plural):
            return _named(found, namespace, more) if found.namespaced else None
        case [plural, *more] if found := find(group, version, plural):
            return _named(found, "", more) if not (found.namespaced and more) else None
        case _:
            return None


def _named(resource: Resource, namespace: str, more: list[str]) -> Target | None:
    match more:
        case []:
            return Target(resource=resource, namespace=namespace)
        case [name]:
            return Target(resource=resource, namespace=namespace, name=name)
        case [name, subresource] if (
            getattr(resource, subresource, False) is True and subresource in _SUBRESOURCES
        ):
            return Target(resource=resource, namespace=namespace, name=name, subresource=subresource)
        case _:
            return None


_SUBRESOURCES = ("status", "scale")
