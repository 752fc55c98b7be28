-- What a card says: of which life it is, and under which engine id and address its rank gives KV to others. Nobody else
-- may say the same; prepended to the script that takes cards. Fields "kv .." of the cards say who has said it.
local function read_card(raw)
  local readable, card = pcall(cjson.decode, raw or '')
  return readable and type(card) == 'table' and card or {}
end

local function has_card(cards, rank, incarnation)
  return read_card(redis.call('HGET', cards, rank)).incarnation == incarnation
end

local function claims(raw)
  local kv, found = read_card(raw).kv, {}
  if type(kv) ~= 'table' then return found end
  if type(kv.engine_id) == 'string' and kv.engine_id ~= '' then found[1] = 'kv engine id ' .. kv.engine_id end
  if type(kv.host) == 'string' and kv.host ~= '' and type(kv.port) == 'number' then
    found[#found + 1] = format('kv address %s:%d', kv.host, kv.port)
  end
  return found
end

-- Whether another rank says the same, one that is not down and was heard of in the last so many ms; adds which and what.
local function clashes_with(found, cards, rank, raw, now, heard_ms)
  for _, each in ipairs(claims(raw)) do
    local other = redis.call('HGET', cards, each)
    local seen = other and other ~= rank and redis.call('HGET', k.seen, other)
    local heard = seen and read_seen(other).heard
    if heard and now - heard < heard_ms and not match(seen, '^%S+ down ') then
      for _, word in ipairs({rank, other, each}) do found[#found + 1] = word end
      return true
    end
  end
end

-- A rank has this card from now on, or none.
local function put_card(cards, rank, raw)
  for _, each in ipairs(claims(redis.call('HGET', cards, rank))) do
    if redis.call('HGET', cards, each) == rank then redis.call('HDEL', cards, each) end
  end
  if not raw then return redis.call('HDEL', cards, rank) end
  for _, each in ipairs(claims(raw)) do redis.call('HSET', cards, each, rank) end
  redis.call('HSET', cards, rank, raw)
end
