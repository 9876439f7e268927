-- Become a shard's owner, unless another is.
--
-- KEYS: epoch, lease, last commit. ARGV: owner; lease in milliseconds; prefix of owners that are known to be gone.
-- Returns {epoch} or {0, owner}.
local owner = redis.call('GET', KEYS[2])
if owner and owner ~= ARGV[1] and (ARGV[3] == '' or string.sub(owner, 1, #ARGV[3]) ~= ARGV[3]) then
  return {0, owner}
end
local epoch = redis.call('INCR', KEYS[1])
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
redis.call('SET', KEYS[3], epoch .. '-0')
return {epoch}
