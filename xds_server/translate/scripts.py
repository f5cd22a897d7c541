"""What the filters of a shadow cluster run in Lua, as only Lua can do it there: rewriting a path, masking
values in a body, counting copies by the second, cutting off an answer that does not end.

Envoy goes on with a copy whose script fails, as if there were none. So everything runs under `pcall`, and
what goes wrong is answered here, with a status that nobody sees: it costs the copy.
"""

from collections.abc import Sequence
from typing import Final

from xds_server.core.terms import FormField, JsonPointer, Rewrite
from xds_server.translate.lua import listed, quoted
from xds_server.translate.redaction import redaction

_PACE: Final = """\
-- A token bucket of one second. Each worker has its own.
local rate, tokens, last = {rate}, {rate}, 0
function envoy_on_request(copy)
  local now = copy:timestamp(EnvoyTimestampResolution.MILLISECOND)
  tokens = math.min(rate, tokens + math.max(0, now - last) * rate / 1000)
  last = now
  if tokens < 1 then
    copy:respond({{[":status"] = "429"}}, "")
    return
  end
  tokens = tokens - 1
end
"""

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

_REWRITE_COPY: Final = """\
  local headers = copy:headers()
  headers:replace(":path", rewritten(headers:get(":path")))
"""

_REDACT_COPY: Final = """\
  if body and body:length() > 0 then
    -- Headers that were got before the body are of no use after it.
    body:setBytes(redacted(copy:headers(), body:getBytes(0, body:length())))
  end
"""

# The buffer filter has bounded the stream, which holds for the answer too: one that is longer is cut off.
# Without a body it has not, so such answers are left alone.
_GUARD: Final = """\
  if body and body:length() > 0 then
    copy:streamInfo():dynamicMetadata():set("xds-shadow", "bounded", true)
  end
end

function envoy_on_request(copy)
  if not pcall(change, copy) then copy:respond({[":status"] = "422"}, "") end
end

function envoy_on_response(answer)
  local noted = answer:streamInfo():dynamicMetadata():get("xds-shadow")
  if noted and noted.bounded then answer:body() end
end
"""


def pace(rps: int) -> str:
    """Lets so many copies a second pass."""
    return _PACE.format(rate=rps)


def change(rewrites: Sequence[Rewrite], redactions: Sequence[JsonPointer | FormField]) -> str:
    """Changes copies, and cuts off answers that are longer than the stream's bound."""
    parts = []
    if rewrites:
        parts.append(_REWRITE.format(rewrites=listed(_rewrite(each) for each in rewrites)))
    if redactions:
        parts.append(redaction(redactions))
    parts.append("local function change(copy)\n")
    if rewrites:
        parts.append(_REWRITE_COPY)
    parts.append("  local body = copy:body()\n")
    if redactions:
        parts.append(_REDACT_COPY)
    parts.append(_GUARD)
    return "".join(parts)


def _rewrite(rule: Rewrite) -> str:
    itself = "false" if rule.old.endswith("/") else "true"
    old, new = (quoted(path.rstrip("/")) for path in (rule.old, rule.new))
    return f"{{old = {old}, new = {new}, itself = {itself}}}"
