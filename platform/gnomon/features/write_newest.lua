-- Writes one field of many hashes, each only where the row is newer; returns how many rows it wrote.
-- KEYS: hashes. ARGV: the field, then one packed row per hash. See features/codec.py for the row's header.
-- The empty field marks an entity that has rows, so that a read tells an unknown entity from a missing view.
local field = ARGV[1]
local written = 0
for i = 1, #KEYS do
  local new = ARGV[i + 1]
  local old = redis.call('HGET', KEYS[i], field)
  local newer = true
  if old and #old >= 20 and string.sub(old, 17, 20) == string.sub(new, 17, 20) then
    -- two 32-bit halves each: a Lua number holds no more than 53 bits
    local a1, a2, a3, a4 = struct.unpack('>i4I4i4I4', new)
    local b1, b2, b3, b4 = struct.unpack('>i4I4i4I4', old)
    if a1 ~= b1 then newer = a1 > b1
    elseif a2 ~= b2 then newer = a2 > b2
    elseif a3 ~= b3 then newer = a3 > b3
    else newer = a4 > b4 end
  end
  if newer then
    redis.call('HSET', KEYS[i], field, new, '', '')
    written = written + 1
  end
end
return written
