"""What holds for one shadow: its Deployment's annotations, on top of its Namespace's and the installation's.

A policy is understood whole or refused: an unknown or malformed annotation means no mirroring, never a guess,
as a typo in a limit must not mirror without it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from xds_server.model.objects import PREFIX
from xds_server.shadows import values
from xds_server.shadows.bounds import BOUNDS, NotAllowedError
from xds_server.shadows.terms import Policy, SecretKey, Selection, Setting, Treatment
from xds_server.shadows.values import PolicyError, shown

ENDPOINTS_FROM: Final = "endpoints-from"
CREDENTIAL: Final = "credential-from-secret"

LARGEST_REDACTED: Final = 256 * 1024
"""Bytes of a body that is looked into, by the worker that serves users meanwhile: measured, 8 ms at that
size."""


class Layer(NamedTuple):
    """Settings of one owner, by their names without prefix. `owner` completes "annotation x of …"."""

    owner: str
    values: Mapping[str, str]

    def called(self, name: str) -> str:
        """The setting as its owner knows it."""
        return f"annotation {PREFIX}{name} of {self.owner}" if self.owner else f"annotation {PREFIX}{name}"


class PolicyFile(Layer):
    """What holds for the whole installation (``--policy``)."""

    __slots__ = ()

    def called(self, name: str) -> str:
        return f"{name} of {self.owner}"


NO_FILE: Final = PolicyFile("the policy file", {})

_READERS: Final[Mapping[str, Callable[[str], Any]]] = {
    CREDENTIAL: values.secret_key,
    ENDPOINTS_FROM: values.service,
    "exclude-paths": values.paths,
    "headers": values.header_conditions,
    "host": values.host,
    "max-body": values.size,
    "max-concurrent": values.concurrent,
    "max-rps": values.rps,
    "methods": values.methods,
    "paths": values.paths,
    "paused": values.boolean,
    "percent": values.percent,
    "redact": values.redactions,
    "remove-headers": values.header_names,
    "rewrite-path-prefix": values.rewrites,
    "sample": values.sample,
    "set-headers": values.set_headers,
    "timeout": values.duration_ms,
    "until": values.time,
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
    annotations: Mapping[str, str], namespace: Layer | None = None, installation: Layer = NO_FILE
) -> Policy:
    """The policy of a Deployment with these `annotations` (those of other prefixes are ignored).

    Raises:
        NotAllowedError: it asks for more than its Namespace or the installation allows.
        PolicyError: a setting cannot be understood; it is named with its owner.
    """
    own = Layer("", settings_of(annotations))
    defaults = [layer for layer in (namespace, installation) if layer]
    _refuse_unknown(own, set(NAMES))
    for layer in defaults:
        check_defaults(layer)
    found: dict[str, Any] = dict(_DEFAULTS)
    used: list[Setting] = []
    for name in NAMES:
        asks = next((layer for layer in (own, *defaults) if name in layer.values), None)
        if asks:
            found[name] = _read(asks, name, _READERS[name])
            used.append(Setting(name, asks.values[name].strip(), asks.owner or "the Deployment"))
        found[name], gave = _bounded(name, found[name], asks, defaults)
        if gave:
            used.append(gave)
    _refuse_contradictions(found)
    if found["redact"] and found["max-body"] > LARGEST_REDACTED:
        if any(setting.name == "max-body" for setting in used):
            raise PolicyError("redact looks into bodies of up to 256Ki, and max-body asks for larger ones")
        found["max-body"] = LARGEST_REDACTED
    return _policy(found, tuple(used))


def settings_of(annotations: Mapping[str, str]) -> dict[str, str]:
    """Our own annotations, without the prefix."""
    return {key.removeprefix(PREFIX): text for key, text in annotations.items() if key.startswith(PREFIX)}


def check_defaults(layer: Layer) -> None:
    """Whether every setting of a Namespace or of the installation can be understood.

    Raises:
        PolicyError: for the first, by name, that cannot.
    """
    _refuse_unknown(layer, (set(NAMES) - _OF_ONE_SHADOW) | BOUNDS.keys())
    for name in sorted(layer.values):
        _read(layer, name, BOUNDS[name].read if name in BOUNDS else _READERS[name])


def endpoints_source(annotations: Mapping[str, str]) -> str | None:
    """The Service that a canary's endpoints come from, also where the rest of its policy is refused: it says
    what is to be kept out of live traffic."""
    try:
        return values.service(annotations.get(PREFIX + ENDPOINTS_FROM, "").strip())
    except PolicyError:
        return None


def credential_source(*layers: Mapping[str, str]) -> SecretKey | None:
    """The Secret that a credential comes from, by the first of these settings that has one: what is to be
    read, whatever becomes of the rest."""
    text = next((layer[CREDENTIAL] for layer in layers if CREDENTIAL in layer), "")
    try:
        return values.secret_key(text.strip())
    except PolicyError:
        return None


def _refuse_unknown(layer: Layer, known: set[str]) -> None:
    for name in sorted(layer.values):
        if name not in known:
            names = ", ".join(sorted(known))
            raise PolicyError(f"{layer.called(name)} is not known here; known are {names}")


def _read(layer: Layer, name: str, read: Callable[[str], Any]) -> Any:
    try:
        return read(layer.values[name].strip())
    except PolicyError as error:
        raise PolicyError(f"{layer.called(name)}: {error}") from None


def _bounded(
    name: str, value: Any, asks: Layer | None, layers: Sequence[Layer]
) -> tuple[Any, Setting | None]:
    """The value that holds under the bounds of all `layers`, and the bound that gave it, if one did."""
    gave = None
    for key, bound in BOUNDS.items():
        if bound.of != name:
            continue
        for layer in (layer for layer in layers if key in layer.values):
            text = layer.values[key].strip()
            try:
                limited = bound.limited(value, asks is not None, bound.read(text))
            except NotAllowedError as error:
                why = str(error).format(bound=f"{text} ({layer.called(key)})")
                what = f"{asks.called(name)}: {shown(asks.values[name])}" if asks else layer.called(key)
                raise NotAllowedError(f"{what}: {why}") from None
            if limited != value:
                value, gave = limited, Setting(name, text, layer.called(key))
    return value, gave


def _refuse_contradictions(found: Mapping[str, Any]) -> None:
    both = {name for name, _ in found["set-headers"]} & set(found["remove-headers"])
    if both:
        raise PolicyError(f"the header {min(both)} is both in set-headers and in remove-headers")
    changed = {name for name, _ in found["set-headers"]}
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
