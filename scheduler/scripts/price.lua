-- What candidates cost on the loads of this instant; prepended to the scripts that choose.
local FULL_S = 1e9  -- a full rank costs this much more: it is taken only where every other is full too

local function above(load, cap)
  return cap >= 0 and load > cap
end

-- A cost with that of the loads of candidate `i`'s DP group.
local function with_group(cost, ask, i)
  local at, candidates = ask.group_prices + i, ask.candidates
  local q, n, kv = ask.values[at], ask.values[at + candidates], ask.values[at + 2 * candidates]
  if q + n + kv == 0 then return cost end
  local group = group_of(ask, i)
  local sums = redis.call('HMGET', k.group, group .. ':q', group .. ':n', group .. ':k')
  for field, per in ipairs({q, n, kv}) do cost = cost + per * (tonumber(sums[field] or 0) or 0) end
  return cost
end

-- By place class of the candidates from `first` to `last`: the least cost, and the positions of all that cost no more
-- than a tie above it.
local function cheapest(ask, rows, first, last, tie_s, ms)
  local tops, costs, loads, seens, values = {}, {}, rows.loads, rows.seens, ask.values
  local ranks, lives, classes = ask.ranks, ask.lives, ask.place_classes
  local base_s, per_queued_s, per_request_s = ask.base_s, ask.per_queued_token_s, ask.per_request_s
  local per_kv_s, cap_kv = ask.per_kv_token_s, ask.cap_kv_tokens
  for i = first, last do
    local queued, requests, kv, age_ms = loads_of(values[ranks + i], values[lives + i], loads[i], seens[i], ms)
    if queued then
      local cost = values[base_s + i] + values[per_queued_s + i] * queued + values[per_request_s + i] * requests
        + values[per_kv_s + i] * kv
      if ask.group_prices then cost = with_group(cost, ask, i) end
      local full = above(kv, values[cap_kv + i])
      if ask.cap_requests then
        full = full or above(queued, values[ask.cap_queued_tokens + i])
          or above(requests, values[ask.cap_requests + i])
      end
      if full and requests > 0 then cost = cost + FULL_S end
      costs[i] = cost
      local class = values[classes + i]
      local top = tops[class]
      if not top then tops[class] = {cost = cost} elseif cost < top.cost then top.cost = cost end
    end
    if ask.explain then rows.receipt[i] = queued and {queued, requests, kv, age_ms, costs[i]} or false end
  end
  for i = first, last do
    local top = costs[i] and tops[values[classes + i]]
    if top and costs[i] <= top.cost + tie_s then top[#top + 1] = i end
  end
  return tops
end
