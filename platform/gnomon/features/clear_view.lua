-- Removes one field from many hashes, and every hash that then holds nothing; returns how many hashes had the field.
-- KEYS: hashes. ARGV: the field.
local removed = 0
for i = 1, #KEYS do
  if redis.call('HDEL', KEYS[i], ARGV[1]) == 1 then
    removed = removed + 1
    if redis.call('HLEN', KEYS[i]) == 1 then redis.call('DEL', KEYS[i]) end
  end
end
return removed
