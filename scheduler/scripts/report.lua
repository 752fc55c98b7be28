-- report: what one node's agent says of its ranks. It adds to the ledger's view and never erases from it.
--
-- KEYS  head lease card load hist group change seen drain
-- ARGV  epoch, lease (ms), owner, claim (ms): how long a silent owner keeps its ranks, rows (JSON): a rank's
--       [rank, incarnation, state, sample age ms, requests in the engine, KV tokens in it, prefill tokens/s,
--       card or '', how often it was drained and undrained, requests running, what is known of its prefix cache (''
--       or as in rows.lua), '' or 'push;' if the sample was pushed]; state 'gone': it leaves
-- reply {'resync'} | {'ok', refused: rank, owner, .., ranks whose card is missing, gateways whose lease has ended,
--       how often each rank was drained and undrained: rank, count, .., how many ranks the pool has,
--       refused for what their cards say of KV (claims.lua): rank, other rank, what, ..}
local call = enter(KEYS[1], ARGV[1], ARGV[2])
if not call then return {'resync'} end
local owner, refused, cardless, counts, clashes = ARGV[3], {}, {}, {}, {}

local function write_seen(old, rank, incarnation, state, age, requests, kv, rate, card, known, running, cache, source)
  local life = rank .. ' ' .. incarnation
  local sampled = math.max(0, call.ms - age)
  local sent, in_engine = recall(life, sampled)
  local queue = old.incarnation == incarnation and old.queue or ''
  local foreign, version = nil, old.card_version
  foreign, queue = least(queue, call.ms, requests - sent, FRESH_MS)
  if card ~= '' then
    put_card(KEYS[3], rank, card)
    version = call.version
  end
  local stored = drains(KEYS[9], rank)
  local count = math.max(stored, known)
  if count > stored then redis.call('HSET', KEYS[9], rank, format('%d', count)) end
  counts[#counts + 1] = rank
  counts[#counts + 1] = count
  redis.call('HSET', k.seen, rank, format('%s %s %d %d %d %d %.17g %s %d %d %d %s%s',
    incarnation, state, count % 2, sampled, math.max(0, foreign), kv - in_engine, rate,
    owner, call.ms, version, running, source .. queue, cache == '' and '' or '@' .. cache))
  if old.incarnation and old.incarnation ~= incarnation then tidy(rank, old.incarnation) end
end

for _, row in ipairs(cjson.decode(ARGV[5])) do
  local rank, incarnation, state, card = row[1], row[2], row[3], row[8]
  local old = read_seen(rank)
  local load = redis.call('HGET', k.load, rank .. ' ' .. incarnation)
  if load and (not match(load, READABLE_LOAD) or string.find(load, BEYOND)) then end_epoch() end
  if old.owner and old.owner ~= owner and call.ms - old.heard < tonumber(ARGV[4]) then
    refused[#refused + 1] = rank
    refused[#refused + 1] = old.owner
  elseif state == 'gone' then
    redis.call('HDEL', k.seen, rank)
    put_card(KEYS[3], rank)
    if old.incarnation then tidy(rank, old.incarnation) end
  elseif card == '' and not (old.incarnation == incarnation and has_card(KEYS[3], rank, incarnation)) then
    cardless[#cardless + 1] = rank
  elseif card == '' or not clashes_with(clashes, KEYS[3], rank, card, call.ms, tonumber(ARGV[4])) then
    write_seen(old, unpack(row))
  end
  redis.call('ZADD', k.change, call.version, rank)
end
return {'ok', refused, cardless, ended(KEYS[2], call), counts, redis.call('HLEN', k.seen), clashes}
