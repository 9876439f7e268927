-- Apply a group of writes of one shard, whole, if its owner is who it was and nothing was committed in between.
--
-- KEYS: epoch, last commit, then every key that is written or looked at, each once.
-- ARGV: epoch; this commit's name; the one's before; msgpack of two lists: what must be absent, each the place of a key
--       in KEYS and, of a hash, the field; and the writes, each a command, the place of its key, arguments.
-- Returns OK, or DONE where this very commit is applied already (its reply was lost), FENCED where another process owns
-- the shard, BEHIND where the shard is not as its owner left it, PRESENT where something is there that must be absent.
-- Nothing is written but for OK; but after an error TORN the first writes are there and the others are not.
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
-- Who may not run one of them is told before any is run.
local checked = {}
local function refused(command, ...)
  if checked[command] or not redis.acl_check_cmd then
    return false
  end
  checked[command] = true
  return not redis.acl_check_cmd(command, ...)
end
local missing = refused('SET', KEYS[2], ARGV[2]) and 'SET'
for _, write in ipairs(writes) do
  missing = missing or refused(write[1], KEYS[write[2]], unpack(write, 3)) and write[1]
end
if missing then
  return redis.error_reply('NOPERM this user may not run ' .. missing .. ' on the keys of the store')
end
local done = 0
local whole, failure = pcall(function()
  for _, write in ipairs(writes) do
    redis.call(write[1], KEYS[write[2]], unpack(write, 3))
    done = done + 1
  end
  redis.call('SET', KEYS[2], ARGV[2])
end)
if whole then
  return 'OK'
end
failure = type(failure) == 'table' and failure.err or failure
if done == 0 then
  return redis.error_reply(failure)
end
return redis.error_reply('TORN ' .. done .. ' of ' .. #writes .. ' writes: ' .. failure)
