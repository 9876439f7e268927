-- Change the table of credentials, whole, if nobody changed it since it was read.
--
-- KEYS: credentials. ARGV: the version that was read; how many are put; id and body of each; then ids that are dropped.
-- Returns the new version, or -1 where the table has another by now. Nothing is written but for the former.
local version = tonumber(redis.call('HGET', KEYS[1], 'version') or '0')
if version ~= tonumber(ARGV[1]) then
  return -1
end
local put = tonumber(ARGV[2])
for place = 3, 1 + 2 * put, 2 do
  redis.call('HSET', KEYS[1], ARGV[place], ARGV[place + 1])
end
for place = 3 + 2 * put, #ARGV do
  redis.call('HDEL', KEYS[1], ARGV[place])
end
return redis.call('HINCRBY', KEYS[1], 'version', 1)
