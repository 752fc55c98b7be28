-- rebind: a pair's prefill is done; choose its decode leg anew on the loads of this instant and write it, in one step.
--
-- KEYS  head gate live load hist group change seen
-- ARGV  epoch, lease (ms), gateway, number, reservation id, record: prefill done, the legs as they are so far,
--       ask (ask.lua; its decodes alone, of which there is one at least)
-- reply {'resync'}: also where the ledger has no such reservation
--       | {'reject'}: no candidate can be placed on; the record is written as it was given
--       | {'place', cost in s, leg, 0, loads}: the leg is a 1-based position in decodes, the rest as place.lua's,
--         what is there only if asked too
-- What the request itself weighs on its present rank is credited by whoever asks (the candidate's base and caps). It
-- has to go on somewhere: where all are full the cheapest is taken.
local call = enter(KEYS[1], ARGV[1], ARGV[2])
local gateway, number, id, record = ARGV[3], tonumber(ARGV[4]), ARGV[5], ARGV[6]
local row = call and admit(KEYS[2], gateway, number)
local old = row and redis.call('HGET', KEYS[3], id)
if not old then return {'resync'} end
local ask = read_ask(ARGV[7])

local rows = read_rows(ask)
local top, leg = least_of(cheapest(ask, rows, 1, ask.candidates, EXACT_S, call.ms)), nil
local seen_rows = rows_seen(ask, rows, call.ms)
if top then
  leg = draw(top, ask.tie_break)
  record = with_leg(match(record, '^(.+) d %S+ %S+ %S+$'), 'd', ask, leg)
  turn_to(ask.values[ask.lives + leg], rows.loads[leg], ask.values[ask.ranks + leg])
end
settle(KEYS[3], id, old, record, call)
write_book(call)
applied(KEYS[2], gateway, number, row)
if not top then return seen_rows and {'reject', '', 0, 0, loads_json(rows.receipt), seen_rows} or {'reject'} end
return {'place', format('%.9f', top.cost), leg, 0, seen_rows and loads_json(rows.receipt) or '', seen_rows}
