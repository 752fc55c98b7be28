-- How often operators drained and undrained a rank; prepended to the scripts that know of it.
--
-- drain   hash: rank -> how often; it is drained while that is odd. Agents restate the count: it outlives lost writes.
local function drains(key, rank)
  local raw = redis.call('HGET', key, rank) or ''
  return string.find(raw, BEYOND) and 0 or tonumber(match(raw, '^%d+$') or 0)
end
