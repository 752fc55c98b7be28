-- Whose lease has ended, and whose name is given up; prepended to the scripts that look for such gateways.
--
-- No call under this name is applied any more; what it holds is given back by others.
local function fence(gate_key, gateway)
  applied(gate_key, gateway, FENCED, {count = 0, sum = 0})
end

-- Some of the gateways whose lease has ended (sorted set: gateway by the pool time at which its lease ends).
local function ended(lease_key, call)
  if call.jumped then return {} end
  return redis.call('ZRANGEBYSCORE', lease_key, '-inf', format('(%d', call.ms), 'LIMIT', 0, 100)
end
