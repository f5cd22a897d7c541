"""Limits mirrored requests per second (`max-rps`) before they are mirrored.

Envoy mirrors by route, and a filter of a shadow cluster must not drop a mirrored request by a local reply
(`local_replies`). So a filter of the connection manager decides. A request that could be mirrored to canaries
with `max-rps` first matches a route that mirrors to none of them. This route enables the filter, and its
metadata has the limits. For each canary whose limit admits the request, the filter sets dynamic metadata.
Then Envoy selects the route again, and a route that matches the metadata mirrors to these canaries. So a
request beyond a limit is not mirrored, and an Envoy without the filter mirrors nothing to a canary with
`max-rps`.

The filter is the same for all Services, so a change of a Service does not refill a bucket.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from envoy.config.core.v3 import base_pb2
from envoy.config.route.v3 import route_components_pb2
from envoy.extensions.filters.http.lua.v3 import lua_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2
from envoy.type.matcher.v3 import metadata_pb2, value_pb2
from google.protobuf.any_pb2 import Any

from xds_server.translate.wire import packed

FILTER: Final = "xds-shadow.max-rps"
"""The name of the filter, and the key of the metadata."""

_LIMITS: Final = "limits"

SCRIPT: Final = f"""\
-- Token buckets of one second for mirrored requests, by shadow cluster. Each worker has its own. A bucket
-- that was not used for a second is full, so it is not kept.
local buckets, older, turned = {{}}, {{}}, 0

local function admitted(cluster, rate, now)
  local bucket = buckets[cluster] or older[cluster] or {{tokens = rate, last = now}}
  buckets[cluster] = bucket
  bucket.tokens = math.min(rate, bucket.tokens + math.max(0, now - bucket.last) * rate / 1000)
  bucket.last = now
  if bucket.tokens < 1 then return false end
  bucket.tokens = bucket.tokens - 1
  return true
end

function envoy_on_request(request_handle)
  local limits = request_handle:metadata():get("{_LIMITS}")
  if not limits then return end
  local now = request_handle:timestamp(EnvoyTimestampResolution.MILLISECOND)
  if math.abs(now - turned) >= 1000 then buckets, older, turned = {{}}, buckets, now end
  local metadata, any = request_handle:streamInfo():dynamicMetadata(), false
  for cluster, rate in pairs(limits) do
    if admitted(cluster, rate, now) then
      metadata:set("{FILTER}", cluster, true)
      any = true
    end
  end
  if any then request_handle:clearRouteCache() end
end
"""


def pacing_filter() -> http_connection_manager_pb2.HttpFilter:
    """The filter of a connection manager. Only requests of routes that enable it pass it."""
    script = lua_pb2.Lua(default_source_code=base_pb2.DataSource(inline_string=SCRIPT))
    return http_connection_manager_pb2.HttpFilter(name=FILTER, typed_config=packed(script), disabled=True)


def set_limits(route: route_components_pb2.Route, limits: Mapping[str, int]) -> None:
    """Have the filter decide to which of these shadow clusters it mirrors requests of this route, at most so
    many a second."""
    struct = route.metadata.filter_metadata[FILTER].get_or_create_struct(_LIMITS)
    struct.update(dict(sorted(limits.items())))
    # Optional, so that an Envoy without the filter accepts the route.
    enabled = route_components_pb2.FilterConfig(config=Any(), is_optional=True)
    route.typed_per_filter_config[FILTER].CopyFrom(packed(enabled))


def admitted_to(clusters: Iterable[str]) -> list[metadata_pb2.MetadataMatcher]:
    """Matches requests that the limits of all these shadow clusters admitted."""
    return [
        metadata_pb2.MetadataMatcher(
            filter=FILTER,
            path=[metadata_pb2.MetadataMatcher.PathSegment(key=cluster)],
            value=value_pb2.ValueMatcher(bool_match=True),
        )
        for cluster in clusters
    ]
