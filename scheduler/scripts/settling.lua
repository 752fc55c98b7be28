-- From what a reservation was to what it is; prepended to the scripts that change one that may be there.
--
-- Adds a record to what has moved on each life, or takes it away.
local function weigh(moved, record, sign)
  local phase, uncached, prompt, output, legs = match(record, '^(%d) (%d+) (%d+) (%d+)(.+)$')
  if not phase then return end_epoch() end
  for kind, rank, incarnation, group in string.gmatch(legs, ' (%S+) (%S+) (%S+) (%S+)') do
    local life, leg = rank .. ' ' .. incarnation, weight(kind, tonumber(phase), uncached, prompt, output, rank, group)
    local sum = moved[life]
    for i = 1, 8 do leg[i] = (sum and sum[i] or 0) + sign * leg[i] end
    moved[life] = leg
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

-- Gives back reservation `id` of the gateway whose `row` this is; nothing if it is not there.
local function give_back(live_key, id, row, call)
  local old = redis.call('HGET', live_key, id)
  if not old then return end
  row.count = row.count + settle(live_key, id, old, false, call)
  row.sum = (row.sum - id) % ID_MODULUS
end

-- Writes what has changed so far, for who reads loads next; what groups have had is not added to them again.
local function close_book(call)
  write_book(call)
  groups = {}
end
