-- What redis_tables.lua goes on with: the data, the clock, and the commands on strings, which alone expire.
--
-- What has expired is not found by GET, and goes with the next sweep.
local data, clock, commands = {}, {ms = 0}, {}
local SWEEP_EVERY = 65536  -- keys that were set to expire
local ends_ms, unswept = {}, 0

local function spelt(word)
  if type(word) ~= 'number' then return word end
  return string.format(word == math.floor(word) and math.abs(word) < 1e17 and '%d' or '%.17g', word)
end

local function sweep()
  unswept = 0
  for key, end_ms in pairs(ends_ms) do
    if end_ms <= clock.ms then data[key], ends_ms[key] = nil, nil end
  end
end

function commands.GET(key)
  local end_ms = ends_ms[key]
  return (not end_ms or end_ms > clock.ms) and data[key] or false
end

function commands.MGET(...)
  local found = {...}
  for i, key in ipairs(found) do found[i] = commands.GET(key) end
  return found
end

function commands.SET(key, value, _, for_ms)
  data[key] = spelt(value)
  if for_ms then
    ends_ms[key] = clock.ms + for_ms
    unswept = unswept + 1
    if unswept >= SWEEP_EVERY then sweep() end
  end
  return {ok = 'OK'}
end

function commands.DEL(...)
  for _, key in ipairs({...}) do data[key] = nil end
  return 1
end

function commands.FLUSHALL()
  for key in pairs(data) do data[key], ends_ms[key] = nil, nil end
  return {ok = 'OK'}
end
