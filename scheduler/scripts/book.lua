-- The book: what the reservations on each rank add up to; prepended to every script that changes a reservation.
--
-- group   hash: "<group>:q|n|k" -> queued tokens, requests, KV tokens of all ranks of a DP group; group '-': none
-- What a call changes is gathered, and `write_book` writes it once: a command costs Redis a microsecond.
local pages = {}  -- life -> its `load` row and rank; and what was dispatched and is in the engine, where that changed
local groups = {}  -- field of `group` -> what is to be added

-- Turns to the page of a life whose `load` row was read.
local function turn_to(life, row)
  pages[life] = pages[life] or {row = row or NO_LOAD}
  return pages[life]
end

-- The progress credited to the running prompt begins anew when a prefill is done, and in an empty queue; not when a
-- prompt is given back, for most of these were waiting behind the running one.
local function post(life, sum, call, kept)
  local page = pages[life] or turn_to(life, redis.call('HGET', k.load, life))
  local queued, prompts, since, requests, sent, unseen, in_engine, growth = match(page.row, LOAD)
  if not queued then
    pages[life] = nil
    return end_epoch()
  end
  if (sum[2] < 0 and kept) or (sum[2] > 0 and prompts == '0') then since = call.ms end
  requests, sent, in_engine = requests + sum[3], sent + sum[4], in_engine + sum[6]
  page.row = format('%d %d %d %d %d %d %d %d', queued + sum[1], prompts + sum[2], since, requests, sent,
    unseen + sum[5], in_engine, growth + sum[7])
  page.rank, page.is_idle = sum.rank, requests + in_engine == 0
  if sum[4] ~= 0 or sum[6] ~= 0 then page.sent, page.in_engine = sent, in_engine end
  if sum.group == '-' then return end
  for field, more in pairs({q = sum[1], n = sum[3], k = sum[5] + sum[6] + sum[7]}) do
    local name = sum.group .. ':' .. field
    groups[name] = (groups[name] or 0) + more
  end
end

-- Makes reservation `id` of a gateway be `new` instead of `old` (false: none); returns the change of its count.
local function settle(live_key, id, old, new, call)
  local moved = {}
  if old then weigh(moved, old, -1) end
  if new then weigh(moved, new, 1) end
  for life, sum in pairs(moved) do post(life, sum, call, new) end
  if new then redis.call('HSET', live_key, id, new) elseif old then redis.call('HDEL', live_key, id) end
  return (new and 1 or 0) - (old and 1 or 0)
end

local function write_book(call)
  local rows, changed, n = {}, {}, 0
  for life, page in pairs(pages) do
    rows[n + 1], rows[n + 2], changed[n + 1], changed[n + 2] = life, page.row, call.version, page.rank
    n = n + 2
    if page.sent then remember(life, call.ms, page.sent, page.in_engine) end
  end
  if n == 0 then return end
  redis.call('HSET', k.load, unpack(rows))
  redis.call('ZADD', k.change, unpack(changed))
  for life, page in pairs(pages) do if page.is_idle then tidy(page.rank, string.sub(life, #page.rank + 2)) end end
  for name, more in pairs(groups) do
    if not pcall(redis.call, 'HINCRBY', k.group, name, format('%d', more)) then end_epoch() end
  end
end
