"""What holds for one shadow: its workload's annotations, on top of its Namespace's and the installation's.

A policy is understood whole or refused: an unknown or malformed annotation means no mirroring, never a guess,
as a typo in a limit must not mirror without it.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from xds_server.base.text import quoted, shown
from xds_server.core import quantities, values
from xds_server.core.bounds import (
    BOUNDS,
    BOUNDS_OF,
    ENDPOINTS_ALLOWED,
    REMOVED,
    NotAllowedError,
    services,
)
from xds_server.core.keys import PREFIX, settings_of
from xds_server.core.layers import NO_FILE, Layer
from xds_server.core.limits import OF_SERVICES
from xds_server.core.objects import Namespace
from xds_server.core.terms import Policy, SecretKey, Selection, Setting, Treatment
from xds_server.core.values import PolicyError

_Read = tuple[Layer, Mapping[str, Any]]
"""A layer, and what it says."""

ENDPOINTS_FROM: Final = "endpoints-from"
CREDENTIAL: Final = "credential-from-secret"

LARGEST_REDACTED: Final = 256 * 1024
"""Bytes of a body that is looked into, by the worker that serves users meanwhile: measured, 8 ms at that
size."""

_READERS: Final[Mapping[str, Callable[[str], Any]]] = {
    CREDENTIAL: values.secret_key,
    ENDPOINTS_FROM: values.service,
    "exclude-paths": values.paths,
    "headers": values.header_conditions,
    "host": values.host,
    "max-body": quantities.size,
    "max-concurrent": quantities.concurrent,
    "max-rps": quantities.rps,
    "methods": values.methods,
    "paths": values.paths,
    "paused": values.boolean,
    "percent": quantities.percent,
    "redact": values.redactions,
    "remove-headers": values.header_names,
    "rewrite-path-prefix": values.rewrites,
    "sample": values.sample,
    "set-headers": values.set_headers,
    "timeout": quantities.duration_ms,
    "until": quantities.time,
}
NAMES: Final = tuple(sorted(_READERS))
"""Of all annotations of a shadow, without prefix."""

_OF_ONE_SHADOW: Final = frozenset({ENDPOINTS_FROM})
"""What cannot be a default for others."""

_NO_POLICY: Final = Policy()
_DEFAULTS: Final[Mapping[str, Any]] = {
    CREDENTIAL: None,
    ENDPOINTS_FROM: None,
    "exclude-paths": _NO_POLICY.selection.exclude_paths,
    "headers": _NO_POLICY.selection.headers,
    "host": _NO_POLICY.treatment.host,
    "max-body": _NO_POLICY.treatment.max_body,
    "max-concurrent": _NO_POLICY.treatment.max_concurrent,
    "max-rps": _NO_POLICY.treatment.max_rps,
    "methods": _NO_POLICY.selection.methods,
    "paths": _NO_POLICY.selection.paths,
    "paused": _NO_POLICY.paused,
    "percent": _NO_POLICY.per_million,
    "redact": (),
    "remove-headers": (),
    "rewrite-path-prefix": (),
    "sample": _NO_POLICY.correlated,
    "set-headers": (),
    "timeout": _NO_POLICY.treatment.timeout_ms,
    "until": None,
}


def parse_policy(
    annotations: Mapping[str, str],
    namespace: Layer | None = None,
    installation: Layer = NO_FILE,
    own: str = "the Deployment",
) -> Policy:
    """The policy of a workload, called `own`, with these `annotations` (those of other prefixes are ignored).

    Raises:
        NotAllowedError: it asks for more than its Namespace or the installation allows.
        PolicyError: a setting cannot be understood; it is named with its owner.
    """
    said = Layer("", settings_of(annotations))
    _refuse_unknown(said, _KNOWN)
    defaults = [(layer, check_defaults(layer)) for layer in (namespace, installation) if layer]
    found: dict[str, Any] = dict(_DEFAULTS)
    asked: dict[str, Layer] = {}
    used: list[Setting] = []
    for name in NAMES:
        if name in said.values:
            asked[name], found[name] = said, _read(said, name, _READERS[name])
        for layer, settings in defaults:
            if name in settings and name not in asked:
                asked[name], found[name] = layer, settings[name]
        asks = asked.get(name)
        if asks:
            used.append(Setting(name, asks.values[name].strip(), asks.owner or own))
        if name in BOUNDS_OF:
            found[name], gave = _bounded(name, found[name], asks, defaults)
            used += gave
    _refuse_what_is_removed(found["set-headers"], asked, defaults)
    _refuse_contradictions(found)
    if found["redact"] and found["max-body"] > LARGEST_REDACTED:
        if "max-body" in asked:
            raise PolicyError("redact looks into bodies of up to 256Ki, and max-body asks for larger ones")
        found["max-body"] = LARGEST_REDACTED
    return _policy(found, tuple(used))


def check_defaults(layer: Layer) -> Mapping[str, Any]:
    """Every setting of a Namespace or of the installation, understood.

    Raises:
        PolicyError: for the first, by name, that cannot be.
    """
    settings = _understood(layer)
    if isinstance(settings, str):
        raise PolicyError(settings)
    return settings


@lru_cache(maxsize=1024)
def _understood(layer: Layer) -> Mapping[str, Any] | str:
    """What the layer says, or its first mistake: once for all shadows of a Namespace."""
    try:
        _refuse_unknown(layer, _KNOWN_OF_LAYERS)
        return {name: _read(layer, name, _READERS_OF_LAYERS[name]) for name in sorted(layer.values)}
    except PolicyError as error:
        return str(error)


def namespace_unknown(namespace: Namespace | None, awaited: frozenset[str]) -> bool:
    """Whether the bounds of a namespace are not known yet, so that nothing in it may be mirrored: its
    Namespace is among what is `awaited` (`model.world.Awaiting`). Files need not have any."""
    return namespace is None and "" in awaited


def endpoints_source(annotations: Mapping[str, str], *layers: Layer) -> str | None:
    """The Service that a canary's endpoints come from, also where the rest of its policy is rejected: it says
    what is to be kept out of live traffic. One that the Namespace or the installation, `layers`, does not
    allow says nothing."""
    try:
        found = values.service(annotations.get(PREFIX + ENDPOINTS_FROM, "").strip())
        for layer in layers:
            if ENDPOINTS_ALLOWED in layer.values and found not in services(layer.values[ENDPOINTS_ALLOWED]):
                return None
    except PolicyError:
        return None
    return found


def credential_source(*layers: Mapping[str, str]) -> SecretKey | None:
    """The Secret that a credential comes from, by the first of these settings that has one: what is to be
    read, whatever becomes of the rest."""
    text = next((layer[CREDENTIAL] for layer in layers if CREDENTIAL in layer), "")
    try:
        return values.secret_key(text.strip())
    except PolicyError:
        return None


_KNOWN: Final = frozenset(NAMES)
_READERS_OF_LAYERS: Final[Mapping[str, Callable[[str], Any]]] = {
    **{name: read for name, read in _READERS.items() if name not in _OF_ONE_SHADOW},
    **{name: bound.read for name, bound in BOUNDS.items()},
    **OF_SERVICES,
}
_KNOWN_OF_LAYERS: Final = frozenset(_READERS_OF_LAYERS)


def _refuse_unknown(layer: Layer, known: frozenset[str]) -> None:
    unknown = min(layer.values.keys() - known, default=None)
    if unknown is not None:
        names = ", ".join(sorted(known))
        raise PolicyError(f"{layer.called(unknown)} is not known here; known are {names}")


def _read(layer: Layer, name: str, read: Callable[[str], Any]) -> Any:
    try:
        return read(layer.values[name].strip())
    except PolicyError as error:
        raise PolicyError(f"{layer.called(name)}: {error}") from None


def _bounded(name: str, value: Any, asks: Layer | None, layers: Sequence[_Read]) -> tuple[Any, list[Setting]]:
    """The value that holds under the bounds of all `layers`, and the bounds that gave it."""
    gave: dict[Any, Setting] = {}
    for key, bound in BOUNDS_OF[name].items():
        for layer, settings in layers:
            if key not in settings:
                continue
            text = layer.values[key].strip()
            try:
                limited = bound.limited(value, asks is not None, settings[key])
            except NotAllowedError as error:
                why = str(error).format(bound=f"{quoted(text)} ({layer.called(key)})")
                what = f"{asks.called(name)}: {shown(asks.values[name])}" if asks else layer.called(key)
                raise NotAllowedError(f"{what}: {why}") from None
            if limited != value:
                value = limited
                gave[layer.owner if bound.adds else None] = Setting(name, text, layer.called(key))
    return value, list(gave.values())


def _refuse_what_is_removed(
    changes: Sequence[tuple[str, str]], asked: Mapping[str, Layer], layers: Sequence[_Read]
) -> None:
    """A header that has to be removed must not come back, by its own name or in another's value."""
    for layer, settings in layers:
        removed = frozenset(settings.get(REMOVED, ()))
        for name, value in changes:
            taken = removed & {name, *values.headers_read(value)}
            if taken:
                asks, by = asked["set-headers"], f"{quoted(layer.values[REMOVED])} ({layer.called(REMOVED)})"
                raise NotAllowedError(
                    f"{asks.called('set-headers')}: the header {min(taken)} has to be removed: {by}"
                )


def _refuse_contradictions(found: Mapping[str, Any]) -> None:
    both = {name for name, _ in found["set-headers"]} & set(found["remove-headers"])
    if both:
        raise PolicyError(f"the header {min(both)} is both in set-headers and in remove-headers")
    changed = {name for name, _ in found["set-headers"]}
    excluded = found["exclude-paths"]
    paths = found["paths"] or {values.ALL_PATHS}
    if excluded and all(any(each.covers(path) for each in excluded) for path in paths):
        raise PolicyError(
            "exclude-paths covers all of paths, so no request is left; take one of the two away"
        )
    if found[CREDENTIAL] and "authorization" in changed:
        raise PolicyError(f"the header authorization is set by set-headers and by {CREDENTIAL}")


def _policy(found: Mapping[str, Any], settings: tuple[Setting, ...]) -> Policy:
    return Policy(
        selection=Selection(
            methods=found["methods"],
            paths=found["paths"],
            exclude_paths=found["exclude-paths"],
            headers=found["headers"],
        ),
        treatment=Treatment(
            set_headers=found["set-headers"],
            remove_headers=found["remove-headers"],
            host=found["host"],
            rewrites=found["rewrite-path-prefix"],
            redactions=found["redact"],
            timeout_ms=found["timeout"],
            max_concurrent=found["max-concurrent"],
            max_rps=found["max-rps"],
            max_body=found["max-body"],
        ),
        per_million=found["percent"],
        correlated=found["sample"],
        credential=found[CREDENTIAL],
        paused=found["paused"],
        until=found["until"],
        endpoints_from=found[ENDPOINTS_FROM],
        settings=settings,
    )
