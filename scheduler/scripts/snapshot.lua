-- snapshot: every rank that changed since a version. Reads only, so that a replica can answer it.
--
-- KEYS  head change card seen load breaker
-- ARGV  lease (ms), epoch, version already known ('-1': none; another epoch counts as none)
-- reply {'closed'}: the pool has no epoch | {epoch, version, pool ms, then per rank: rank, seen, load, card, breaker}
--       seen is '' for a rank that left; card is '' when it has not changed since; breaker is '' for most
local LITTER = 1000
local epoch, last, pool_ms, version = read_head(redis.call('GET', KEYS[1]))
if not epoch then return {'closed'} end
local since = epoch == ARGV[2] and tonumber(ARGV[3]) or -1
if since > tonumber(version) then since = -1 end  -- what the asker knows was lost: a stale replica was promoted
local time = redis.call('TIME')
local step = time[1] * 1000 + floor(time[2] / 1000) - last
local now = pool_ms + math.max(0, math.min(step, floor(ARGV[1] / 4)))
local reply = {epoch, version, format('%d', now)}
-- Nobody's changes lie there too, of ranks that left or of none. Who knows nothing need not be told of those.
local is_littered = since < 0 and redis.call('ZCARD', KEYS[2]) > 2 * redis.call('HLEN', KEYS[4]) + LITTER
local is_hash, breakers = pcall(redis.call, 'HLEN', KEYS[6])
local ranks = is_littered and redis.call('HKEYS', KEYS[4])
  or redis.call('ZRANGEBYSCORE', KEYS[2], format('(%d', since), version)
for first = 1, #ranks, 1000 do
  local slice = {unpack(ranks, first, math.min(first + 999, #ranks))}
  local cards, seens = redis.call('HMGET', KEYS[3], unpack(slice)), redis.call('HMGET', KEYS[4], unpack(slice))
  local lives = {}
  for i, rank in ipairs(slice) do lives[i] = rank .. ' ' .. match(seens[i] or '', '^%S*') end
  local loads = redis.call('HMGET', KEYS[5], unpack(lives))
  local breaker_rows = is_hash and breakers > 0 and redis.call('HMGET', KEYS[6], unpack(slice)) or {}
  for i, rank in ipairs(slice) do
    local card_version = tonumber(match(seens[i] or '', CARD_VERSION) or 0)
    reply[#reply + 1] = rank
    reply[#reply + 1] = seens[i] or ''
    reply[#reply + 1] = loads[i] or ''
    reply[#reply + 1] = card_version > since and cards[i] or ''
    reply[#reply + 1] = breaker_rows[i] or ''
  end
end
return reply
