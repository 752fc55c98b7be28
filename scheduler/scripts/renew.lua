-- renew: a gateway lives on, if what it holds is what the ledger says it holds; or it leaves (its lease ends now).
--
-- KEYS  head gate lease
-- ARGV  epoch, lease (ms), gateway, number, reservations, sum of their ids modulo 2^48, 'stay' or 'leave'
-- reply {'resync'} | {'ok', gateways whose lease has ended}
local call = enter(KEYS[1], ARGV[1], ARGV[2])
local gateway, number = ARGV[3], tonumber(ARGV[4])
local row = call and admit(KEYS[2], gateway, number)
if not row or row.count ~= tonumber(ARGV[5]) or row.sum ~= tonumber(ARGV[6]) then return {'resync'} end
redis.call('ZADD', KEYS[3], ARGV[7] == 'stay' and call.ms + ARGV[2] or 0, gateway)
applied(KEYS[2], gateway, ARGV[7] == 'stay' and number or FENCED, row)
return {'ok', ended(KEYS[3], call)}
