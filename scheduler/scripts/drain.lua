-- drain: from this instant on no gateway places on a rank; or it may be placed on again. Outlives the rank's restarts.
--
-- KEYS  head seen drain change
-- ARGV  epoch, lease (ms), rank, '1' to drain or '0' to undo it
-- reply {'resync'} | {'unknown'}: no agent has reported such a rank | {'ok'}
local call = enter(KEYS[1], ARGV[1], ARGV[2])
if not call then return {'resync'} end
local seen = redis.call('HGET', KEYS[2], ARGV[3])
if not seen then return {'unknown'} end
local count = drains(KEYS[3], ARGV[3])
if count % 2 ~= tonumber(ARGV[4]) then redis.call('HSET', KEYS[3], ARGV[3], format('%d', count + 1)) end
redis.call('HSET', KEYS[2], ARGV[3], (string.gsub(seen, DRAINED, '%1 ' .. ARGV[4])))
redis.call('ZADD', KEYS[4], call.version, ARGV[3])
return {'ok'}
