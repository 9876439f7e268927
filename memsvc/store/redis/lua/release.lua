-- Own a shard no longer.
--
-- KEYS: epoch, lease. ARGV: epoch. Returns 1 or 0.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
redis.call('INCR', KEYS[1])
redis.call('DEL', KEYS[2])
return 1
