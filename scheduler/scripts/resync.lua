-- resync: a gateway states its whole live set under a new name, in pieces; its old names are fenced off.
--
-- KEYS  head gate live load hist group change seen lease, then the live sets of its old names
-- ARGV  epoch, lease (ms), gateway, number (1 for the first piece), old names (by spaces), then pairs: id, record
-- reply {'resync'} | {'ok'}
-- Each reservation moves from an old name to the new one in one step, so it is never counted twice. What is left under
-- an old name is reaped, and a call that was still on its way under it finds its number refused. There are several old
-- names when replies to a resync were lost.
local call = enter(KEYS[1], ARGV[1], ARGV[2])
local gateway, number, row = ARGV[3], tonumber(ARGV[4]), nil
if call and number == 1 then
  redis.call('HSETNX', KEYS[2], gateway, '0 0 0')
  for former in string.gmatch(ARGV[5], '%S+') do
    redis.call('HSET', KEYS[2], former, '-9 0 0')
    redis.call('ZADD', KEYS[9], 0, former)
  end
end
row = call and admit(KEYS[2], gateway, number)
if not row then return {'resync'} end
redis.call('ZADD', KEYS[9], call.ms + ARGV[2], gateway)
for i = 6, #ARGV, 2 do
  local id, record = ARGV[i], ARGV[i + 1]
  for former = 10, #KEYS do
    local old = redis.call('HGET', KEYS[former], id)
    if old then settle(KEYS[former], id, old, false, call) end
  end
  row.count = row.count + settle(KEYS[3], id, false, record, call)
  row.sum = (row.sum + id) % 281474976710656
end
applied(KEYS[2], gateway, number, row)
return {'ok'}
