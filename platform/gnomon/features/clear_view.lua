-- Removes the rows of a view from many hashes, and the mark of every entity that then has no row; returns how many had one.
-- KEYS: hashes. ARGV: the field of the view's deletions, what the fields of its rows begin with, and the field of the one
-- version that goes; with an empty field all versions go, and the deletions. A field with an '@' holds rows. A hash without
-- any field is removed by the server.
local deletions, prefix, only = ARGV[1], ARGV[2], ARGV[3]
local removed = 0

for i = 1, #KEYS do
  local key = KEYS[i]
  local had, known = false, false
  for _, field in ipairs(redis.call('HKEYS', key)) do
    local is_row = string.find(field, '@', 1, true)
    if field == only and is_row or only == '' and string.sub(field, 1, #prefix) == prefix then
      redis.call('HDEL', key, field)
      had = true
    elseif is_row then
      known = true
    end
  end
  if only == '' then redis.call('HDEL', key, deletions) end
  if had then
    removed = removed + 1
    if not known then redis.call('HDEL', key, '') end
  end
end
return removed
