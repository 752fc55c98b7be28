-- resync: a gateway states its whole live set under a new name, in pieces; its old names are fenced off.
--
-- KEYS  head gate live load hist group change seen lease, then the live sets of its old names
-- ARGV  epoch, lease (ms), gateway, number (1 for the first piece), old names (by spaces), then pairs: id, record
-- reply {'resync'} | {'ok'}
-- Each reservation moves from an old name to the new one in one step, so it is never counted twice. What is left under
-- an old name is reaped, and a call that was still on its way under it finds its number refused. There are several old
-- names when replies to a resync were lost. Names are "<gateway>.<statement>": a resync that comes after one of a later
-- statement is refused, and earlier names that the gateway forgot, but a stale replica did not, are fenced off too.
local call = enter(KEYS[1], ARGV[1], ARGV[2])
local gateway, number, row = ARGV[3], tonumber(ARGV[4]), nil
if call and number == 1 then
  local stem, statement = match(gateway, '^(.+)%.(%d+)$')
  local old_names = ARGV[5]
  for _, name in ipairs(stem and redis.call('HKEYS', KEYS[2]) or {}) do
    local its_stem, its_statement = match(name, '^(.+)%.(%d+)$')
    if its_stem == stem and tonumber(its_statement) > tonumber(statement) then return {'resync'} end
    if its_stem == stem and its_statement ~= statement then old_names = old_names .. ' ' .. name end
  end
  redis.call('HSETNX', KEYS[2], gateway, '0 0 0')
  for former in string.gmatch(old_names, '%S+') do
    fence(KEYS[2], former)
    redis.call('ZADD', KEYS[9], 0, former)
  end
end
row = call and admit(KEYS[2], gateway, number)
if not row then return {'resync'} end
redis.call('ZADD', KEYS[9], call.ms + ARGV[2], gateway)
for i = 6, #ARGV, 2 do
  local id, record = ARGV[i], ARGV[i + 1]
  local moved = false
  for former = 10, #KEYS do
    moved = redis.call('HGET', KEYS[former], id)
    if moved then
      redis.call('HDEL', KEYS[former], id)
      break
    end
  end
  settle(KEYS[3], id, moved, record, call)
  row.count, row.sum = row.count + 1, (row.sum + id) % ID_MODULUS
end
write_book(call)
applied(KEYS[2], gateway, number, row)
return {'ok'}
