-- report: what one node's agent says of its ranks. It adds to the ledger's view and never erases from it.
--
-- KEYS  head lease card load hist group change seen drain
-- ARGV  epoch, lease (ms), owner, claim (ms): how long a silent owner keeps its ranks, rows (JSON): a rank's
--       [rank, incarnation, state, sample age ms, requests in the engine, KV tokens in it, prefill tokens/s,
--       card or '', how often it was drained and undrained, requests running, what is known of its prefix cache (''
--       or as in rows.lua)]; state 'gone': it leaves
-- reply {'resync'} | {'ok', refused: rank, owner, .., ranks whose card is missing, gateways whose lease has ended,
--       how often each rank was drained and undrained: rank, count, .., how many ranks the pool has}
local call = enter(KEYS[1], ARGV[1], ARGV[2])
if not call then return {'resync'} end
local owner, refused, cardless, counts = ARGV[3], {}, {}, {}
local written, drained, changed = {}, {}, {}  -- pairs for one command each, which costs Redis a microsecond
local former = {}  -- lives that are over: rank, incarnation, ..

local function has_card(raw, incarnation)
  local readable, card = pcall(cjson.decode, raw or '')
  return readable and type(card) == 'table' and card.incarnation == incarnation
end

local function add(list, first, second)
  list[#list + 1] = first
  list[#list + 1] = second
end

-- `old` is what `seen` says of the rank, `past` and `stored` are its rows of `hist` and `drain`.
local function see(old, past, stored, rank, incarnation, state, age, requests, kv, rate, card, known, running, cache)
  local sampled = math.max(0, call.ms - age)
  local sent, in_engine = recall(past, sampled)
  local queue = old.incarnation == incarnation and old.queue or ''
  local foreign, version = nil, old.card_version
  foreign, queue = least(queue, call.ms, requests - sent, FRESH_MS)
  if card ~= '' then
    redis.call('HSET', KEYS[3], rank, card)
    version = call.version
  end
  local count = math.max(stored, known)
  if count > stored then add(drained, rank, format('%d', count)) end
  add(counts, rank, count)
  add(written, rank, format('%s %s %d %d %d %d %.17g %s %d %d %d %s%s',
    incarnation, state, count % 2, sampled, math.max(0, foreign), kv - in_engine, rate,
    owner, call.ms, version, running, queue, cache == '' and '' or '@' .. cache))
  if old.incarnation and old.incarnation ~= incarnation then add(former, rank, old.incarnation) end
end

local function see_all(rows)
  local ranks, lives = {}, {}
  for i, row in ipairs(rows) do ranks[i], lives[i] = row[1], row[1] .. ' ' .. row[2] end
  local seens, cards = redis.call('HMGET', k.seen, unpack(ranks)), redis.call('HMGET', KEYS[3], unpack(ranks))
  local loads, pasts = redis.call('HMGET', k.load, unpack(lives)), redis.call('HMGET', k.hist, unpack(lives))
  local stored = redis.call('HMGET', KEYS[9], unpack(ranks))
  for i, row in ipairs(rows) do
    local rank, incarnation, state, card, load = row[1], row[2], row[3], row[8], loads[i]
    local old = read_seen(seens[i])
    if load and (not match(load, READABLE_LOAD) or string.find(load, BEYOND)) then end_epoch() end
    if old.owner and old.owner ~= owner and call.ms - old.heard < tonumber(ARGV[4]) then
      add(refused, rank, old.owner)
    elseif state == 'gone' then
      redis.call('HDEL', k.seen, rank)
      redis.call('HDEL', KEYS[3], rank)
      if old.incarnation then tidy(rank, old.incarnation) end
    elseif card == '' and not (old.incarnation == incarnation and has_card(cards[i], incarnation)) then
      cardless[#cardless + 1] = rank
    else
      see(old, pasts[i], drains(stored[i]), unpack(row))
    end
    add(changed, call.version, rank)
  end
  redis.call('ZADD', k.change, unpack(changed))
  if #written > 0 then redis.call('HSET', k.seen, unpack(written)) end
  if #drained > 0 then redis.call('HSET', KEYS[9], unpack(drained)) end
  for i = 1, #former, 2 do tidy(former[i], former[i + 1]) end
end

local rows = cjson.decode(ARGV[5])
if #rows > 0 then see_all(rows) end
return {'ok', refused, cardless, ended(KEYS[2], call), counts, redis.call('HLEN', k.seen)}
