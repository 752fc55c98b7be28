-- place: choose the cheapest alternative on the loads of this instant and reserve it, in one step.
--
-- KEYS  head gate live load hist group change seen
-- ARGV  epoch, lease (ms), gateway, number, reservation id, ask (ask.lua; not empty), the reservation that this one is
--       made instead of, '' for none: it is given back first, whatever the answer, so that its load is not seen
-- reply {'resync'} | {'reject'}: no candidate can be placed on | {'wait'}: all are full
--       | {'place', cost in s, first leg, second leg, loads}: legs are 1-based positions in singles .. prefills ..
--         decodes, 0 for none; loads is JSON, one [queued, requests, kv, age ms, cost] or false a candidate, if asked
--       then all but a resync are as long as a place, with the rows behind the loads (receipt.lua)
local call = enter(KEYS[1], ARGV[1], ARGV[2])
local gateway, number, id = ARGV[3], tonumber(ARGV[4]), ARGV[5]
local row = call and admit(KEYS[2], gateway, number)
if not row then return {'resync'} end
if ARGV[7] ~= '' then
  give_back(KEYS[3], ARGV[7], row, call)
  close_book(call)
end
local ask = read_ask(ARGV[6])

local rows, values, first_p = read_rows(ask), ask.values, ask.singles + 1
local first_d = first_p + ask.prefills
local single = least_of(cheapest(ask, rows, 1, ask.singles, ask.tie_s, call.ms))
local p_tops = cheapest(ask, rows, first_p, first_d - 1, ask.tie_s, call.ms)
local d_tops = cheapest(ask, rows, first_d, ask.candidates, EXACT_S, call.ms)
local seen_rows = rows_seen(ask, rows, call.ms)
local chosen, kinds, cost = {single}, {'m'}, single and single.cost
for p_class, p in pairs(p_tops) do
  for d_class, seconds in pairs(ask.transfer_s[p_class] or {}) do
    local d = d_tops[d_class]
    if d and (not cost or p.cost + d.cost + seconds < cost) then
      chosen, kinds, cost = {p, d}, {'p', 'd'}, p.cost + d.cost + seconds
    end
  end
end

if not cost or (cost >= FULL_S and not ask.spill) then
  applied(KEYS[2], gateway, number, row)
  local verdict = cost and 'wait' or 'reject'
  return seen_rows and {verdict, '', 0, 0, loads_json(rows.receipt), seen_rows} or {verdict}
end
local legs, chance = {0, 0}, ask.tie_break
for n, top in ipairs(chosen) do legs[n], chance = draw(top, chance) end
local uncached, prompt, output = values[ask.uncached_tokens + legs[1]], ask.prompt_tokens, ask.output_tokens
if uncached < 0 then uncached = prompt end
local record = format('0 %d %d %d', uncached, prompt, output)
for n = 1, #chosen do
  local leg = legs[n]
  local life, rank = values[ask.lives + leg], values[ask.ranks + leg]
  turn_to(life, rows.loads[leg], rank)
  post(life, weight(kinds[n], 0, uncached, prompt, output, rank, group_of(ask, leg)), call, true)
  record = with_leg(record, kinds[n], ask, leg)
end
redis.call('HSET', KEYS[3], id, record)
row.count, row.sum = row.count + 1, (row.sum + id) % ID_MODULUS
write_book(call)
applied(KEYS[2], gateway, number, row)
return {'place', format('%.9f', cost), legs[1], legs[2], seen_rows and loads_json(rows.receipt) or '', seen_rows}
