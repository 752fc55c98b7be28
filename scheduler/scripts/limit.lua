-- limit: lets requests of one API key in, each within the key's limits (limit_rule.py is the same rule, and says why).
--
-- KEYS  used (keys.py: limit)
-- ARGV  gateway, lease_ms, requests a minute, tokens a minute and requests at once (0: no such limit), how many requests
--       of the key the gateway runs, what it notes of requests and of tokens in 60,000ths, then the tokens of each
--       request that asks
-- reply for each that asks: 0 or what is exceeded (1 requests, 2 tokens, 3 at once), both levels after it
--
-- used is `last TIME in ms, the key's own time, level of requests, level of tokens` and `gateway=lease/requests` of each
-- that runs some. The key's own time never goes back, so neither levels nor leases mind a clock that does.
local SPAN, MOST_MINUTES, KEPT_MS = 60000, 60, 86400000
local floor, max, min, format = math.floor, math.max, math.min, string.format
local gateway, lease, at_once = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[5])
local limits = {tonumber(ARGV[3]), tonumber(ARGV[4])}
local time = redis.call('TIME')
local now = time[1] * 1000 + floor(time[2] / 1000)
local row = redis.call('MGET', KEYS[1])[1] or ''  -- of a key of another type it answers nothing, and SET takes its place
local last, ms, requests, tokens, others = string.match(row, '^(%d+) (%d+) (%d+) (%d+)(.*)$')
local step = last and max(0, now - last) or 0
ms = (ms or 0) + step
local levels = {requests or 0, tokens or 0}
for i = 1, 2 do
  local left = max(0, levels[i] - limits[i] * step) + ARGV[6 + i]
  levels[i] = max(0, min(left, limits[i] * SPAN * MOST_MINUTES))
end
local own, running, kept = tonumber(ARGV[6]), tonumber(ARGV[6]), {}
for name, ends, count in string.gmatch(others or '', ' (%S+)=(%d+)/(%d+)') do
  local left = tonumber(ends) - ms
  if name ~= gateway and left >= 0 and left <= SPAN then  -- no gateway takes a lease of more than a minute
    running = running + count
    kept[#kept + 1] = format(' %s=%s/%s', name, ends, count)
  end
end
-- Of what is not limited the level is 0.
local function is_over(i, more) return levels[i] > 0 and levels[i] + more > limits[i] * SPAN end
local reply = {}
for i = 9, #ARGV do
  local cost, verdict = ARGV[i] * SPAN, 0
  if at_once > 0 and running >= at_once then
    verdict = 3
  elseif is_over(1, SPAN) then
    verdict = 1
  elseif cost > 0 and is_over(2, cost) then
    verdict = 2
  else
    own, running = own + 1, running + 1
    if limits[1] > 0 then levels[1] = levels[1] + SPAN end
    if limits[2] > 0 then levels[2] = levels[2] + cost end
  end
  reply[#reply + 1], reply[#reply + 2], reply[#reply + 3] = verdict, levels[1], levels[2]
end
if own > 0 then kept[#kept + 1] = format(' %s=%d/%d', gateway, ms + lease, own) end
local used = format('%d %d %d %d', now, ms, levels[1], levels[2]) .. table.concat(kept)
redis.call('SET', KEYS[1], used, 'PX', KEPT_MS)
return reply
