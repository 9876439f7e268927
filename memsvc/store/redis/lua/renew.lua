-- Stay a shard's owner, unless another became it.
--
-- KEYS: epoch, lease. ARGV: epoch; owner; lease in milliseconds. Returns 1 or 0.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
-- A Redis that is full takes no SET, but still lets what is there live on: what it holds can be read.
if redis.call('PEXPIRE', KEYS[2], ARGV[3]) == 0 then
  redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
end
return 1
