-- Writes one field of many hashes, each only where the row is newer; returns how many rows it wrote.
-- KEYS: hashes. ARGV: the field of the view's version, the field of the view's deletions, then one packed row per hash.
-- See features/codec.py for the header that rows and deletions begin with, and features/tombstones.py.
-- The empty field marks an entity that has rows, so that a read tells an unknown entity from a missing view.
local field, deletions = ARGV[1], ARGV[2]
local written = 0

for i = 1, #KEYS do
  local new = ARGV[i + 2]
  local held = redis.call('HMGET', KEYS[i], field, deletions)
  if is_newer(new, held[1]) and is_newer(new, held[2]) then
    redis.call('HSET', KEYS[i], field, new, '', '')
    written = written + 1
  end
end
return written
