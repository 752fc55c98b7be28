-- The book: what the reservations on each rank add up to; prepended to every script that changes a reservation.
--
-- group   hash: "<group>:q|n|k" -> queued tokens, requests, KV tokens of all ranks of a DP group; group '-': none
-- What a call changes is gathered, and `write_book` writes it once: a command costs Redis a microsecond.
local pages = {}  -- life -> the fields of its `load` row, as text; its rank; whether what remember() keeps has changed
local groups = {}  -- field of `group` -> what is to be added

-- Turns to the page of a life whose `load` row was read.
local function turn_to(life, row, rank)
  pages[life] = pages[life] or {rank = rank, is_moved = false, match(row or NO_LOAD, LOAD)}
  return pages[life]
end

-- The progress credited to the running prompt begins anew when a prefill is done, and in an empty queue; not when a
-- prompt is given back, for most of these were waiting behind the running one.
local function post(life, sum, call, kept)
  local page = pages[life] or turn_to(life, redis.call('HGET', k.load, life), sum.rank)
  if not page[1] then
    pages[life] = nil
    return end_epoch()
  end
  if (sum[2] < 0 and kept) or (sum[2] > 0 and page[2] == '0') then page[3] = format('%d', call.ms) end
  for i = 1, 8 do if sum[i] ~= 0 then page[i] = format('%d', page[i] + sum[i]) end end
  page.is_moved = page.is_moved or sum[5] ~= 0 or sum[7] ~= 0
  if sum.group == '-' then return end
  for field, more in pairs({q = sum[1], n = sum[4], k = sum[6] + sum[7] + sum[8]}) do
    local name = sum.group .. ':' .. field
    groups[name] = (groups[name] or 0) + more
  end
end

local function write_book(call)
  local rows, changed, n = {}, {}, 0
  for life, page in pairs(pages) do
    rows[n + 1], rows[n + 2], changed[n + 1], changed[n + 2] = life, concat(page, ' '), call.version, page.rank
    n = n + 2
    if page.is_moved then remember(life, call.ms, page[5], page[7]) end
  end
  if n == 0 then return end
  redis.call('HSET', k.load, unpack(rows))
  redis.call('ZADD', k.change, unpack(changed))
  for life, page in pairs(pages) do
    if page[4] == '0' and page[7] == '0' then tidy(page.rank, string.sub(life, #page.rank + 2)) end
  end
  for name, more in pairs(groups) do
    if not pcall(redis.call, 'HINCRBY', k.group, name, format('%d', more)) then end_epoch() end
  end
end
