"""What the filters of a shadow cluster run in Lua, as only Lua can do it there: rewriting a path, masking
values in a body, counting copies by the second, cutting off an answer that does not end.

Envoy goes on with a copy whose script fails, as if there were none. So everything runs under `pcall`, and
what goes wrong is answered here, with a status that nobody sees: it costs the copy. What a user wrote
reaches a script only as a quoted string.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Final

from xds_server.shadows.terms import FormField, JsonPointer, Rewrite

MASK: Final = "***"
"""What a masked text reads."""

_PLAIN: Final = re.compile(rb"[A-Za-z0-9 _./:*-]")

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

# Strict, as what is lenient here may be read otherwise by the canary: JSON of RFC 8259 in UTF-8, and a form
# of WHATWG's URL standard that also takes ";" for the end of a name, as older servers do. Names are compared
# without regard to case, as some decoders do.
_REDACT: Final = r"""
local json_rules = {json}
local form_rules = {form}
local masked_text, deepest = {mask}, 100
local find, sub, byte, match, lower = string.find, string.sub, string.byte, string.match, string.lower

local function utf8_of(code)
  local char, floor = string.char, math.floor
  if code < 0x80 then return char(code) end
  if code < 0x800 then return char(0xC0 + floor(code / 0x40), 0x80 + code % 0x40) end
  if code < 0x10000 then
    return char(0xE0 + floor(code / 0x1000), 0x80 + floor(code / 0x40) % 0x40, 0x80 + code % 0x40)
  end
  return char(0xF0 + floor(code / 0x40000), 0x80 + floor(code / 0x1000) % 0x40,
    0x80 + floor(code / 0x40) % 0x40, 0x80 + code % 0x40)
end

local escapes = {{b = "\b", f = "\f", n = "\n", r = "\r", t = "\t", ['"'] = '"', ["\\"] = "\\", ["/"] = "/"}}

local function unescaped(text)
  text = text:gsub("\\u[dD]([89abAB]%x%x)\\u[dD]([c-fC-F]%x%x)", function(high, low)
    return utf8_of(0x10000 + (tonumber(high, 16) - 0x800) * 0x400 + tonumber(low, 16) - 0xC00)
  end)
  -- One pass for the rest, so that what an escape gives is not read as another.
  return (text:gsub("\\(u?)(.)(%x?%x?%x?)", function(unicode, first, rest)
    if unicode == "u" then return utf8_of(tonumber(first .. rest, 16)) end
    return escapes[first] .. rest
  end))
end

local function string_end(s, pos)
  while true do
    local at = find(s, '["\\%z\1-\31]', pos)
    local found = at and byte(s, at)
    if found == 34 then return at end
    if found ~= 92 then error("no string") end
    if find(s, '^["\\/bfnrt]', at + 1) then
      pos = at + 2
    elseif find(s, "^u%x%x%x%x", at + 1) then
      pos = at + 6
    else
      error("no escape")
    end
  end
end

local function number_end(s, pos)
  local at = match(s, "^%-?0()", pos) or match(s, "^%-?[1-9]%d*()", pos)
  if not at then error("no value") end
  at = match(s, "^%.%d+()", at) or at
  return (match(s, "^[eE][+-]?%d+()", at) or at) - 1
end

local function redacted_json(s)
  local parts, copied = {{}}, 1

  local function step(rules, name)
    local found
    for _, rule in ipairs(rules or {{}}) do
      for _, key in ipairs({{name, "*"}}) do
        local next = rule.steps and rule.steps[key]
        if next then
          found = found or {{}}
          found[#found + 1] = next
          found.masked = found.masked or next.masked
        end
      end
    end
    return found
  end

  local function after_space(pos)
    return find(s, "[^ \t\r\n]", pos) or error("ends early")
  end

  local value

  local function members(pos, rules, depth)
    pos = after_space(pos + 1)
    if byte(s, pos) == 125 then return pos end
    while true do
      if byte(s, pos) ~= 34 then error("no name") end
      local last = string_end(s, pos + 1)
      local name = rules and lower(unescaped(sub(s, pos + 1, last - 1)))
      pos = after_space(last + 1)
      if byte(s, pos) ~= 58 then error("no colon") end
      pos = after_space(value(after_space(pos + 1), rules and step(rules, name), depth) + 1)
      local found = byte(s, pos)
      if found == 125 then return pos end
      if found ~= 44 then error("no comma") end
      pos = after_space(pos + 1)
    end
  end

  local function elements(pos, rules, depth)
    pos = after_space(pos + 1)
    if byte(s, pos) == 93 then return pos end
    local index = 0
    while true do
      pos = after_space(value(pos, rules and step(rules, tostring(index)), depth) + 1)
      local found = byte(s, pos)
      if found == 93 then return pos end
      if found ~= 44 then error("no comma") end
      pos = after_space(pos + 1)
      index = index + 1
    end
  end

  -- The place of the last character of the value that begins at `pos`.
  function value(pos, rules, depth)
    if depth > deepest then error("too deep") end
    local masked = rules and rules.masked
    local inner = not masked and rules or nil
    local found, last, instead = byte(s, pos), nil, nil
    if found == 123 then
      last, instead = members(pos, inner, depth + 1), "{{}}"
    elseif found == 91 then
      last, instead = elements(pos, inner, depth + 1), "[]"
    elseif found == 34 then
      last, instead = string_end(s, pos + 1), '"' .. masked_text .. '"'
    elseif find(s, "^true", pos) then
      last, instead = pos + 3, "false"
    elseif find(s, "^false", pos) then
      last, instead = pos + 4, "false"
    elseif find(s, "^null", pos) then
      last, instead = pos + 3, "null"
    else
      last, instead = number_end(s, pos), "0"
    end
    if masked then
      parts[#parts + 1] = sub(s, copied, pos - 1)
      parts[#parts + 1] = instead
      copied = last + 1
    end
    return last
  end

  local last = value(after_space(1), {{json_rules}}, 0)
  if find(s, "[^ \t\r\n]", last + 1) then error("goes on") end
  parts[#parts + 1] = sub(s, copied)
  return table.concat(parts)
end

local function form_name(text)
  text = text:gsub("+", " "):gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end)
  return lower(text)
end

local function redacted_form(s)
  local fields = {{}}
  for field in (s .. "&"):gmatch("([^&]*)&") do
    local pos = 1
    while true do
      local last = find(field, ";", pos, true) or #field + 1
      local equals = find(field, "=", pos, true)
      if equals and equals < last and form_rules[form_name(sub(field, pos, equals - 1))] then
        field = sub(field, 1, equals) .. masked_text
        break
      end
      if last > #field then break end
      pos = last + 1
    end
    fields[#fields + 1] = field
  end
  return table.concat(fields, "&")
end

-- The redaction for a body of this kind; none where it cannot be looked into or nothing says what to mask.
local function redaction_for(headers)
  local encoding = headers:get("content-encoding")
  if encoding and lower(encoding) ~= "identity" then return nil end
  local kind = lower(headers:get("content-type") or "")
  local charset = match(kind, "charset%s*=%s*\"?([^\";%s]*)")
  if charset and charset ~= "utf-8" and charset ~= "us-ascii" then return nil end
  kind = match(kind, "^%s*([^;%s]*)")
  if kind == "application/json" or find(kind, "^[^,]+%+json$") then return json_rules and redacted_json end
  if kind == "application/x-www-form-urlencoded" then return form_rules and redacted_form end
end
"""

_REWRITE_COPY: Final = """\
  local headers = copy:headers()
  headers:replace(":path", rewritten(headers:get(":path")))
"""

_REDACT_COPY: Final = """\
  if body and body:length() > 0 then
    -- Headers that were got before the body are of no use after it.
    local redaction = redaction_for(copy:headers()) or error("nothing says what to mask")
    body:setBytes(redaction(body:getBytes(0, body:length())))
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
        parts.append(_REWRITE.format(rewrites=_list(_rewrite(each) for each in rewrites)))
    if redactions:
        pointers = [each.steps for each in redactions if isinstance(each, JsonPointer)]
        fields = [each.name for each in redactions if isinstance(each, FormField)]
        rules = _REDACT.format(
            json=_node(pointers) if pointers else "nil",
            form=_set(fields) if fields else "nil",
            mask=quoted(MASK),
        )
        parts.append(rules)
    parts.append("local function change(copy)\n")
    if rewrites:
        parts.append(_REWRITE_COPY)
    parts.append("  local body = copy:body()\n")
    if redactions:
        parts.append(_REDACT_COPY)
    parts.append(_GUARD)
    return "".join(parts)


def quoted(text: str) -> str:
    """`text` as a Lua string: what is not plainly harmless is written as a number."""
    plain = (chr(byte) if _PLAIN.match(bytes([byte])) else f"\\{byte:03d}" for byte in text.encode())
    return f'"{"".join(plain)}"'


def _list(items: Iterable[str]) -> str:
    return f"{{{', '.join(items)}}}"


def _rewrite(rule: Rewrite) -> str:
    itself = "false" if rule.old.endswith("/") else "true"
    old, new = (quoted(path.rstrip("/")) for path in (rule.old, rule.new))
    return f"{{old = {old}, new = {new}, itself = {itself}}}"


def _set(names: Iterable[str]) -> str:
    return _list(f"[{quoted(name)}] = true" for name in sorted({_folded(name) for name in names}))


def _node(pointers: Iterable[Sequence[str]]) -> str:
    """A place in a document: masked itself, or with the steps that lead on from it."""
    heads: dict[str, list[Sequence[str]]] = {}
    for pointer in pointers:
        if not pointer:
            return "{masked = true}"
        heads.setdefault(_folded(pointer[0]), []).append(pointer[1:])
    steps = _list(f"[{quoted(head)}] = {_node(tails)}" for head, tails in sorted(heads.items()))
    return f"{{steps = {steps}}}"


def _folded(text: str) -> str:
    """Lower case, of ASCII alone, as Lua's."""
    return "".join(char.lower() if char.isascii() else char for char in text)
