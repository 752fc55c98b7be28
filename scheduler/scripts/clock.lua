-- Pool time; prepended to every script that writes.
--
-- A script is refused when its epoch is not the pool's.
-- Pool time runs only while the store is alive. Between two calls it moves by what TIME moved, but never back and
-- never by more than a quarter of the lease: a freeze, or a failover to a host with another clock, ends no lease.
-- `jumped` says that it went back or by more than a whole lease; nothing is reaped in such a call.
local function enter(head_key, epoch, lease_ms)
  local now_epoch, last, pool_ms, version = read_head(redis.call('GET', head_key))
  if now_epoch ~= epoch then return nil end
  local time = redis.call('TIME')
  local now = time[1] * 1000 + floor(time[2] / 1000)
  local step, longest = now - last, floor(lease_ms / 4)
  local call = {jumped = step < 0 or step > tonumber(lease_ms), version = format('%d', version + 1)}
  call.ms = pool_ms + math.max(0, math.min(step, longest))
  redis.call('SET', head_key, format('%s %d %d %s', epoch, now, call.ms, call.version))
  return call
end

-- For a value that cannot be read: it is not ours, and no sum can be trusted. The next call begins a new epoch.
local function end_epoch()
  redis.call('DEL', KEYS[1])
end
