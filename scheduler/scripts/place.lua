-- place: choose the cheapest alternative on the loads of this instant and reserve it, in one step.
--
-- KEYS  head gate live load hist group change seen
-- ARGV  epoch, lease (ms), gateway, number, reservation id, ask (JSON: decision.Ask; not empty)
-- reply {'resync'} | {'reject'}: no candidate can be placed on | {'wait'}: all are full
--       | {'place', cost in s, first leg, second leg, loads}: legs are 1-based positions in singles .. prefills ..
--         decodes, 0 for none; loads is JSON, one [queued, requests, kv, age ms, cost] or false a candidate, if asked
local call = enter(KEYS[1], ARGV[1], ARGV[2])
local gateway, number, id = ARGV[3], tonumber(ARGV[4]), ARGV[5]
local row = call and admit(KEYS[2], gateway, number)
if not row then return {'resync'} end
local ask = cjson.decode(ARGV[6])

local rows, names, lives = {}, {}, {}
for _, list in ipairs({ask.singles, ask.prefills, ask.decodes}) do
  for _, candidate in ipairs(list) do
    rows[#rows + 1] = candidate
    lives[#lives + 1] = candidate[1] .. ' ' .. candidate[2]
    names[#names + 1] = candidate[1]
  end
end
local loads, seens = redis.call('HMGET', k.load, unpack(lives)), redis.call('HMGET', k.seen, unpack(names))

local best, receipt = cheapest(rows, loads, seens, call.ms, ask)
local chosen, cost = nil, nil
for _, top in pairs(best.m) do
  if not cost or top.cost < cost then chosen, cost = {top}, top.cost end
end
for p_class, p in pairs(best.p) do
  for d_class, seconds in pairs(ask.transfer_s[p_class] or {}) do
    local d = best.d[d_class]
    if d and (not cost or p.cost + d.cost + seconds < cost) then chosen, cost = {p, d}, p.cost + d.cost + seconds end
  end
end

if not chosen or (cost >= FULL_S and not ask.spill) then
  applied(KEYS[2], gateway, number, row)
  return {chosen and 'wait' or 'reject'}
end
local record = string.format('0 %d %d %d', ask.uncached_tokens, ask.prompt_tokens, ask.output_tokens)
local legs, chance = {0, 0}, ask.tie_break
for n, ties in ipairs(chosen) do
  local spread = chance * #ties
  legs[n], chance = ties[math.floor(spread) + 1], spread - math.floor(spread)
  local leg = rows[legs[n]]
  record = table.concat({record, leg[3], leg[1], leg[2], leg[5]}, ' ')
end
row.count = row.count + settle(KEYS[3], id, false, record, call)
row.sum = (row.sum + id) % ID_MODULUS
applied(KEYS[2], gateway, number, row)
return {'place', string.format('%.9f', cost), legs[1], legs[2], ask.explain and cjson.encode(receipt) or ''}
