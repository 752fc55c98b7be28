-- open: the pool's epoch; if it has none, or one that is spoilt, a new one begins and the pool is rebuilt empty.
--
-- KEYS  head, drain, then every other key of the ledger, each gateway's live set too
-- ARGV  the new epoch, the epoch in which somebody met a key of the wrong type ('': nobody did)
-- reply the epoch
-- Drained ranks outlive an epoch, but not a `drain` that is no hash.
local is_string, head = pcall(redis.call, 'GET', KEYS[1])
local epoch = is_string and read_head(head)
if epoch and epoch ~= ARGV[2] then return epoch end
for i, key in ipairs(KEYS) do
  if i ~= 2 or not pcall(redis.call, 'HLEN', key) then redis.call('DEL', key) end
end
redis.call('SET', KEYS[1], ARGV[1] .. ' 0 0 0')
return ARGV[1]
