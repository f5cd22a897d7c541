"""The policy of a shadow: its workload's annotations, on top of its Namespace's and the installation's.

A policy is valid or rejected as a whole. If an annotation is unknown or not valid, nothing is mirrored: a
typo in a limit must not cause mirroring without the limit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from xds_server.base.text import quoted, shown, suggestion
from xds_server.core import values
from xds_server.core.annotations import (
    CREDENTIAL,
    ENDPOINTS_ALLOWED,
    ENDPOINTS_FROM,
    MAX_BODY,
    OF_LAYERS,
    OF_SHADOW,
    REMOVED,
    SET_HEADERS,
    Policy,
    policy_of,
)
from xds_server.core.bounds import NotAllowedError
from xds_server.core.keys import settings_of
from xds_server.core.layers import NO_FILE, Layer
from xds_server.core.objects import Namespace
from xds_server.core.rows import Annotation
from xds_server.core.service_annotations import OF_SERVICE
from xds_server.core.terms import SecretKey, Setting
from xds_server.core.values import PolicyError

MAX_REDACTED: Final = 256 * 1024
"""Bytes of a body that `redact` parses. The Envoy worker that parses it serves live traffic as well; a body
of this size takes 8 ms (measured)."""


def parse_policy(
    annotations: Mapping[str, str],
    namespace: Layer | None = None,
    installation: Layer = NO_FILE,
    own: str = "the Deployment",
) -> Policy:
    """The policy of a workload, called `own`, with these `annotations` (those of other prefixes are ignored).

    Raises:
        NotAllowedError: it asks for more than its Namespace or the installation allows.
        PolicyError: a setting is not valid; the error names it and its owner.
    """
    return merge(Layer("", settings_of(annotations)), namespace, installation, own)


def merge(settings: Layer, namespace: Layer | None, installation: Layer, own: str) -> Policy:
    """As `parse_policy`, where `settings` are the workload's own settings."""
    _reject_unknown(settings, OF_SHADOW)
    layers = [layer for layer in (namespace, installation) if layer]
    for layer in layers:
        check_defaults(layer)
    found: dict[str, Any] = {}
    set_by: dict[str, Layer] = {}
    used: list[Setting] = []
    for name, row in OF_SHADOW.items():
        source = next((layer for layer in (settings, *layers) if name in layer.values), None)
        found[name] = source.read(row) if source else row.default
        if source:
            set_by[name] = source
            used.append(Setting(name, source.values[name].strip(), source.owner or own, source.called(name)))
        found[name], applied = _bounded(row, found[name], source, layers)
        used += applied
    policy = policy_of(found, tuple(used))
    _reject_removed_headers(policy, set_by, layers)
    _reject_contradictions(policy)
    return _with_small_bodies(policy, set_by) if policy.treatment.redactions else policy


def check_defaults(layer: Layer) -> None:
    """Read every setting of a Namespace or of the installation.

    Raises:
        PolicyError: for the first, by name, that is not valid.
    """
    _reject_unknown(layer, OF_LAYERS)
    for name in sorted(layer.values):
        layer.read(OF_LAYERS[name])


def namespace_unknown(namespace: Namespace | None, awaited: frozenset[str]) -> bool:
    """Whether the bounds of a namespace are not known yet, because its Namespace is `awaited`
    (`world.Awaiting`). Nothing is mirrored until then. Manifests may have no Namespace."""
    return namespace is None and "" in awaited


def endpoints_source(settings: Layer, *layers: Layer) -> str | None:
    """The Service that a canary's endpoints come from. It also applies if the rest of the policy is rejected,
    because it decides which endpoints are excluded from live traffic. None if a layer, of the Namespace or
    the installation, does not allow the Service."""
    try:
        found = settings.read(ENDPOINTS_FROM) if ENDPOINTS_FROM.name in settings.values else None
        for layer in layers:
            if ENDPOINTS_ALLOWED.name in layer.values and found not in layer.read(ENDPOINTS_ALLOWED):
                return None
    except PolicyError:
        return None
    return found


def credential_source(*layers: Layer) -> SecretKey | None:
    """The Secret that a credential comes from, by the first of these layers that sets one. It also applies if
    the rest of the policy is not valid."""
    try:
        return next((layer.read(CREDENTIAL) for layer in layers if CREDENTIAL.name in layer.values), None)
    except PolicyError:
        return None


def _reject_unknown(layer: Layer, known: Mapping[str, Any]) -> None:
    unknown = min(layer.values.keys() - known.keys(), default=None)
    if unknown is not None:
        of_service = any(unknown == each.name for each in OF_SERVICE)
        hint = "it is an annotation of a Service" if of_service else suggestion(unknown, known)
        raise PolicyError(f"{layer.called(unknown)} is not known here; {hint}")


def _bounded(
    row: Annotation[Any], value: Any, source: Layer | None, layers: Sequence[Layer]
) -> tuple[Any, list[Setting]]:
    """The value within the bounds of all `layers`, and the bounds that changed it, as settings."""
    applied: dict[Any, Setting] = {}
    bound = row.bound
    for layer in layers if bound else ():
        if bound is None or bound.name not in layer.values:
            continue
        text = layer.values[bound.name].strip()
        try:
            limited = bound.limited(value, source is not None, layer.read(bound))
        except NotAllowedError as error:
            why = str(error).format(bound=f"{quoted(text)} ({layer.called(bound.name)})")
            what = layer.called(bound.name)
            if source:
                what = f"{source.called(row.name)}: {shown(source.values[row.name])}"
            raise NotAllowedError(f"{what}: {why}") from None
        if limited != value:
            value = limited
            called = layer.called(bound.name)
            applied[layer.owner if bound.adds else None] = Setting(row.name, text, called, called)
    return value, list(applied.values())


def _reject_removed_headers(policy: Policy, set_by: Mapping[str, Layer], layers: Sequence[Layer]) -> None:
    """Reject a policy that sets a header that has to be removed, or copies its value into another header."""
    for layer in layers:
        removed = frozenset(layer.read(REMOVED) if REMOVED.name in layer.values else ())
        for name, value in policy.treatment.set_headers:
            taken = removed & {name, *values.headers_read(value)}
            if taken:
                by = f"{quoted(layer.values[REMOVED.name])} ({layer.called(REMOVED.name)})"
                whose = set_by[SET_HEADERS.name].called(SET_HEADERS.name)
                raise NotAllowedError(f"{whose}: the header {min(taken)} has to be removed: {by}")


def _reject_contradictions(policy: Policy) -> None:
    changed = {name for name, _ in policy.treatment.set_headers}
    both = changed & set(policy.treatment.remove_headers)
    if both:
        raise PolicyError(f"the header {min(both)} is both in set-headers and in remove-headers")
    excluded = policy.selection.exclude_paths
    paths = policy.selection.paths or {values.ALL_PATHS}
    if excluded and all(any(each.covers(path) for each in excluded) for path in paths):
        raise PolicyError(
            "exclude-paths covers all of paths, so no request is left; take one of the two away"
        )
    if policy.credential and "authorization" in changed:
        raise PolicyError(f"the header authorization is set by set-headers and by {CREDENTIAL.name}")


def _with_small_bodies(policy: Policy, set_by: Mapping[str, Layer]) -> Policy:
    if policy.treatment.max_body <= MAX_REDACTED:
        return policy
    if MAX_BODY.name in set_by:
        raise PolicyError("redact parses bodies of up to 256Ki, and max-body allows larger ones")
    return replace(policy, treatment=replace(policy.treatment, max_body=MAX_REDACTED))
