-- release: give back all that a gateway's reservations still hold. Releasing what is not there does nothing.
--
-- KEYS  head gate live load hist group change seen
-- ARGV  epoch, lease (ms), gateway, number, then reservation ids
-- reply {'resync'} | {'ok'}
local call = enter(KEYS[1], ARGV[1], ARGV[2])
local gateway, number = ARGV[3], tonumber(ARGV[4])
local row = call and admit(KEYS[2], gateway, number)
if not row then return {'resync'} end
for i = 5, #ARGV do give_back(KEYS[3], ARGV[i], row, call) end
write_book(call)
applied(KEYS[2], gateway, number, row)
return {'ok'}
