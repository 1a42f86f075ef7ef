-- Writes one field of many hashes, each only where the row is newer; returns how many rows it wrote.
-- KEYS: hashes. ARGV: the field, then one packed row or tombstone per hash. See features/codec.py for the header that
-- both begin with, and features/tombstones.py. A tombstone has no layout version: it compares with rows of every one.
-- The empty field marks an entity that has rows, so that a read tells an unknown entity from a missing view.
local field = ARGV[1]
local written = 0

local function is_tombstone(value)
  return #value == 20 and string.sub(value, 17, 20) == 'gone'
end

local function has_rows(key)
  for _, other in ipairs(redis.call('HKEYS', key)) do
    if other ~= '' and not is_tombstone(redis.call('HGET', key, other)) then return true end
  end
  return false
end

for i = 1, #KEYS do
  local new = ARGV[i + 1]
  local old = redis.call('HGET', KEYS[i], field)
  local deletes = is_tombstone(new)
  local newer = true
  if old and #old >= 20
    and (deletes or is_tombstone(old) or string.sub(old, 17, 20) == string.sub(new, 17, 20)) then
    -- two 32-bit halves each: a Lua number holds no more than 53 bits
    local a1, a2, a3, a4 = struct.unpack('>i4I4i4I4', new)
    local b1, b2, b3, b4 = struct.unpack('>i4I4i4I4', old)
    if a1 ~= b1 then newer = a1 > b1
    elseif a2 ~= b2 then newer = a2 > b2
    elseif a3 ~= b3 then newer = a3 > b3
    elseif a4 ~= b4 then newer = a4 > b4
    else newer = deletes and not is_tombstone(old) end
  end
  if newer then
    if deletes then
      redis.call('HSET', KEYS[i], field, new)
      if not has_rows(KEYS[i]) then redis.call('HDEL', KEYS[i], '') end
    else
      redis.call('HSET', KEYS[i], field, new, '', '')
    end
    written = written + 1
  end
end
return written
