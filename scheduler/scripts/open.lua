-- open: the pool's epoch; if it has none, or one that cannot be read, a new one begins and the pool is rebuilt empty.
--
-- KEYS  head, then every other key of the ledger, each gateway's live set too (not the drained ranks: they outlive it)
-- ARGV  the new epoch
-- reply the epoch
local epoch = read_head(redis.call('GET', KEYS[1]))
if epoch then return epoch end
for _, key in ipairs(KEYS) do redis.call('DEL', key) end
redis.call('SET', KEYS[1], ARGV[1] .. ' 0 0 0')
return ARGV[1]
