-- What a candidate costs on the loads of this instant; prepended to the scripts that choose.
--
-- row     a candidate as decision.Candidate lists its fields: 1 rank, 2 incarnation, 3 kind, 4 place class, 5 group,
--         6 base, 7-9 per queued token, request, KV token, 10-12 the same for the group, 13-15 caps (-1: none),
--         16 tokens of the prompt that this rank would compute (-1: all)
local FULL_S = 1e9  -- a full rank costs this much more: it is taken only where every other is full too

-- Queued prefill tokens, requests and KV tokens at this instant; nothing if the row cannot be read.
local function loads_of(load, foreign, foreign_kv, rate, age_ms, ms)
  local queued, prompts, since, requests, unseen, in_engine, growth = string.match(load, PRICED_LOAD)
  if not queued then return nil end
  local done, trust = 0, 1
  if prompts ~= '0' then done = math.min((ms - since) / 1000 * rate, queued / prompts) end
  if age_ms > FRESH_MS then trust = math.max(0, (FORGOTTEN_MS - age_ms) / (FORGOTTEN_MS - FRESH_MS)) end
  return queued - done, requests + trust * foreign, math.max(0, unseen + in_engine + growth + trust * foreign_kv)
end

local function above(load, cap)
  return cap >= 0 and load > cap
end

-- Cost in seconds, the three loads it came from and the sample's age; nothing if the rank cannot be placed on.
local function price(row, load, seen, ms)
  local up = row[2] .. UP
  if not seen or string.sub(seen, 1, #up) ~= up then return nil end
  local sampled, foreign, foreign_kv, rate = string.match(seen, PRICED, #up + 1)
  if not sampled then return nil end
  local age_ms = ms - sampled
  local queued, requests, kv = loads_of(load or NO_LOAD, foreign, foreign_kv, rate, age_ms, ms)
  if not kv then return nil end
  local cost = row[6] + row[7] * queued + row[8] * requests + row[9] * kv
  if row[10] + row[11] + row[12] > 0 then
    local sums = redis.call('HMGET', k.group, row[5] .. ':q', row[5] .. ':n', row[5] .. ':k')
    for i = 1, 3 do cost = cost + row[9 + i] * (tonumber(sums[i] or 0) or 0) end
  end
  local full = above(queued, row[13]) or above(requests, row[14]) or above(kv, row[15])
  if full and requests > 0 then cost = cost + FULL_S end
  return cost, queued, requests, kv, age_ms
end
