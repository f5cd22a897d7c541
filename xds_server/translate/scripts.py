"""The Lua scripts of a shadow cluster's filters, for what only Lua can do there: rewriting paths, masking
values in bodies, and ending responses that do not end.

If a script fails, Envoy forwards the mirrored request unchanged. So everything runs under `pcall`, and a
failure ends the mirrored request with a local response, which nobody receives.
"""

from collections.abc import Sequence
from typing import Final

from xds_server.core.terms import FormField, JsonPointer, Rewrite
from xds_server.translate.lua import listed, quoted
from xds_server.translate.redaction import redaction

_REWRITE: Final = """\
local rewrites = {rewrites}
local function rewritten(path)
  for _, rule in ipairs(rewrites) do
    local length = #rule.old
    if path:sub(1, length) == rule.old then
      local after = path:sub(length + 1, length + 1)
      if after == "/" or (rule.itself and (after == "" or after == "?")) then
        local changed = rule.new .. path:sub(length + 1)
        return changed:sub(1, 1) == "/" and changed or "/" .. changed
      end
    end
  end
  return path
end
"""

_REWRITE_REQUEST: Final = """\
  local headers = request_handle:headers()
  headers:replace(":path", rewritten(headers:get(":path")))
"""

_REDACT_REQUEST: Final = """\
  if body and body:length() > 0 then
    -- A headers object from before body() is invalid after it.
    body:setBytes(redacted(request_handle:headers(), body:getBytes(0, body:length())))
  end
"""

# The buffer filter's limit applies to the stream and so also to the response: a longer one is cut off.
# Requests without a body do not pass that filter, so their responses are not limited here.
_GUARD: Final = """\
  if body and body:length() > 0 then
    request_handle:streamInfo():dynamicMetadata():set("xds-shadow", "bounded", true)
  end
end

function envoy_on_request(request_handle)
  if not pcall(change, request_handle) then request_handle:respond({[":status"] = "422"}, "") end
end

function envoy_on_response(response_handle)
  local noted = response_handle:streamInfo():dynamicMetadata():get("xds-shadow")
  if noted and noted.bounded then response_handle:body() end
end
"""


def change(rewrites: Sequence[Rewrite], redactions: Sequence[JsonPointer | FormField]) -> str:
    """Changes mirrored requests, and ends responses that exceed the stream's limit."""
    parts = []
    if rewrites:
        parts.append(_REWRITE.format(rewrites=listed(_rewrite(each) for each in rewrites)))
    if redactions:
        parts.append(redaction(redactions))
    parts.append("local function change(request_handle)\n")
    if rewrites:
        parts.append(_REWRITE_REQUEST)
    parts.append("  local body = request_handle:body()\n")
    if redactions:
        parts.append(_REDACT_REQUEST)
    parts.append(_GUARD)
    return "".join(parts)


def _rewrite(rule: Rewrite) -> str:
    itself = "false" if rule.old.endswith("/") else "true"
    old, new = (quoted(path.rstrip("/")) for path in (rule.old, rule.new))
    return f"{{old = {old}, new = {new}, itself = {itself}}}"
