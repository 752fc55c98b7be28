-- Which candidate is taken: the cheapest, and chance between equals; prepended to the scripts that choose.
--
-- Decode costs are compared exactly: they are counts, known much better than a prefill's 5 % (docs/adr/0004-ties.md).
local EXACT_S = 1e-9

-- The `load` and `seen` rows of all candidates; what each was priced on goes to `receipt`, if the ask is to be
-- explained, and false for one that cannot be placed on.
local function read_rows(ask)
  local loads = redis.call('HMGET', k.load, unpack(ask.values, ask.lives + 1, ask.lives + ask.candidates))
  local seens = redis.call('HMGET', k.seen, unpack(ask.values, ask.ranks + 1, ask.ranks + ask.candidates))
  return {loads = loads, seens = seens, receipt = {}}
end

-- The top of the class whose top costs the least; nothing if no class has one.
local function least_of(tops)
  local chosen = nil
  for _, top in pairs(tops) do
    if not chosen or top.cost < chosen.cost then chosen = top end
  end
  return chosen
end

-- The position of one of a top's candidates by chance in [0, 1), and the chance that is left for another choice.
local function draw(top, chance)
  local spread = chance * #top
  return top[floor(spread) + 1], spread - floor(spread)
end

-- A record with candidate `i` as one more leg.
local function with_leg(record, kind, ask, i)
  return record .. ' ' .. kind .. ' ' .. ask.values[ask.lives + i] .. ' ' .. group_of(ask, i)
end
