-- advance: make a gateway's reservations be what it says they are now: in a later phase, or placed without asking.
--
-- KEYS  head gate live load hist group change seen
-- ARGV  epoch, lease (ms), gateway, number, then pairs: reservation id, record
-- reply {'resync'} | {'ok'}
local call = enter(KEYS[1], ARGV[1], ARGV[2])
local gateway, number = ARGV[3], tonumber(ARGV[4])
local row = call and admit(KEYS[2], gateway, number)
if not row then return {'resync'} end
for i = 5, #ARGV, 2 do
  local id, record = ARGV[i], ARGV[i + 1]
  local more = settle(KEYS[3], id, redis.call('HGET', KEYS[3], id), record, call)
  row.count, row.sum = row.count + more, (row.sum + more * id) % ID_MODULUS
end
write_book(call)
applied(KEYS[2], gateway, number, row)
return {'ok'}
