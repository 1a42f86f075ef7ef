-- Removes one field from many hashes, and the mark of every entity that then has no row; returns how many had a row.
-- KEYS: hashes. ARGV: the field. A hash without any field is removed by the server; tombstones of other views stay.
local removed = 0

local function is_row(value)
  return value and not (#value == 20 and string.sub(value, 17, 20) == 'gone')
end

for i = 1, #KEYS do
  local held = redis.call('HGET', KEYS[i], ARGV[1])
  if held then
    redis.call('HDEL', KEYS[i], ARGV[1])
    if is_row(held) then
      removed = removed + 1
      local known = false
      for _, other in ipairs(redis.call('HKEYS', KEYS[i])) do
        if other ~= '' and is_row(redis.call('HGET', KEYS[i], other)) then
          known = true
          break
        end
      end
      if not known then redis.call('HDEL', KEYS[i], '') end
    end
  end
end
return removed
