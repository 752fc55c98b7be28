-- Pool time and fencing; prepended to every script that writes.
--
-- head    "<epoch> <last TIME, ms> <pool time, ms> <version>"; a script is refused when its epoch is not the pool's.
-- Pool time runs only while the store is alive. Between two calls it moves by what TIME moved, but never back and
-- never by more than a quarter of the lease: a freeze, or a failover to a host with another clock, ends no lease.
-- `jumped` says that it went back or by more than a whole lease; nothing is reaped in such a call.
local function enter(head_key, epoch, lease_ms)
  local now_epoch, last, pool_ms, version =
    string.match(redis.call('GET', head_key) or '', '^(%w+) (%d+) (%d+) (%d+)$')
  if now_epoch ~= epoch then return nil end
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  local step, longest = now - last, math.floor(lease_ms / 4)
  local call = {jumped = step < 0 or step > tonumber(lease_ms), version = version + 1}
  call.ms = pool_ms + math.max(0, math.min(step, longest))
  redis.call('SET', head_key, string.format('%s %d %d %d', epoch, now, call.ms, call.version))
  return call
end

-- A value that cannot be read is not ours, and no sum can be trusted: the next call begins a new epoch.
local function rebuild()
  redis.call('DEL', KEYS[1])
end

-- gate    hash: gateway -> "<last applied number> <reservations> <sum of their ids, modulo 2^48>"
-- A call is applied only if its number follows the last applied one; nil means the gateway has to resync.
local function admit(gate_key, gateway, number)
  local last, count, sum = string.match(redis.call('HGET', gate_key, gateway) or '', '^(%-?%d+) (%d+) (%d+)$')
  if not last or tonumber(last) ~= number - 1 then return nil end
  return {count = tonumber(count), sum = tonumber(sum)}
end

-- lease   sorted set: gateway by the pool time at which its lease ends; some of those whose lease has ended
local function ended(lease_key, call)
  if call.jumped then return {} end
  return redis.call('ZRANGEBYSCORE', lease_key, '-inf', string.format('(%d', call.ms), 'LIMIT', 0, 100)
end

local function applied(gate_key, gateway, number, row)
  redis.call('HSET', gate_key, gateway, string.format('%d %d %d', number, row.count, row.sum))
end
