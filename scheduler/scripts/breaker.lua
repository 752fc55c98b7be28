-- breaker: a rank's breaker becomes what a gateway made of it, if it is still the one that gateway read.
--
-- KEYS  head seen breaker change
-- ARGV  epoch, lease (ms), then per rank: rank, incarnation, its row as read, its row from now on ('': none)
-- reply {'resync'} | {'ok', per rank: whether it was written, its row now ('': none)}
-- breaker hash: rank -> row (scheduler/breaker.py). Of a life that is gone nothing is written, and rows of ranks that
--         left go when there are more rows than ranks
local call = enter(KEYS[1], ARGV[1], ARGV[2])
if not call then return {'resync'} end
local reply = {'ok'}
for i = 3, #ARGV, 4 do
  local rank, incarnation, read, new = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local row = redis.call('HGET', KEYS[3], rank) or ''
  local lives, written = match(redis.call('HGET', KEYS[2], rank) or '', '^%S+') == incarnation, 0
  if lives and row == read then
    if new == '' then redis.call('HDEL', KEYS[3], rank) else redis.call('HSET', KEYS[3], rank, new) end
    redis.call('ZADD', KEYS[4], call.version, rank)
    row, written = new, 1
  end
  reply[#reply + 1] = written
  reply[#reply + 1] = row
end
if redis.call('HLEN', KEYS[3]) > redis.call('HLEN', KEYS[2]) then
  for _, rank in ipairs(redis.call('HKEYS', KEYS[3])) do
    if redis.call('HEXISTS', KEYS[2], rank) == 0 then redis.call('HDEL', KEYS[3], rank) end
  end
end
return reply
