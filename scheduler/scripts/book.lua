-- The book: what the reservations on each rank add up to; prepended to every script that changes a reservation.
--
-- record  "<phase> <uncached tokens> <prompt tokens> <output tokens>", per leg " <kind> <rank> <incarnation> <group>"
-- group   hash: "<group>:q|n|k" -> queued tokens, requests, KV tokens of all ranks of a DP group; group '-': none

-- What one leg weighs in each phase (0 placed, 1 dispatched, 2 prefill done, 3 first token).
local function weight(kind, phase, uncached, prompt, output)
  local prefills = (kind ~= 'd' and phase < 2) and 1 or 0
  if kind == 'p' then
    local holds = phase == 2 and prompt or 0
    return {prefills * uncached, prefills, prefills, phase == 1 and 1 or 0, prefills * prompt, holds, 0}
  end
  local sent = phase >= (kind == 'm' and 1 or 2) and 1 or 0
  if phase < 3 then return {prefills * uncached, prefills, 1, sent, prompt + output, 0, 0} end
  return {0, 0, 1, sent, 0, prompt, math.floor(output / 2)}
end

local function weigh(moved, record, sign)
  local phase, uncached, prompt, output, legs = string.match(record, '^(%d) (%d+) (%d+) (%d+)(.+)$')
  if not phase then end_epoch() end
  for kind, rank, incarnation, group in string.gmatch(legs or '', ' (%S+) (%S+) (%S+) (%S+)') do
    local life = rank .. ' ' .. incarnation
    local sum = moved[life] or {0, 0, 0, 0, 0, 0, 0, rank = rank, incarnation = incarnation, group = group}
    for i, value in ipairs(weight(kind, tonumber(phase), uncached, prompt, output)) do sum[i] = sum[i] + sign * value end
    moved[life] = sum
  end
end

-- The progress credited to the running prompt begins anew when a prefill is done, and in an empty queue; not when a
-- prompt is given back, for most of these were waiting behind the running one.
local function post(life, sum, call, kept)
  local raw = redis.call('HGET', k.load, life) or NO_LOAD
  local queued, prompts, since, requests, sent, unseen, in_engine, growth = string.match(raw, LOAD)
  if not queued then return end_epoch() end
  if (sum[2] < 0 and kept) or (sum[2] > 0 and prompts == '0') then since = call.ms end
  requests, sent, in_engine = requests + sum[3], sent + sum[4], in_engine + sum[6]
  redis.call('HSET', k.load, life, string.format('%d %d %d %d %d %d %d %d', queued + sum[1],
    prompts + sum[2], since, requests, sent, unseen + sum[5], in_engine, growth + sum[7]))
  if sum[4] ~= 0 or sum[6] ~= 0 then remember(life, call.ms, sent, in_engine) end
  if requests + in_engine == 0 then tidy(sum.rank, sum.incarnation) end
  redis.call('ZADD', k.change, call.version, sum.rank)
  if sum.group == '-' then return end
  for field, more in pairs({q = sum[1], n = sum[3], k = sum[5] + sum[6] + sum[7]}) do
    if not pcall(redis.call, 'HINCRBY', k.group, sum.group .. ':' .. field, more) then end_epoch() end
  end
end

-- Makes reservation `id` of a gateway be `new` instead of `old` (false: none); returns the change of its count.
local function settle(live_key, id, old, new, call)
  local moved = {}
  if old then weigh(moved, old, -1) end
  if new then weigh(moved, new, 1) end
  for life, sum in pairs(moved) do post(life, sum, call, new) end
  if new then redis.call('HSET', live_key, id, new) elseif old then redis.call('HDEL', live_key, id) end
  return (new and 1 or 0) - (old and 1 or 0)
end
