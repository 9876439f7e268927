-- Tell what this user may not run, or this Redis does not know.
--
-- ARGV: JSON of commands, each with its arguments. Returns the places of those, from 1 on.
local refused = {}
if not redis.acl_check_cmd then -- it is older than any that is asked for
  return refused
end
for place, command in ipairs(cjson.decode(ARGV[1])) do
  local known, allowed = pcall(redis.acl_check_cmd, unpack(command))
  if not (known and allowed) then
    refused[#refused + 1] = place
  end
end
return refused
