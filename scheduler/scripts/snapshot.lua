-- snapshot: every rank that changed since a version. Reads only, so that a replica can answer it.
--
-- KEYS  head change card seen load
-- ARGV  lease (ms), epoch, version already known ('-1': none; another epoch counts as none)
-- reply {'closed'}: the pool has no epoch | {epoch, version, pool ms, then per rank: rank, seen, load, card}
--       seen is '' for a rank that left; card is '' when it has not changed since
local epoch, last, pool_ms, version = read_head(redis.call('GET', KEYS[1]))
if not epoch then return {'closed'} end
local since = epoch == ARGV[2] and tonumber(ARGV[3]) or -1
if since > tonumber(version) then since = -1 end  -- what the asker knows was lost: a stale replica was promoted
local time = redis.call('TIME')
local step = time[1] * 1000 + floor(time[2] / 1000) - last
local now = pool_ms + math.max(0, math.min(step, floor(ARGV[1] / 4)))
local reply = {epoch, version, format('%d', now)}
local ranks = redis.call('ZRANGEBYSCORE', KEYS[2], format('(%d', since), '+inf')
for first = 1, #ranks, 1000 do
  local slice = {unpack(ranks, first, math.min(first + 999, #ranks))}
  local cards, seens = redis.call('HMGET', KEYS[3], unpack(slice)), redis.call('HMGET', KEYS[4], unpack(slice))
  local lives, versions = {}, {}
  for i, rank in ipairs(slice) do
    local incarnation, card_version = match(seens[i] or '', CARD_VERSION)
    lives[i], versions[i] = rank .. ' ' .. (incarnation or ''), tonumber(card_version or 0)
  end
  local loads = redis.call('HMGET', KEYS[5], unpack(lives))
  for i, rank in ipairs(slice) do
    local card, n = versions[i] > since and cards[i], #reply
    reply[n + 1], reply[n + 2], reply[n + 3], reply[n + 4] = rank, seens[i] or '', loads[i] or '', card or ''
  end
end
return reply
