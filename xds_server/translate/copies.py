"""What becomes of a copy on its way: the mirror policy of a route, and the filters of the shadow cluster.

A mirror policy's changes see the request as the user sent it, so substitution formatters belong there. Then
Envoy itself marks the copy (``x-envoy-internal``, its own address at the end of ``x-forwarded-for``), and
only the cluster's filters can undo that: what the headers were is carried past it in headers of our own.
"""

from functools import lru_cache
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

from xds_server.shadows.plan import Mirror
from xds_server.shadows.terms import PRESERVE, SHADOW_SUFFIX, Treatment
from xds_server.shadows.values import CALLERS_CREDENTIALS
from xds_server.translate import names, scripts
from xds_server.translate.wire import over_ads, packed, uint32

MirrorPolicy: TypeAlias = route_components_pb2.RouteAction.RequestMirrorPolicy
_HttpFilter: TypeAlias = http_connection_manager_pb2.HttpFilter
_Mutation: TypeAlias = mutation_rules_pb2.HeaderMutation

_CARRIED: Final = {
    "x-forwarded-for": "x-xds-shadow-forwarded-for",
    "x-envoy-internal": "x-xds-shadow-internal",
}
"""What Envoy changes on a copy, and where its value is kept meanwhile."""

_KEPT: Final = 1024
"""Treatments whose filters are remembered."""


def mirror_policy(
    cluster: str, mirror: Mirror, runtime_fraction: base_pb2.RuntimeFractionalPercent | None
) -> MirrorPolicy:
    """The policy that sends copies to `cluster`."""
    treatment = mirror.treatment
    literal = treatment.host not in (PRESERVE, SHADOW_SUFFIX)
    return MirrorPolicy(
        cluster=cluster,
        runtime_fraction=runtime_fraction,
        disable_shadow_host_suffix_append=treatment.host != SHADOW_SUFFIX,
        host_rewrite_literal=treatment.host if literal else None,
        request_headers_mutations=_mutations(mirror),
    )


def _mutations(mirror: Mirror) -> list[_Mutation]:
    """In this order: a value may be taken from a header that is then removed, and ours have the last word."""
    treatment = mirror.treatment
    removed = (*treatment.remove_headers, *(CALLERS_CREDENTIALS if mirror.credential else ()))
    return [
        *(_set(name, value) for name, value in treatment.set_headers),
        *(_remove(name) for name in removed),
        # A user's request may have a header of this name, and a value that is empty sets nothing.
        *(_remove(kept) for kept in _CARRIED.values()),
        *(_set(kept, f"%REQ({name})%") for name, kept in _CARRIED.items()),
        # A canary that does not answer in time has failed, which the cluster's outlier detection counts; it
        # does not count what ends by the cluster's own bound on a stream.
        _set("x-envoy-upstream-rq-timeout-ms", str(treatment.timeout_ms)),
        _set(names.SHADOW_HEADER, mirror.marker),
    ]


def copy_filters(treatment: Treatment, credential: str | None) -> list[_HttpFilter]:
    """The filters of a shadow cluster; `credential` names the secret to use."""
    injector = [_injector(credential)] if credential else []
    return [*_filters(treatment), *injector, _filter("upstream_codec", upstream_codec_pb2.UpstreamCodec())]


@lru_cache(_KEPT)
def _filters(treatment: Treatment) -> tuple[_HttpFilter, ...]:
    pace = [_lua("pace", scripts.pace(treatment.max_rps))] if treatment.max_rps is not None else []
    return (
        *pace,
        # Holds a copy until it is complete: a canary that does not read holds back nobody, and what is larger
        # is not sent. (ENVOY-MIRRORING, "Body and back-pressure": without it the upload waits for the
        # canary.)
        _filter("buffer", buffer_pb2.Buffer(max_request_bytes=uint32(treatment.max_body))),
        _lua("change", scripts.change(treatment.rewrites, treatment.redactions)),
        _filter("header_mutation", _restored()),
    )


def _restored() -> header_mutation_pb2.HeaderMutation:
    changes = [
        *(_remove(name) for name in (*_CARRIED, "x-envoy-expected-rq-timeout-ms")),
        *(_set(name, f"%REQ({kept})%") for name, kept in _CARRIED.items()),
        *(_remove(kept) for kept in _CARRIED.values()),
    ]
    return header_mutation_pb2.HeaderMutation(
        mutations=header_mutation_pb2.Mutations(request_mutations=changes)
    )


def _injector(credential: str) -> _HttpFilter:
    secret = secret_pb2.SdsSecretConfig(name=credential, sds_config=over_ads())
    generic = generic_pb2.Generic(credential=secret, header="Authorization")
    injected = extension_pb2.TypedExtensionConfig(
        name="envoy.http.injected_credentials.generic", typed_config=packed(generic)
    )
    return _filter(
        "credential_injector",
        credential_injector_pb2.CredentialInjector(overwrite=True, credential=injected),
    )


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
