"""The Lua scripts of a shadow cluster's filters, for what only Lua can do there: rewriting paths, and masking
values in bodies.

If a script fails, Envoy forwards the mirrored request unchanged. So masking runs under `pcall`, and a failure
ends the mirrored request with a local response, which nobody receives.
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

_REDACT: Final = """\
local function redact(request_handle, body)
  -- A headers object from before body() is invalid after it.
  body:setBytes(redacted(request_handle:headers(), body:getBytes(0, body:length())))
end

"""

REPLY_AFTER_BODY: Final = """\
  local body = request_handle:body()
  if body and body:length() > 0 and not pcall(redact, request_handle, body) then
    request_handle:respond({[":status"] = "422"}, "")
    return
  end
"""
"""The only local reply, for a body that cannot be masked. Before a body has arrived there must be none
(`local_replies`)."""


def change(rewrites: Sequence[Rewrite], redactions: Sequence[JsonPointer | FormField]) -> str:
    """Changes the paths and the bodies of mirrored requests."""
    parts = []
    if rewrites:
        parts.append(_REWRITE.format(rewrites=listed(_rewrite(each) for each in rewrites)))
    if redactions:
        parts += [redaction(redactions), _REDACT]
    parts.append("function envoy_on_request(request_handle)\n")
    if redactions:
        parts.append(REPLY_AFTER_BODY)
    # Last, because nothing in the script runs after an error.
    if rewrites:
        parts.append(_REWRITE_REQUEST)
    parts.append("end\n")
    return "".join(parts)


def _rewrite(rule: Rewrite) -> str:
    itself = "false" if rule.old.endswith("/") else "true"
    old, new = (quoted(path.rstrip("/")) for path in (rule.old, rule.new))
    return f"{{old = {old}, new = {new}, itself = {itself}}}"
