-- What the book said when an engine was sampled, and what the last samples have in common; prepended to report.lua.
--
-- Dispatched requests and KV tokens in the engine at pool time `ms`; before the oldest entry, the oldest known.
local function recall(life, ms)
  local sent, in_engine = 0, 0
  for _, field in ipairs({life, life .. OLDER}) do
    for at, then_sent, then_kv in string.gmatch(redis.call('HGET', k.hist, field) or '', '(%d+),(%d+),(%d+);') do
      sent, in_engine = tonumber(then_sent), tonumber(then_kv)
      if tonumber(at) <= ms then return sent, in_engine end
    end
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
