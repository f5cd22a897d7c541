"""What happens to a mirrored request: the mirror policy of a route, and the HTTP filters of the shadow
cluster.

There is a mirror policy for each route and canary, and Envoy keeps 1 KiB or more for each header change in
it. There is only one shadow cluster. So the cluster's filters change headers, and the policy has only what
the cluster cannot do: Envoy marks a mirrored request (``x-envoy-internal``, its own address at the end of
``x-forwarded-for``), rewrites its host, and loses the client's connection. Such values are carried to the
cluster in internal headers.
"""

import re
from functools import cache, lru_cache
from typing import Final, TypeAlias

from envoy.config.common.mutation_rules.v3 import mutation_rules_pb2
from envoy.config.core.v3 import base_pb2, extension_pb2
from envoy.config.route.v3 import route_components_pb2
from envoy.extensions.filters.http.buffer.v3 import buffer_pb2
from envoy.extensions.filters.http.credential_injector.v3 import credential_injector_pb2
from envoy.extensions.filters.http.header_mutation.v3 import header_mutation_pb2
from envoy.extensions.filters.http.lua.v3 import lua_pb2
from envoy.extensions.filters.http.upstream_codec.v3 import upstream_codec_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2
from envoy.extensions.http.injected_credentials.generic.v3 import generic_pb2
from envoy.extensions.transport_sockets.tls.v3 import secret_pb2
from google.protobuf.message import Message

from xds_server.core.annotations import Treatment
from xds_server.core.plan import Mirror
from xds_server.core.terms import PRESERVE, SHADOW_SUFFIX
from xds_server.core.values import CALLERS_CREDENTIALS
from xds_server.translate import names, scripts
from xds_server.translate.comparing import MARK
from xds_server.translate.wire import over_ads, packed, uint32

MirrorPolicy: TypeAlias = route_components_pb2.RouteAction.RequestMirrorPolicy
_HttpFilter: TypeAlias = http_connection_manager_pb2.HttpFilter
_Mutation: TypeAlias = mutation_rules_pb2.HeaderMutation

UPSTREAM_FILTERS: Final = (
    "buffer",
    "composite",
    "credential_injector",
    "header_mutation",
    "lua",
    "upstream_codec",
)
"""The HTTP filters of shadow clusters, without the prefix ``envoy.filters.http.``."""

_CARRIER: Final = f"{names.SHADOW_HEADER}-"
"""The prefix of the headers that carry values. They are removed before the canary."""

_MARKED: Final = {
    "x-forwarded-for": f"{_CARRIER}forwarded-for",
    "x-envoy-internal": f"{_CARRIER}internal",
}
"""The headers that Envoy changes on every mirrored request, and the internal headers that carry their
values."""

_LENGTH: Final = "content-length"
_LENGTH_CARRIER: Final = f"{_CARRIER}{_LENGTH}"

_TIMEOUT: Final = "x-envoy-upstream-rq-timeout-ms"
_EXPECTED: Final = "x-envoy-expected-rq-timeout-ms"

_FORMATTER: Final = re.compile(r"%%|%([A-Z_]+)(?:\(([^()%]*)\))?%")
"""Envoy's substitution format: ``%%`` is a percent sign, and any other ``%`` begins a formatter."""

_LOST: Final = frozenset(
    {
        "%DOWNSTREAM_REMOTE_ADDRESS%",
        "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
        "%PROTOCOL%",
        "%REQ(:authority)%",
        "%REQ(:path)%",
        "%REQ(content-length)%",
        "%REQ(host)%",
        f"%REQ({_TIMEOUT})%",
        "%START_TIME%",
        "%STREAM_ID%",
    }
)
"""The formatters whose value in the shadow cluster differs or is missing (measured on 1.36 and 1.40)."""

_TRACE_CONTEXT: Final = (
    *("traceparent", "tracestate"),  # W3C Trace Context
    *("b3", "x-b3-traceid", "x-b3-spanid", "x-b3-parentspanid", "x-b3-sampled", "x-b3-flags"),  # Zipkin
    "uber-trace-id",  # Jaeger
    *("x-ot-span-context", "ot-tracer-traceid", "ot-tracer-spanid", "ot-tracer-sampled"),  # OpenTracing
    *("x-datadog-trace-id", "x-datadog-parent-id", "x-datadog-sampling-priority"),
    *("x-datadog-origin", "x-datadog-tags"),
    "x-amzn-trace-id",  # AWS X-Ray
    "x-cloud-trace-context",  # Google Cloud Trace
    "grpc-trace-bin",  # OpenCensus
    "sw8",  # SkyWalking
)
"""The headers by which a tracer continues the caller's trace. ``x-request-id`` is not one of them: it
identifies a request in logs. Nor is ``baggage``, which is data of the application."""

_KEPT: Final = 1024
"""How many policies and filter lists are cached."""


def mirror_policy(cluster: str, mirror: Mirror) -> MirrorPolicy:
    """The policy that mirrors requests to `cluster`."""
    found = MirrorPolicy(cluster=cluster)
    found.MergeFrom(_policy(mirror.treatment))
    return found


@lru_cache(_KEPT)
def _policy(treatment: Treatment) -> MirrorPolicy:
    """The part that the policies of all canaries with the same treatment share."""
    literal = treatment.host not in (PRESERVE, SHADOW_SUFFIX)
    return MirrorPolicy(
        disable_shadow_host_suffix_append=treatment.host != SHADOW_SUFFIX,
        host_rewrite_literal=treatment.host if literal else None,
        request_headers_mutations=[
            *(_carried(f"%REQ({name})%", carrier) for name, carrier in _MARKED.items()),
            *(_carried(formatter, _carrier(formatter)) for formatter in _lost(treatment)),
            # A canary that does not respond in time has failed. The cluster's outlier detection counts this
            # timeout, and does not count requests that end by the cluster's maximum stream duration.
            _set(_TIMEOUT, str(treatment.timeout_ms)),
        ],
    )


def _lost(treatment: Treatment) -> list[str]:
    """The formatters in its header values that must be carried, sorted."""
    found = {match.group() for _, value in treatment.set_headers for match in _FORMATTER.finditer(value)}
    return sorted(found & _LOST)


def _carrier(formatter: str) -> str:
    """The header that carries the value of a formatter."""
    return _CARRIER + re.sub("[^a-z]+", "-", formatter.lower()).strip("-")


def _carried(formatter: str, carrier: str) -> _Mutation:
    found = _set(carrier, formatter)
    # A client's request may have a header with this name.
    found.append.keep_empty_value = True
    return found


def shadow_filters(mirror: Mirror, credential: str | None) -> list[_HttpFilter]:
    """The filters of a shadow cluster. `credential` is the name of the secret."""
    injector = [_injector(credential)] if credential else []
    return [
        *_length(mirror.treatment),
        _buffer(mirror.treatment.max_body),
        *_script(mirror.treatment),
        # After `redact`, which reads the client's headers about the body.
        _filter("header_mutation", _changes(mirror)),
        *injector,
        _codec(),
    ]


def _changes(mirror: Mirror) -> header_mutation_pb2.HeaderMutation:
    """Restores the client's headers, applies the policy's changes, and adds the mark."""
    found = header_mutation_pb2.HeaderMutation()
    found.CopyFrom(_unmarked(mirror.treatment, own_credential=mirror.credential is not None))
    found.mutations.request_mutations.append(_set(names.SHADOW_HEADER, mirror.marker))
    if mirror.compare:
        found.mutations.request_mutations.append(_remove(MARK))
    return found


@lru_cache(_KEPT)
def _unmarked(treatment: Treatment, *, own_credential: bool) -> header_mutation_pb2.HeaderMutation:
    """The order matters: a value may come from a header that is removed afterwards."""
    carriers = [*_MARKED.values(), *map(_carrier, _lost(treatment))]
    if treatment.redactions:
        length = []
    else:
        length = [_remove(_LENGTH), _set(_LENGTH, f"%REQ({_LENGTH_CARRIER})%")]
        carriers.append(_LENGTH_CARRIER)
    changes = [
        *length,
        *(_remove(name) for name in (*_MARKED, _EXPECTED)),
        *(_set(name, f"%REQ({carrier})%") for name, carrier in _MARKED.items()),
        *(_set(name, _FORMATTER.sub(_from_carrier, value)) for name, value in treatment.set_headers),
        *(_remove(name) for name in treatment.remove_headers),
        *(_remove(name) for name in _trace_context(treatment)),
        *(_remove(name) for name in (CALLERS_CREDENTIALS if own_credential else ())),
        # By name, because comparing a prefix with all headers takes Envoy longer.
        *(_remove(name) for name in carriers),
    ]
    return header_mutation_pb2.HeaderMutation(
        mutations=header_mutation_pb2.Mutations(request_mutations=changes)
    )


def _trace_context(treatment: Treatment) -> tuple[str, ...]:
    """The headers that `new-trace` removes, without those that `set-headers` sets, such as ``b3=0``."""
    if not treatment.new_trace:
        return ()
    given = {name for name, _ in treatment.set_headers}
    return tuple(name for name in _TRACE_CONTEXT if name not in given)


def _from_carrier(match: re.Match[str]) -> str:
    formatter = match.group()
    return f"%REQ({_carrier(formatter)})%" if formatter in _LOST else formatter


@lru_cache(_KEPT)
def _length(treatment: Treatment) -> tuple[_HttpFilter, ...]:
    """Records the content-length of the client, or its absence. The buffer filter adds one, and HTTP/1
    requests with a content-length have no trailers. A masked body has its own length."""
    if treatment.redactions:
        return ()
    noted = header_mutation_pb2.Mutations(request_mutations=[_carried(f"%REQ({_LENGTH})%", _LENGTH_CARRIER)])
    message = header_mutation_pb2.HeaderMutation(mutations=noted)
    return (_filter("header_mutation", message, name="xds-shadow.length"),)


@lru_cache(_KEPT)
def _buffer(max_body: int) -> _HttpFilter:
    """Holds a mirrored request until it is complete, so that a canary that does not read cannot slow down the
    client's upload. Larger requests are not sent. Nothing holds the response: Envoy discards it as it
    arrives."""
    return _filter("buffer", buffer_pb2.Buffer(max_request_bytes=uint32(max_body)))


@lru_cache(_KEPT)
def _script(treatment: Treatment) -> tuple[_HttpFilter, ...]:
    """Changes what only a script can change. A script takes up to a third of what mirroring a request costs
    an Envoy, so most shadow clusters have none."""
    if not treatment.rewrites and not treatment.redactions:
        return ()
    return (_lua("change", scripts.change(treatment.rewrites, treatment.redactions)),)


@cache
def _codec() -> _HttpFilter:
    return _filter("upstream_codec", upstream_codec_pb2.UpstreamCodec())


def _injector(credential: str) -> _HttpFilter:
    secret = secret_pb2.SdsSecretConfig(name=credential, sds_config=over_ads())
    generic = generic_pb2.Generic(credential=secret, header="Authorization")
    injected = extension_pb2.TypedExtensionConfig(
        name="envoy.http.injected_credentials.generic", typed_config=packed(generic)
    )
    # Envoy does not use a new cluster until it has the secret. If the secret does not arrive within 15 s,
    # mirrored requests have no credential, because a local reply would end Envoy. The caller's is removed.
    injector = credential_injector_pb2.CredentialInjector(
        overwrite=True, allow_request_without_credential=True, credential=injected
    )
    return _filter("credential_injector", injector)


def _lua(name: str, script: str) -> _HttpFilter:
    source = base_pb2.DataSource(inline_string=script)
    return _filter("lua", lua_pb2.Lua(default_source_code=source), name=f"xds-shadow.{name}")


def _filter(kind: str, config: Message, *, name: str = "") -> _HttpFilter:
    return _HttpFilter(name=name or f"envoy.filters.http.{kind}", typed_config=packed(config))


def _set(name: str, value: str) -> _Mutation:
    option = base_pb2.HeaderValueOption(
        header=base_pb2.HeaderValue(key=name, value=value),
        append_action=base_pb2.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD,
    )
    return _Mutation(append=option)


def _remove(name: str) -> _Mutation:
    return _Mutation(remove=name)
