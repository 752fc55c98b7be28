-- The commands of Redis that the ledger's scripts use, on Lua's own tables; simulator/redis_commands.py has their words.
--
-- Goes behind redis_strings.lua. Returns {call = redis.call, clock = {ms: what TIME answers}}. No key ever holds a
-- value of another kind here.

local function at(key)
  if not data[key] then data[key] = {} end
  return data[key]
end

local function bound(text)
  if text == '-inf' or text == '+inf' then return text == '+inf' and math.huge or -math.huge, false end
  local open = string.sub(text, 1, 1) == '('
  return tonumber(open and string.sub(text, 2) or text), open
end

function commands.TIME()
  return {string.format('%d', math.floor(clock.ms / 1000)), string.format('%d', clock.ms % 1000 * 1000)}
end
function commands.HGET(key, field) return at(key)[field] or false end
function commands.HMGET(key, ...)
  local hash, found = at(key), {...}
  for i, field in ipairs(found) do found[i] = hash[field] or false end
  return found
end
function commands.HSET(key, ...)
  for i = 1, select('#', ...), 2 do at(key)[select(i, ...)] = spelt((select(i + 1, ...))) end return 1
end
function commands.HSETNX(key, field, value) at(key)[field] = at(key)[field] or spelt(value) return 1 end
function commands.HDEL(key, field) at(key)[field] = nil return 1 end
function commands.HKEYS(key)
  local fields = {}
  for field in pairs(at(key)) do fields[#fields + 1] = field end
  return fields
end
function commands.HLEN(key) return #commands.HKEYS(key) end
function commands.HINCRBY(key, field, by) at(key)[field] = spelt((at(key)[field] or 0) + by) return 1 end

function commands.ZADD(key, ...)
  for i = 1, select('#', ...), 2 do at(key)[select(i + 1, ...)] = tonumber((select(i, ...))) end return 1
end
function commands.ZCARD(key) return #commands.HKEYS(key) end
function commands.ZRANGEBYSCORE(key, low, high)
  local least, open = bound(low)
  local scores, members, most = at(key), {}, bound(high)
  for member, score in pairs(scores) do
    if score <= most and (score > least or (score == least and not open)) then members[#members + 1] = member end
  end
  table.sort(members, function(a, b) return scores[a] < scores[b] or (scores[a] == scores[b] and a < b) end)
  return members
end

return {call = function(name, ...) return commands[name](...) end, clock = clock}
