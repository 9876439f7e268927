-- Apply a group of writes of one shard, whole, if its owner is who it was and nothing was committed in between.
--
-- KEYS: epoch, last commit, then every key that is written, each once.
-- ARGV: epoch; this commit's name; the one's before; then for each write: command, place of its key in KEYS, number of
--       arguments, arguments.
-- Returns OK, or DONE where this very commit is applied already (its reply was lost), FENCED where another process owns
-- the shard, BEHIND where the shard is not as its owner left it. Nothing is written but for OK.
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
local at = 4
while at <= #ARGV do
  local stop = at + 2 + tonumber(ARGV[at + 2])
  redis.call(ARGV[at], KEYS[tonumber(ARGV[at + 1])], unpack(ARGV, at + 3, stop))
  at = stop + 1
end
redis.call('SET', KEYS[2], ARGV[2])
return 'OK'
