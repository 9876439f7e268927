-- Apply a group of writes of one shard, whole, if its owner is who it was and nothing was committed in between.
--
-- KEYS: epoch, last commit, then every key that is written or looked at, each once.
-- ARGV: epoch; this commit's name; the one's before; msgpack of two lists: what must be absent, each the place of a key
--       in KEYS and, of a hash, the field; and the writes, each a command, the place of its key, arguments.
-- Returns OK, or DONE where this very commit is applied already (its reply was lost), FENCED where another process owns
-- the shard, BEHIND where the shard is not as its owner left it, PRESENT where something is there that must be absent.
-- Nothing is written but for OK.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 'FENCED'
end
local last = redis.call('GET', KEYS[2])
if last == ARGV[2] then
  return 'DONE'
end
if last ~= ARGV[3] then
  return 'BEHIND'
end
local absent, writes = unpack(cmsgpack.unpack(ARGV[4]))
for _, cell in ipairs(absent) do
  local key, field = KEYS[cell[1]], cell[2]
  if (field and redis.call('HEXISTS', key, field) or redis.call('EXISTS', key)) == 1 then
    return 'PRESENT'
  end
end
for _, write in ipairs(writes) do
  redis.call(write[1], KEYS[write[2]], unpack(write, 3))
end
redis.call('SET', KEYS[2], ARGV[2])
return 'OK'
