-- Deletes the rows of one view in many hashes, of all of its versions, where they are not newer than the deletion; returns
-- how many deletions became the newest of their entity.
-- KEYS: hashes. ARGV: the field of the view's deletions, what the fields of its rows begin with, then one deletion per hash
-- (features/tombstones.py). A field with an '@' holds rows, of one version of a view. The times of the newest deletion
-- stay, so that a late write of any version finds them.
local deletions, prefix = ARGV[1], ARGV[2]
local written = 0

for i = 1, #KEYS do
  local key, new = KEYS[i], ARGV[i + 2]
  if is_newer(new, redis.call('HGET', key, deletions)) then
    local known, newest = false, true
    redis.call('HSET', key, deletions, new)
    for _, field in ipairs(redis.call('HKEYS', key)) do
      if string.sub(field, 1, #prefix) == prefix then
        local row = redis.call('HGET', key, field)
        if #row >= 20 and is_newer(row, new) then
          known, newest = true, false
        else
          redis.call('HDEL', key, field)
        end
      elseif string.find(field, '@', 1, true) then
        known = true
      end
    end
    if not known then redis.call('HDEL', key, '') end
    if newest then written = written + 1 end
  end
end
return written
