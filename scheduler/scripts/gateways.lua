-- Whose call is applied; prepended to every script that writes for a gateway.
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
