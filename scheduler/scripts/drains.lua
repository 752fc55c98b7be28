-- How often operators drained and undrained a rank; prepended to the scripts that know of it.
--
-- drain   hash: rank -> how often; it is drained while that is odd. Agents restate the count: it outlives lost writes.
local function drains(key, rank)
  return tonumber(string.match(redis.call('HGET', key, rank) or '', '^%d+$') or 0)
end
