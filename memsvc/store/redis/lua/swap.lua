-- Swap a tenant's snapshots, whole: what is new is there and what goes is gone, if the shard's owner is who it was.
--
-- KEYS: epoch, snapshots, blobs.
-- ARGV: epoch; how many snapshots and blobs are put, snapshots and blobs are dropped; then seq and manifest of each
--       that is put, name and place of each blob that is put, seqs that are dropped, names that are dropped.
-- Returns 1, or 0 where another process owns the shard. Nothing is written but for 1.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
local put_snapshots, put_blobs = tonumber(ARGV[2]), tonumber(ARGV[3])
local drop_snapshots, drop_blobs = tonumber(ARGV[4]), tonumber(ARGV[5])
if #ARGV ~= 5 + 2 * put_snapshots + 2 * put_blobs + drop_snapshots + drop_blobs then
  return redis.error_reply('swap: the arguments are not as many as they say')
end
for place = 2, 3 do
  local kind = redis.call('TYPE', KEYS[place]).ok
  if kind ~= 'none' and kind ~= 'hash' then
    return redis.error_reply('swap: a key is no hash')
  end
end
local at = 6
local function put(key, pairs)
  for _ = 1, pairs do
    redis.call('HSET', key, ARGV[at], ARGV[at + 1])
    at = at + 2
  end
end
local function drop(key, fields)
  for _ = 1, fields do
    redis.call('HDEL', key, ARGV[at])
    at = at + 1
  end
end
put(KEYS[2], put_snapshots)
put(KEYS[3], put_blobs)
drop(KEYS[2], drop_snapshots)
drop(KEYS[3], drop_blobs)
return 1
