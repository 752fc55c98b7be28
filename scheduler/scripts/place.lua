-- place: choose the cheapest alternative on the loads of this instant and reserve it, in one step.
--
-- KEYS  head gate live load hist group change seen
-- ARGV  epoch, lease (ms), gateway, number, reservation id, ask (JSON: decision.Ask; not empty)
-- reply {'resync'} | {'reject'}: no candidate can be placed on | {'wait'}: all are full
--       | {'place', cost in s, first leg, second leg, loads}: legs are 1-based positions in singles .. prefills ..
--         decodes, 0 for none; loads is JSON, one [queued, requests, kv, age ms, cost] or false a candidate, if asked
--       then all but a resync are as long as a place, with the rows behind the loads (receipt.lua)
local call = enter(KEYS[1], ARGV[1], ARGV[2])
local gateway, number, id = ARGV[3], tonumber(ARGV[4]), ARGV[5]
local row = call and admit(KEYS[2], gateway, number)
if not row then return {'resync'} end
local ask = cjson.decode(ARGV[6])

local rows, loads, seens = candidates({ask.singles, ask.prefills, ask.decodes})
local best, receipt = cheapest(rows, loads, seens, call.ms, ask)
local seen_rows = rows_seen(ask, rows, loads, seens, call.ms)
local single = least_of(best.m)
local chosen, cost = {single}, single and single.cost
for p_class, p in pairs(best.p) do
  for d_class, seconds in pairs(ask.transfer_s[p_class] or {}) do
    local d = best.d[d_class]
    if d and (not cost or p.cost + d.cost + seconds < cost) then chosen, cost = {p, d}, p.cost + d.cost + seconds end
  end
end

if not cost or (cost >= FULL_S and not ask.spill) then
  applied(KEYS[2], gateway, number, row)
  local verdict = cost and 'wait' or 'reject'
  return seen_rows and {verdict, '', 0, 0, loads_json(receipt), seen_rows} or {verdict}
end
local legs, chance = {0, 0}, ask.tie_break
for n, top in ipairs(chosen) do legs[n], chance = draw(top, chance) end
local uncached = rows[legs[1]][16]
if uncached < 0 then uncached = ask.prompt_tokens end
local record = string.format('0 %d %d %d', uncached, ask.prompt_tokens, ask.output_tokens)
for n = 1, #chosen do record = with_leg(record, rows[legs[n]]) end
row.count = row.count + settle(KEYS[3], id, false, record, call)
row.sum = (row.sum + id) % ID_MODULUS
applied(KEYS[2], gateway, number, row)
return {'place', string.format('%.9f', cost), legs[1], legs[2], seen_rows and loads_json(receipt) or '', seen_rows}
