-- Where the book lies, and what it said of a rank in the near past; prepended to every script that reads loads.
--
-- Those scripts name load hist group change seen as KEYS 4 to 8.
-- hist    hash: life -> "<pool ms>,<dispatched>,<KV tokens in the engine>;" newest first, steps of 20 ms;
--         life .. OLDER -> what came before, 2 KiB. Only the short row is read at each step: Lua hashes every byte
local k = {load = KEYS[4], hist = KEYS[5], group = KEYS[6], change = KEYS[7], seen = KEYS[8]}
local OLDER, RECENT_BYTES = ' older', 512

local function remember(life, ms, sent, in_engine)
  local recent = redis.call('HGET', k.hist, life) or '0,0,0;'
  local at, rest = match(recent, '^(%d+),[^;]+;()')
  if at and ms - at < 20 then ms, recent = at, string.sub(recent, rest) end
  local step = format('%d,%d,%d;', ms, sent, in_engine)
  if #recent > RECENT_BYTES then
    local older = redis.call('HGET', k.hist, life .. OLDER) or ''
    redis.call('HSET', k.hist, life .. OLDER, string.sub(recent .. older, 1, 2048))
    recent = ''
  end
  redis.call('HSET', k.hist, life, step .. recent)
end

local function forget(life)
  redis.call('HDEL', k.hist, life)
  redis.call('HDEL', k.hist, life .. OLDER)
end
