-- Where the book lies, and what it said of a rank in the near past; prepended to every script that reads loads.
--
-- Those scripts name load hist group change seen as KEYS 4 to 8.
-- hist    hash: life -> "<pool ms>,<dispatched>,<KV tokens in the engine>;" newest first, steps of 20 ms, 2 KiB
local k = {load = KEYS[4], hist = KEYS[5], group = KEYS[6], change = KEYS[7], seen = KEYS[8]}

-- A row of `hist` with one more entry; within 20 ms it takes the place of the last.
local function remembered(raw, ms, sent, in_engine)
  raw = raw or '0,0,0;'
  local at, older = match(raw, '^(%d+),[^;]+;()')
  if at and ms - at < 20 then ms, raw = at, string.sub(raw, older) end
  return string.sub(format('%d,%d,%d;', ms, sent, in_engine) .. raw, 1, 2048)
end

-- Dispatched requests and KV tokens in the engine at pool time `ms` by a row of `hist`; before its oldest entry, that.
local function recall(raw, ms)
  local sent, in_engine = 0, 0
  for at, then_sent, then_kv in string.gmatch(raw or '', '(%d+),(%d+),(%d+);') do
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
