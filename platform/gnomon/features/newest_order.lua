-- The one order of the online store, put before the scripts that write and delete: by (event time, known time).
-- See features/codec.py for the header that rows and deletions begin with.
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
