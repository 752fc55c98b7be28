-- The rows that a choice is made on, for its receipt; prepended to the scripts that choose.
--
-- Pool time, then three rows for each candidate, '' where there is none: `load`, `seen`, and the three sums of its DP
-- group, where these have a price. Nothing where the ask need not be explained.
local function rows_seen(ask, rows, ms)
  if not ask.explain then return nil end
  local found = {string.format('%d', ms)}
  for i = 1, ask.candidates do
    local sums, group = '', group_of(ask, i)
    if ask.group_prices and group ~= '-' then
      local q = redis.call('HMGET', k.group, group .. ':q', group .. ':n', group .. ':k')
      sums = string.format('%s %s %s', q[1] or 0, q[2] or 0, q[3] or 0)
    end
    found[#found + 1] = rows.loads[i] or ''
    found[#found + 1] = rows.seens[i] or ''
    found[#found + 1] = sums
  end
  return found
end

-- Loads and costs as JSON; none where a row that is not ours has a number that JSON has not.
local function loads_json(receipt)
  local fits, text = pcall(cjson.encode, receipt)
  return fits and text or '[]'
end
