"""The script that masks values in bodies: a format string whose result is Lua.

The script is strict, because a canary might read lenient input differently: JSON of RFC 8259 in UTF-8, and
forms of the WHATWG URL standard with only characters that a URL may have. A body that is not understood to
its last byte is not sent.

The script never goes back, so the time is proportional to the size of the body. Values and names are the most
expensive. They are counted as steps, and a body that needs too many steps is not sent. LuaJIT does not
compile the script: code that it cannot compile is many times slower than code that it can, and a client could
choose between the two.
"""

from typing import Final

REDACT: Final = r"""
jit.off(true, true)
local json_rules = {json}
local form_rules = {form}
local masked_text, longest, deepest, most_steps = {mask}, {longest}, 100, {steps}
local byte, find, gsub, lower = string.byte, string.find, string.gsub, string.lower
local match, sub = string.match, string.sub
local band, bor = bit.band, bit.bor
local left

local function step(count)
  left = left - count
  if left < 0 then error("too many values") end
end

local function set(text)
  local found = {{}}
  for at = 1, #text do found[byte(text, at)] = true end
  return found
end

local hexadecimal, escapable = set("0123456789abcdefABCDEF"), set('"\\/bfnrt')
-- What no URL holds, and so no form.
local foreign = set(' "<>\\^`{{|}}\127')
for code = 0, 31 do foreign[code] = true end
-- What makes another name of a form's field than the one that stands there.
local special = set("%+.[]")
for code = 128, 255 do special[code] = true end

local function utf8_of(code)
  local char, floor = string.char, math.floor
  if code == 0 then error("a zero in a name") end
  if code < 0x80 then return char(code) end
  if code < 0x800 then return char(0xC0 + floor(code / 0x40), 0x80 + code % 0x40) end
  if code < 0x10000 then
    return char(0xE0 + floor(code / 0x1000), 0x80 + floor(code / 0x40) % 0x40, 0x80 + code % 0x40)
  end
  return char(0xF0 + floor(code / 0x40000), 0x80 + floor(code / 0x1000) % 0x40,
    0x80 + floor(code / 0x40) % 0x40, 0x80 + code % 0x40)
end

-- Where the bytes end that `lead` asks for, the first of them at `pos`; an error if there are others.
local function char_end(text, lead, pos)
  local count, low, high = 1, 128, 191
  if lead < 194 or lead > 244 then error("a name that is not UTF-8") end
  if lead >= 240 then
    count = 3
    if lead == 240 then low = 144 elseif lead == 244 then high = 143 end
  elseif lead >= 224 then
    count = 2
    if lead == 224 then low = 160 elseif lead == 237 then high = 159 end
  end
  for at = pos, pos + count - 1 do
    local found = byte(text, at)
    if not found or found < low or found > high then error("a name that is not UTF-8") end
    low, high = 128, 191
  end
  return pos + count
end

-- A name as it is compared. Some decoders take no notice of case, and then of two letters that are not ASCII.
local function folded(name)
  if not find(name, "[\128-\255]") then return lower(name) end
  step(#name / 4)
  local pos = 1
  while pos <= #name do
    local found = byte(name, pos)
    pos = found < 128 and pos + 1 or char_end(name, found, pos + 1)
  end
  return lower(gsub(gsub(name, "\197\191", "s"), "\226\132\170", "k"))
end

local escapes = {{b = "\b", f = "\f", n = "\n", r = "\r", t = "\t", ['"'] = '"', ["\\"] = "\\", ["/"] = "/"}}

local function unescaped(text)
  text = gsub(text, "\\(u?)(.)(%x?%x?%x?)", function(unicode, first, rest)
    step(4)
    if unicode == "u" then return utf8_of(tonumber(first .. rest, 16)) end
    return escapes[first] .. rest
  end)
  -- Two halves of one character.
  return (gsub(text, "\237([\160-\175])([\128-\191])\237([\176-\191])([\128-\191])", function(a, b, c, d)
    return utf8_of(0x10000 + (byte(a) - 160) * 0x10000 + (byte(b) - 128) * 0x400
      + (byte(c) - 176) * 0x40 + byte(d) - 128)
  end))
end

-- Where the text ends that begins after the quotation mark before `pos`.
local function string_end(s, pos)
  while true do
    pos = find(s, '["\\%z\1-\31]', pos)
    local found = pos and byte(s, pos)
    if found == 34 then return pos end
    if found ~= 92 then error("no string") end
    while found == 92 do
      local escaped = byte(s, pos + 1)
      if escaped == 117 then
        for at = pos + 2, pos + 5 do
          if not hexadecimal[byte(s, at)] then error("no escape") end
        end
        pos = pos + 6
      elseif escapable[escaped] then
        pos = pos + 2
      else
        error("no escape")
      end
      found = byte(s, pos)
    end
  end
end

-- The first place from `pos` on that has no digit; there is a digit before it.
local function digits_end(s, pos)
  local found, at = byte(s, pos), pos
  while found and found >= 48 and found <= 57 do
    at = at + 1
    found = byte(s, at)
  end
  if at == pos then error("no value") end
  return at, found
end

local function number_end(s, pos)
  local found = byte(s, pos)
  if found == 45 then
    pos = pos + 1
    found = byte(s, pos)
  end
  local at, after = digits_end(s, pos)
  if found == 48 and at > pos + 1 then error("no number") end
  if after == 46 then at, after = digits_end(s, at + 1) end
  if after == 101 or after == 69 then
    local sign = byte(s, at + 1)
    at = digits_end(s, (sign == 43 or sign == 45) and at + 2 or at + 1)
  end
  return at - 1
end

-- The next place and byte that are no space.
local function after_space(s, pos)
  local found = byte(s, pos)
  while found == 32 or found == 10 or found == 13 or found == 9 do
    pos = pos + 1
    found = byte(s, pos)
  end
  return pos, found
end

-- `rules` are at most 32, each a bit: `ends` has those that end at a depth, `any` those with a "*" there, and
-- `names` those with a name or index.
local function redacted_json(s, rules)
  local parts, copied = {{}}, 1
  local ends, any, names = rules.ends, rules.any, rules.names
  local known = {{}}
  local value

  local function named_at(pos, last)
    local raw = sub(s, pos, last)
    local name = known[raw]
    if not name then
      step(6)
      name = folded(find(raw, "\\", 1, true) and unescaped(raw) or raw)
      known[raw] = name
    end
    return name
  end

  local function members(pos, bits, depth)
    local found
    local named, all = names[depth], any[depth] or 0
    pos, found = after_space(s, pos + 1)
    if found == 125 then return pos end
    while true do
      if found ~= 34 then error("no name") end
      local last = string_end(s, pos + 1)
      local inner = bits ~= 0 and band(bits, all) or 0
      if bits ~= 0 and named and last - pos - 1 <= longest * 6 then
        inner = bor(inner, band(bits, named[named_at(pos + 1, last - 1)] or 0))
      end
      pos, found = after_space(s, last + 1)
      if found ~= 58 then error("no colon") end
      pos, found = after_space(s, value(after_space(s, pos + 1), inner, depth + 1) + 1)
      if found == 125 then return pos end
      if found ~= 44 then error("no comma") end
      pos, found = after_space(s, pos + 1)
    end
  end

  local function elements(pos, bits, depth)
    local found
    local named, all = names[depth], any[depth] or 0
    pos, found = after_space(s, pos + 1)
    if found == 93 then return pos end
    local index = 0
    while true do
      local inner = 0
      if bits ~= 0 then inner = band(bits, bor(all, named and named[index] or 0)) end
      pos, found = after_space(s, value(pos, inner, depth + 1) + 1)
      if found == 93 then return pos end
      if found ~= 44 then error("no comma") end
      pos = after_space(s, pos + 1)
      index = index + 1
    end
  end

  -- The place of the last byte of the value that begins at `pos`.
  function value(pos, bits, depth)
    step(1)
    if depth > deepest then error("too deep") end
    local masked = bits ~= 0 and band(bits, ends[depth] or 0) ~= 0
    local inner = masked and 0 or bits
    local found, last, instead = byte(s, pos), nil, nil
    if found == 34 then
      last, instead = string_end(s, pos + 1), '"' .. masked_text .. '"'
    elseif found == 123 then
      last, instead = members(pos, inner, depth), "{{}}"
    elseif found == 91 then
      last, instead = elements(pos, inner, depth), "[]"
    elseif found == 116 and sub(s, pos, pos + 3) == "true" then
      last, instead = pos + 3, "false"
    elseif found == 102 and sub(s, pos, pos + 4) == "false" then
      last, instead = pos + 4, "false"
    elseif found == 110 and sub(s, pos, pos + 3) == "null" then
      last, instead = pos + 3, "null"
    else
      last, instead = number_end(s, pos), "0"
    end
    if masked then
      step(1)
      parts[#parts + 1] = sub(s, copied, pos - 1)
      parts[#parts + 1] = instead
      copied = last + 1
    end
    return last
  end

  local last = value(after_space(s, 1), -1, 0)
  if after_space(s, last + 1) <= #s then error("goes on") end
  parts[#parts + 1] = sub(s, copied)
  return table.concat(parts)
end

-- A form field's name as it is compared, without the spaces at its beginning, as PHP has it.
local function field_name(name)
  local spaces
  name, spaces = gsub(name, "+", " ")
  step(2 + spaces + #name / 16)
  name = gsub(name, "%%(%x%x)", function(hex)
    step(1)
    if hex == "00" then error("a zero in a name") end
    return string.char(tonumber(hex, 16))
  end)
  return folded(match(name, "[^ ].*") or "")
end

-- Whether a field of this name is masked: by the name itself, as what nests in it ("name[]", "name.x"), or as
-- it in another ("x[name]"). PHP takes "_" for some characters.
local function is_masked(name)
  local as_php, changed = gsub(name, "[%[. ]", "_")
  step(changed)
  if form_rules[name] or form_rules[as_php] then return true end
  for at in string.gmatch(name, "()[%[.]") do
    step(2)
    if form_rules[sub(name, 1, at - 1)] then return true end
  end
  for part in string.gmatch(name, "[^%[%].]+") do
    step(2)
    if form_rules[match(part, "[^ ].*")] then return true end
  end
  return false
end

-- Names begin after "&", and for older servers after ";"; a masked value ends with "&".
local function redacted_form(s)
  local parts, copied = {{}}, 1
  -- Where the field begins, and the name; whether the name is as it stands, and has ended; whether the first
  -- name of the field has.
  local field, start, plain, named, passed, masked = 1, 1, true, false, false, false
  for pos = 1, #s + 1 do
    local found = byte(s, pos) or 38
    if found == 38 then
      step(1)
      if masked then copied = pos end
      field, start, plain, named, passed, masked = pos + 1, pos + 1, true, false, false, false
    elseif found == 59 then
      step(1)
      if not masked then start, plain, named = pos + 1, true, false end
    elseif found == 61 and not named then
      if pos - field > longest * 3 + 64 and not passed or pos - start > longest * 3 + 64 then
        error("a long name")
      end
      local name = sub(s, start, pos - 1)
      local hit
      if plain then
        name = lower(name)
        hit = form_rules[name]
      else
        name = field_name(name)
        hit = is_masked(name)
      end
      -- To other servers ";" is a part of the name.
      if not hit and not passed and start > field then
        hit = is_masked(field_name(sub(s, field, pos - 1)))
      end
      if hit then
        step(1)
        masked = true
        parts[#parts + 1] = sub(s, copied, pos)
        parts[#parts + 1] = masked_text
      elseif name == "_charset_" and lower(match(s, "^[^&;]*", pos + 1)) ~= "utf-8" then
        error("another charset")
      end
      named, passed = true, true
    elseif foreign[found] then
      error("no form")
    elseif special[found] and not named then
      plain = false
    end
  end
  if not masked then parts[#parts + 1] = sub(s, copied) end
  return table.concat(parts)
end

-- Whether all that is said of the characters is that they are UTF-8.
local function is_utf8(kind)
  local rest = gsub(kind, 'charset="?utf%-?8"?%f[; %z]', "")
  rest = gsub(rest, 'charset="?us%-ascii"?%f[; %z]', "")
  return not find(rest, "charset", 1, true)
end

-- What becomes of a body; an error where it cannot be looked into or nothing says what to mask.
local function redacted(headers, s)
  local encoding = headers:get("content-encoding")
  if encoding and lower(encoding) ~= "identity" then error("encoded") end
  local kind = lower(headers:get("content-type") or "")
  if find(kind, ",", 1, true) or not is_utf8(kind) then error("of another kind") end
  kind = match(kind, "^%s*([^;%s]*)")
  left = most_steps
  local is_form = kind == "application/x-www-form-urlencoded"
  local _, first = after_space(s, 1)
  local is_json = kind == "application/json" or find(kind, "+json", 2, true) == #kind - 4
  if is_json or is_form and (first == 123 or first == 91) then
    -- JSON that is called a form, as by curl, must not be one too.
    if #json_rules == 0 or is_form and find(s, "=", 1, true) then error("nothing says what to mask") end
    for _, rules in ipairs(json_rules) do s = redacted_json(s, rules) end
    return s
  end
  if not is_form or not form_rules then error("nothing says what to mask") end
  return redacted_form(s)
end
"""
