-- Give a sign of life, forget who gave none, and tell who lives. A sign of 0 ms is a farewell.
--
-- KEYS: members. ARGV: address; how long the sign counts, in milliseconds. Returns the addresses.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
return redis.call('ZRANGE', KEYS[1], 0, -1)
