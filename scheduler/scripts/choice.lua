-- Which candidate is taken: the cheapest on the loads of this instant, and chance between equals; prepended to the
-- scripts that choose.
--
-- Decode costs are compared exactly: they are counts, known much better than a prefill's 5 % (docs/adr/0004-ties.md).
local EXACT_S = 1e-9

-- All candidates of some lists, and the `load` and `seen` rows of their ranks.
local function candidates(lists)
  local rows, lives, names = {}, {}, {}
  for _, list in ipairs(lists) do
    for _, row in ipairs(list) do
      rows[#rows + 1] = row
      lives[#lives + 1] = row[1] .. ' ' .. row[2]
      names[#names + 1] = row[1]
    end
  end
  return rows, redis.call('HMGET', k.load, unpack(lives)), redis.call('HMGET', k.seen, unpack(names))
end

-- By kind and class: the least cost, and the positions of all candidates that cost no more than a tie above it. Then,
-- if asked to explain, what each candidate was priced on, false for one that cannot be placed on.
local function cheapest(rows, loads, seens, ms, ask)
  local best, costs, receipt = {m = {}, p = {}, d = {}}, {}, {}
  for i, row in ipairs(rows) do
    local cost, queued, requests, kv, age_ms = price(row, loads[i], seens[i], ms)
    costs[i] = cost or false
    if ask.explain then receipt[i] = cost and {queued, requests, kv, age_ms, cost} or false end
    local top = best[row[3]][row[4]]
    if cost and not (top and top.cost <= cost) then best[row[3]][row[4]] = {cost = cost} end
  end
  for i, row in ipairs(rows) do
    local top = best[row[3]][row[4]]
    local tie_s = row[3] == 'd' and EXACT_S or ask.tie_s
    if costs[i] and costs[i] <= top.cost + tie_s then top[#top + 1] = i end
  end
  return best, receipt
end

-- The top of the class whose top costs the least; nothing if no class has one.
local function least_of(classes)
  local chosen = nil
  for _, top in pairs(classes) do
    if not chosen or top.cost < chosen.cost then chosen = top end
  end
  return chosen
end

-- One of a top's candidates by chance in [0, 1), and the chance that is left for another choice.
local function draw(top, chance)
  local spread = chance * #top
  return top[math.floor(spread) + 1], spread - math.floor(spread)
end

-- A record with one more leg.
local function with_leg(record, row)
  return table.concat({record, row[3], row[1], row[2], row[5]}, ' ')
end
