"""What it takes to compare the responses of a canary: the sample, the baseline, and the filter that sends
bodies to the control plane.

No response to a client passes the filter. The canary's body is compared with the one that the stable version
gives to a mirrored request. Envoy's filter for the purpose, ``ext_proc``, is not used even there: while its
receiver does not read, Envoy holds the response back, and in a cluster of mirrored requests it crashes
(measured on 1.36 and 1.40, in observability mode, with bodies of 60 MiB). So a script collects the body, up
to a limit, and sends it in a call of its own, which nothing waits for.
"""

from dataclasses import replace
from functools import cache
from typing import Final

from envoy.config.common.mutation_rules.v3 import mutation_rules_pb2
from envoy.config.core.v3 import base_pb2, extension_pb2
from envoy.config.route.v3 import route_components_pb2
from envoy.extensions.common.matching.v3 import extension_matcher_pb2
from envoy.extensions.filters.http.composite.v3 import composite_pb2
from envoy.extensions.filters.http.lua.v3 import lua_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2
from envoy.type.matcher.v3 import http_inputs_pb2, regex_pb2, string_pb2
from google.protobuf.message import Message
from xds.core.v3 import extension_pb2 as xds_extension_pb2
from xds.type.matcher.v3 import matcher_pb2
from xds.type.matcher.v3 import string_pb2 as xds_string_pb2

from xds_server.core.annotations import Treatment
from xds_server.core.plan import SAFE, Endpoint, Mirror
from xds_server.core.verdict.body_text import MOST_BYTES
from xds_server.translate import names
from xds_server.translate.wire import packed

BODIES_CLUSTER: Final = "xds-shadow-bodies"
"""The cluster of the bootstrap through which bodies are sent. Its circuit breaker bounds their number."""

REPORT: Final = "/xds_shadow.v1.BodyService/Report"
"""The method that takes a body. The message is the body itself, and the metadata says what it belongs to."""

MARK: Final = f"{names.SHADOW_HEADER}-compare"
"""The header of mirrored requests whose response is sent; the value is their cluster. It is removed before
the canary."""

_NOT_SENT: Final = "-"

_CALL_MS: Final = 1000
"""How long a call may take."""

_SCRIPT: Final = """\
local function text(value, most)
  return (string.sub(value or "", 1, most):gsub("[^ -~]", "?"))
end

function envoy_on_request(request_handle)
  local headers = request_handle:headers()
  local seen = request_handle:streamInfo():dynamicMetadata()
  seen:set("xds-shadow.bodies", "cluster", headers:get("{mark}"))
  seen:set("xds-shadow.bodies", "id", text(headers:get("x-request-id"), 65))
  seen:set("xds-shadow.bodies", "path", text(string.match(headers:get(":path") or "", "^[^?]*"), 256))
end

function envoy_on_response(response_handle)
  local seen = response_handle:streamInfo():dynamicMetadata():get("xds-shadow.bodies")
  local headers = response_handle:headers()
  if not seen or not headers:get(":status") then return end
  local message = {{
    [":method"] = "POST",
    [":path"] = "{report}",
    [":authority"] = "xds-shadow",
    ["content-type"] = "application/grpc",
    ["te"] = "trailers",
    ["x-cluster"] = seen.cluster,
    ["x-id"] = seen.id,
    ["x-path"] = seen.path,
    ["x-status"] = headers:get(":status"),
    ["x-type"] = text(headers:get("content-type"), 128),
    ["x-encoding"] = text(headers:get("content-encoding"), 32),
  }}
  -- A headers object from before the first chunk is invalid after it.
  local parts, size = {{}}, 0
  for chunk in response_handle:bodyChunks() do
    local length = chunk:length()
    size = size + length
    if size > {most} then
      parts = {{}}
    elseif length > 0 then
      parts[#parts + 1] = chunk:getBytes(0, length)
    end
  end
  message["x-size"] = string.format("%.0f", size)
  local body = table.concat(parts)
  local length = #body
  local prefix = string.char(0, 0, math.floor(length / 65536), math.floor(length / 256) % 256, length % 256)
  pcall(response_handle.httpCall, response_handle, "{cluster}", message, prefix .. body, {ms}, true)
end
"""
"""Follows gRPC's framing: a byte that says "not compressed", and the length in four bytes. A bootstrap may
lack the cluster, so a failed call is no error."""

_MOST_AT_ONCE: Final = 8
"""Requests of a baseline that an Envoy has in flight."""

MOST_SAMPLED: Final = 10
"""Requests of a port that an Envoy's worker mirrors to baselines in a second."""


def in_sample(*, safe: bool) -> list[route_components_pb2.HeaderMatcher]:
    """The conditions on requests of the sample: a quarter, by the id, whose first digit is random; with
    `safe`, only those with a method in `SAFE`."""
    conditions = [_matching("x-request-id", "[0-3].*")]
    return [*conditions, _matching(":method", "|".join(SAFE))] if safe else conditions


def mark(cluster: str | None) -> mutation_rules_pb2.HeaderMutation:
    """Marks a request that is mirrored to this cluster, so that its response is sent. None: it is not sent,
    whatever header the client's request has."""
    option = base_pb2.HeaderValueOption(
        header=base_pb2.HeaderValue(key=MARK, value=cluster or _NOT_SENT),
        append_action=base_pb2.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD,
    )
    return mutation_rules_pb2.HeaderMutation(append=option)


def baseline_of(mirror: Mirror, endpoints: tuple[Endpoint, ...]) -> Mirror:
    """The mirroring of a canary's baseline: to the stable Pods, as the client sent the request."""
    treatment = mirror.treatment
    return replace(
        mirror,
        marker=f"{mirror.marker}/baseline",
        endpoints=endpoints,
        treatment=Treatment(
            timeout_ms=treatment.timeout_ms,
            max_body=treatment.max_body,
            max_concurrent=min(treatment.max_concurrent, _MOST_AT_ONCE),
        ),
        credential=None,
    )


def comparing(mirror: Mirror) -> tuple[http_connection_manager_pb2.HttpFilter, ...]:
    """The filter of a cluster of mirrored requests that sends the responses of those with the mark."""
    return (_filter(),) if mirror.compare else ()


@cache
def _filter() -> http_connection_manager_pb2.HttpFilter:
    # Every name of a cluster has a slash.
    predicate = matcher_pb2.Matcher.MatcherList.Predicate.SinglePredicate(
        input=_xds(http_inputs_pb2.HttpRequestHeaderMatchInput(header_name=MARK)),
        value_match=xds_string_pb2.StringMatcher(contains="/"),
    )
    script = _SCRIPT.format(mark=MARK, report=REPORT, most=MOST_BYTES, cluster=BODIES_CLUSTER, ms=_CALL_MS)
    lua = lua_pb2.Lua(default_source_code=base_pb2.DataSource(inline_string=script))
    sends = composite_pb2.ExecuteFilterAction(
        typed_config=extension_pb2.TypedExtensionConfig(name="bodies", typed_config=packed(lua))
    )
    matched = matcher_pb2.Matcher.MatcherList.FieldMatcher(
        predicate=matcher_pb2.Matcher.MatcherList.Predicate(single_predicate=predicate),
        on_match=matcher_pb2.Matcher.OnMatch(action=_xds(sends)),
    )
    composite = extension_pb2.TypedExtensionConfig(
        name="envoy.filters.http.composite", typed_config=packed(composite_pb2.Composite())
    )
    matcher = matcher_pb2.Matcher(matcher_list=matcher_pb2.Matcher.MatcherList(matchers=[matched]))
    return http_connection_manager_pb2.HttpFilter(
        name="xds-shadow.bodies",
        typed_config=packed(
            extension_matcher_pb2.ExtensionWithMatcher(extension_config=composite, xds_matcher=matcher)
        ),
    )


def _xds(message: Message) -> xds_extension_pb2.TypedExtensionConfig:
    name = type(message).__name__
    return xds_extension_pb2.TypedExtensionConfig(name=name, typed_config=packed(message))


def _matching(name: str, regex: str) -> route_components_pb2.HeaderMatcher:
    match = string_pb2.StringMatcher(safe_regex=regex_pb2.RegexMatcher(regex=regex))
    return route_components_pb2.HeaderMatcher(name=name, string_match=match)
