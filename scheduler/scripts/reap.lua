-- reap: give back what a gateway whose lease has ended still holds, at most `limit` reservations a call.
--
-- KEYS  head gate live load hist group change seen lease       (live: the dead gateway's)
-- ARGV  epoch, lease (ms), the gateway, limit
-- reply {'resync'} | {'ok', reservations left}: 0 when nothing is left or nothing is to be reaped
local call = enter(KEYS[1], ARGV[1], ARGV[2])
if not call then return {'resync'} end
local ends = redis.call('ZSCORE', KEYS[9], ARGV[3])
if not ends or tonumber(ends) >= call.ms or call.jumped then return {'ok', 0} end
fence(KEYS[2], ARGV[3])  -- may be taken in pieces: from the first on it has to resync
local held = redis.call('HRANDFIELD', KEYS[3], ARGV[4], 'WITHVALUES') or {}  -- fakeredis says false for none
for i = 1, #held, 2 do settle(KEYS[3], held[i], held[i + 1], false, call) end
write_book(call)
local left = redis.call('HLEN', KEYS[3])
if left == 0 then
  redis.call('HDEL', KEYS[2], ARGV[3])
  redis.call('ZREM', KEYS[9], ARGV[3])
end
return {'ok', left}
