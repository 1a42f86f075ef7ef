-- Writes one field of many hashes, each only where the row is newer; returns how many rows it wrote.
-- KEYS: hashes. ARGV: the field of the view's version, the field of the view's deletions, then one packed row per hash.
-- See features/codec.py for the header that rows and deletions begin with, and features/tombstones.py.
-- The empty field marks an entity that has rows, so that a read tells an unknown entity from a missing view.
local field, deletions = ARGV[1], ARGV[2]
local written = 0

local function is_newer(new, old)
  if not old or #old < 20 then return true end
  -- two 32-bit halves each: a Lua number holds no more than 53 bits
  local a1, a2, a3, a4 = struct.unpack('>i4I4i4I4', new)
  local b1, b2, b3, b4 = struct.unpack('>i4I4i4I4', old)
  if a1 ~= b1 then return a1 > b1 end
  if a2 ~= b2 then return a2 > b2 end
  if a3 ~= b3 then return a3 > b3 end
  return a4 > b4
end

for i = 1, #KEYS do
  local new = ARGV[i + 2]
  local held = redis.call('HMGET', KEYS[i], field, deletions)
  if is_newer(new, held[1]) and is_newer(new, held[2]) then
    redis.call('HSET', KEYS[i], field, new, '', '')
    written = written + 1
  end
end
return written
