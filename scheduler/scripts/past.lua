-- Where the book lies, and what it said of a rank in the near past; prepended to every script that reads loads.
--
-- Those scripts name load hist group change seen as KEYS 4 to 8.
-- hist    hash: life -> "<pool ms>,<dispatched>,<KV tokens in the engine>;" newest first, steps of 20 ms, 2 KiB
local k = {load = KEYS[4], hist = KEYS[5], group = KEYS[6], change = KEYS[7], seen = KEYS[8]}

local function remember(life, ms, sent, in_engine)
  local raw = redis.call('HGET', k.hist, life) or '0,0,0;'
  local at, rest = match(raw, '^(%d+),[^;]+;(.*)$')
  if at and ms - at < 20 then ms, raw = at, rest end
  redis.call('HSET', k.hist, life, string.sub(format('%d,%d,%d;', ms, sent, in_engine) .. raw, 1, 2048))
end

-- Dispatched requests and KV tokens in the engine at pool time `ms`; before the oldest entry, the oldest known.
local function recall(life, ms)
  local sent, in_engine = 0, 0
  for at, then_sent, then_kv in string.gmatch(redis.call('HGET', k.hist, life) or '', '(%d+),(%d+),(%d+);') do
    sent, in_engine = tonumber(then_sent), tonumber(then_kv)
    if tonumber(at) <= ms then break end
  end
  return sent, in_engine
end

-- The least of the samples in the last `window_ms`: a queue "<ms>:<value>," whose values rise, so the first is least.
local function least(queue, ms, value, window_ms)
  local kept = {}
  for at, old in string.gmatch(queue, '(%d+):(%-?%d+)') do
    if at + window_ms >= ms and tonumber(old) < value then kept[#kept + 1] = at .. ':' .. old end
  end
  kept[#kept + 1] = format('%d:%d', ms, value)
  return tonumber(match(kept[1], ':(.+)$')), table.concat(kept, ',')
end
