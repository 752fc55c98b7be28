-- What a candidate costs on the loads of this instant; prepended to place.lua.
--
-- row     a candidate as decision.Candidate lists its fields: 1 rank, 2 incarnation, 3 kind, 4 pair class, 5 group,
--         6 base, 7-9 per queued token, request, KV token, 10-12 the same for the group, 13-15 caps (-1: none)
local FULL_S = 1e9  -- a full rank costs this much more: it is taken only where every other is full too

-- A sample counts whole for 2 s, then fades; after 10 s only the ledger is left.
local function faith(age_ms)
  return math.max(0, math.min(1, (10000 - age_ms) / 8000))
end

local function loads_of(load, foreign, foreign_kv, rate, age_ms, ms)
  local queued, prompts, since, requests, _, unseen, in_engine, growth = string.match(load, LOAD)
  if not queued then return nil end
  local trust, done = faith(age_ms), 0
  if prompts ~= '0' then done = math.min((ms - since) / 1000 * rate, queued / prompts) end
  return {
    age_ms = age_ms, queued = queued - done, requests = requests + trust * foreign,
    kv = math.max(0, unseen + in_engine + growth + trust * foreign_kv),
  }
end

local function above(load, cap)
  return cap >= 0 and load > cap
end

-- Cost in seconds and the loads it came from; nil if the rank cannot be placed on.
local function price(row, load, seen, ms)
  local incarnation, state, drained, sampled, foreign, foreign_kv, rate = string.match(seen or '', PRICED)
  if incarnation ~= row[2] or state ~= 'up' or drained == '1' then return nil end
  local now = loads_of(load or NO_LOAD, foreign, foreign_kv, rate, ms - sampled, ms)
  if not now then return nil end
  local cost = row[6] + row[7] * now.queued + row[8] * now.requests + row[9] * now.kv
  if row[10] + row[11] + row[12] > 0 then
    local sums = redis.call('HMGET', k.group, row[5] .. ':q', row[5] .. ':n', row[5] .. ':k')
    for i = 1, 3 do cost = cost + row[9 + i] * (tonumber(sums[i] or 0) or 0) end
  end
  local full = above(now.queued, row[13]) or above(now.requests, row[14]) or above(now.kv, row[15])
  if full and now.requests > 0 then cost = cost + FULL_S end
  return cost, now
end

-- By kind and class: the least cost, and the positions of all candidates that cost no more than `tie_s` above it. Then
-- what each candidate was priced on, false for one that cannot be placed on.
local function cheapest(rows, loads, seens, ms, tie_s)
  local best, receipt = {m = {}, p = {}, d = {}}, {}
  for i, row in ipairs(rows) do
    local cost, now = price(row, loads[i], seens[i], ms)
    receipt[i] = cost and {now.queued, now.requests, now.kv, now.age_ms, cost} or false
    local top = best[row[3]][row[4]]
    if cost and not (top and top.cost <= cost) then best[row[3]][row[4]] = {cost = cost} end
  end
  for i, row in ipairs(rows) do
    local top = best[row[3]][row[4]]
    if receipt[i] and receipt[i][5] <= top.cost + tie_s then top[#top + 1] = i end
  end
  return best, receipt
end
