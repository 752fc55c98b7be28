-- Whose call is applied, and whose lease has ended; prepended to every script that writes.
--
-- A call is applied only if its number follows the last applied one; nil means the gateway has to resync.
local function admit(gate_key, gateway, number)
  local last, count, sum = match(redis.call('HGET', gate_key, gateway) or '', GATE)
  if not last or tonumber(last) ~= number - 1 then return nil end
  return {count = tonumber(count), sum = tonumber(sum)}
end

local function applied(gate_key, gateway, number, row)
  redis.call('HSET', gate_key, gateway, format('%d %d %d', number, row.count, row.sum))
end

-- No call under this name is applied any more; what it holds is given back by others.
local function fence(gate_key, gateway)
  applied(gate_key, gateway, FENCED, {count = 0, sum = 0})
end

-- Some of the gateways whose lease has ended (sorted set: gateway by the pool time at which its lease ends).
local function ended(lease_key, call)
  if call.jumped then return {} end
  return redis.call('ZRANGEBYSCORE', lease_key, '-inf', format('(%d', call.ms), 'LIMIT', 0, 100)
end
