"""The table of annotations: the name, reader, default, bound and documentation of each. The rows that are not
about a shadow are in `service_annotations`.

A row of a shadow is the default of the field of `Policy`, `Selection` or `Treatment` that it sets, so that
the type checker compares the reader with the field. `layers` applies the readers. The tables of
docs/annotations.md and the completion of ``kubectl shadow`` come from the rows.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final, TypeVar

from xds_server.base.sizes import MIB
from xds_server.core import bounds, quantities, values
from xds_server.core.rows import Annotation, Bound, Row, by_name, of
from xds_server.core.service_annotations import HOSTS_ALLOWED, LIMITS
from xds_server.core.terms import (
    MILLION,
    PRESERVE,
    FormField,
    HeaderCondition,
    JsonPointer,
    PathPrefix,
    Rewrite,
    SecretKey,
    Setting,
)

T = TypeVar("T")


# Of a shadow: those that other modules ask for by themselves. The others stand beside their fields.

CREDENTIAL: Final[Annotation[SecretKey | None]] = Annotation(
    "credential-from-secret",
    values.secret_key,
    None,
    "none",
    "The key of a Secret whose value the mirrored request has as its `Authorization`.",
    Bound(
        "credential-from-secret-allowed",
        bounds.secrets,
        bounds.secret_allowed,
        "shadow-token",
        on="`NAME` or `NAME/KEY` of the Secret; case matters",
    ),
)
ENDPOINTS_ALLOWED: Final = Bound(
    "endpoints-from-allowed", bounds.services, bounds.service_allowed, "service/myapp-green"
)
ENDPOINTS_FROM: Final[Annotation[str | None]] = Annotation(
    "endpoints-from",
    values.service,
    None,
    "the workload's Pods",
    "The Service whose endpoints get the mirrored requests.",
    ENDPOINTS_ALLOWED,
    own=True,
)
MAX_BODY: Final = Annotation(
    "max-body",
    quantities.size,
    MIB,
    "`1Mi`",
    "The largest body, in bytes, of a request that is mirrored.",
    Bound("max-body-max", quantities.size, bounds.at_most, "256Ki"),
)
MAX_CONCURRENT: Final = Annotation(
    "max-concurrent",
    quantities.concurrent,
    100,
    "`100`",
    "How many mirrored requests an Envoy has in flight.",
    Bound("max-concurrent-max", quantities.concurrent, bounds.at_most, "20"),
)
REMOVED: Final = Bound(
    "remove-headers-required", values.header_names, bounds.with_headers, "cookie,x-user-id"
)
SET_HEADERS: Final[Annotation[tuple[tuple[str, str], ...]]] = Annotation(
    "set-headers",
    values.set_headers,
    (),
    "none",
    "Headers that the mirrored request has with these values.",
    Bound(
        "set-headers-allowed",
        bounds.names,
        bounds.headers_allowed,
        "x-env,x-team",
        on="the names in `set-headers`",
    ),
)
UNTIL: Final[Annotation[float | None]] = Annotation(
    "until",
    quantities.time,
    None,
    "never",
    "When the shadow ends, as RFC 3339.",
    Bound(
        "until-max",
        quantities.time,
        bounds.at_most,
        "2100-12-31T00:00:00Z",
        on="`until`: no shadow lasts beyond this time",
    ),
)


@dataclass(frozen=True, slots=True)
class Selection:
    """Which requests are mirrored: by one of `methods` (None: any), under one of `paths` (none: any) and none
    of `exclude_paths`, with all of `headers`."""

    methods: frozenset[str] | None = of(
        Annotation(
            "methods",
            values.methods,
            None,
            "all",
            "Only requests with one of these methods are mirrored.",
            Bound("methods-allowed", values.methods, bounds.methods_allowed, "GET,HEAD"),
        )
    )
    paths: frozenset[PathPrefix] = of(
        Annotation(
            "paths",
            values.paths,
            frozenset(),
            "all",
            "Only requests under one of these path prefixes are mirrored.",
            Bound(
                "paths-allowed",
                values.paths,
                bounds.paths_allowed,
                "/api,/public/",
                on="`paths`: each has to be under one of these",
            ),
        )
    )
    exclude_paths: frozenset[PathPrefix] = of(
        Annotation(
            "exclude-paths",
            values.paths,
            frozenset(),
            "none",
            "No request under one of these path prefixes is mirrored.",
            Bound("exclude-paths-required", values.paths, bounds.with_paths, "/checkout"),
        )
    )
    headers: frozenset[HeaderCondition] = of(
        Annotation(
            "headers",
            values.header_conditions,
            frozenset(),
            "any",
            "Only requests that have all of these headers are mirrored.",
        )
    )


EVERYTHING: Final = Selection()


@dataclass(frozen=True, slots=True)
class Treatment:
    """How a mirrored request differs from the primary one, and its limits. `max_body` is in bytes,
    `timeout_ms` bounds the whole request, `max_rps` (None: no bound) is per Envoy worker."""

    set_headers: tuple[tuple[str, str], ...] = of(SET_HEADERS)
    remove_headers: tuple[str, ...] = of(
        Annotation(
            "remove-headers",
            values.header_names,
            (),
            "none",
            "Headers that the mirrored request does not have.",
            REMOVED,
        )
    )
    new_trace: bool = of(
        Annotation(
            "new-trace",
            values.boolean,
            default=False,
            written="`false`",
            meaning="`true`: the mirrored request does not have the caller's trace context.",
        )
    )
    host: str = of(
        Annotation(
            "host",
            values.host,
            PRESERVE,
            f"`{PRESERVE}`",
            "The `Host` of the mirrored request.",
            Bound(
                "host-allowed",
                bounds.names,
                bounds.host_allowed,
                "canary.example.com",
                on="`host`, other than `preserve`",
            ),
        )
    )
    rewrites: tuple[Rewrite, ...] = of(
        Annotation(
            "rewrite-path-prefix",
            values.rewrites,
            (),
            "none",
            "Path prefixes that are replaced in the mirrored request.",
        )
    )
    redactions: tuple[JsonPointer | FormField, ...] = of(
        Annotation(
            "redact",
            values.redactions,
            (),
            "none",
            "Values in the body that are masked in the mirrored request.",
            Bound("redact-required", values.redactions, bounds.with_redactions, "json:/card/number"),
        )
    )
    timeout_ms: int = of(
        Annotation(
            "timeout",
            quantities.duration_ms,
            10_000,
            "`10s`",
            "How long a mirrored request may take, with its response.",
            Bound("timeout-max", quantities.duration_ms, bounds.at_most, "5s"),
        )
    )
    max_concurrent: int = of(MAX_CONCURRENT)
    max_rps: int | None = of(
        Annotation(
            "max-rps",
            quantities.rps,
            None,
            "no limit",
            "How many mirrored requests each worker of a listener starts in a second.",
            Bound("max-rps-max", quantities.rps, bounds.at_most, "100"),
        )
    )
    max_body: int = of(MAX_BODY)


UNTREATED: Final = Treatment()


@dataclass(frozen=True, slots=True)
class Policy:
    """What holds for one shadow. `per_million` is 0 to 1,000,000; `until` is in seconds since 1970.
    `settings` are the annotations that it was made of."""

    selection: Selection = EVERYTHING
    treatment: Treatment = UNTREATED
    per_million: int = of(
        Annotation(
            "percent",
            quantities.percent,
            MILLION,
            "`100`",
            "The share of the selected requests that are mirrored.",
            Bound("percent-max", quantities.percent, bounds.at_most, "10"),
        )
    )
    correlated: bool = of(
        Annotation(
            "sample",
            values.sample,
            default=False,
            written="`independent`",
            meaning="Whether several canaries sample the same requests (`correlated`).",
        )
    )
    credential: SecretKey | None = of(CREDENTIAL)  # noqa: RUF009 - a field of dataclasses
    compare: bool = of(
        Annotation(
            "compare",
            values.compare,
            default=False,
            written="`none`",
            meaning="`bodies`: of a sample of the requests, the response's body is compared with the stable"
            " version's.",
            bound=Bound("compare-allowed", values.compare, bounds.permitted, "none"),
        )
    )
    baseline: bool = of(
        Annotation(
            "baseline",
            values.boolean,
            default=False,
            written="`false`",
            meaning="`true`: a sample of the requests is mirrored to the stable Pods, too, to tell what"
            " differs anyhow.",
            bound=Bound("baseline-allowed", values.boolean, bounds.permitted, "false"),
        )
    )
    paused: bool = of(
        Annotation(
            "paused", values.boolean, default=False, written="`false`", meaning="`true` mirrors nothing."
        )
    )
    until: float | None = of(UNTIL)
    endpoints_from: str | None = of(ENDPOINTS_FROM)
    settings: tuple[Setting, ...] = ()

    @property
    def percent(self) -> str:
        """`per_million` as a person writes it: ``25``, ``0.5``."""
        whole, rest = divmod(self.per_million, 10_000)
        return f"{whole}.{rest:04d}".rstrip("0") if rest else str(whole)


def _rows(cls: type[Any]) -> dict[str, Annotation[Any]]:
    """The rows of a class, by field."""
    return {each.name: each.metadata["row"] for each in fields(cls) if "row" in each.metadata}


_BY_FIELD: Final[Mapping[type[Any], Mapping[str, Annotation[Any]]]] = {
    cls: _rows(cls) for cls in (Selection, Treatment, Policy)
}


def policy_of(found: Mapping[str, Any], settings: tuple[Setting, ...]) -> Policy:
    """The policy with these values, by the names of their annotations."""

    def part(cls: type[T], **others: object) -> T:
        return cls(**{field: found[row.name] for field, row in _BY_FIELD[cls].items()}, **others)

    return part(Policy, selection=part(Selection), treatment=part(Treatment), settings=settings)


OF_SHADOW: Final[Mapping[str, Annotation[Any]]] = by_name(
    row for rows in _BY_FIELD.values() for row in rows.values()
)
"""The annotations of a shadow, by name, sorted."""

NAMES: Final = tuple(OF_SHADOW)

BOUNDS: Final[Mapping[str, Bound]] = by_name(row.bound for row in OF_SHADOW.values() if row.bound)
"""Those that bound another, by name, sorted."""

OF_LAYERS: Final[Mapping[str, Row[Any]]] = by_name(
    (*(row for row in OF_SHADOW.values() if not row.own), *BOUNDS.values(), *LIMITS.values(), HOSTS_ALLOWED)
)
"""What a Namespace and the policy file can set, by name, sorted."""
