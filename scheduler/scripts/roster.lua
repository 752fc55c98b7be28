-- The roster: which ranks there are and what was last heard of them; prepended to the scripts that know a rank's life.
local function read_seen(rank)
  local s = {}
  s.incarnation, s.owner, s.heard, s.card_version, s.queue = match(redis.call('HGET', k.seen, rank) or '', SEEN)
  return s
end

-- The book keeps the pages of ranks that are there, and of lives that still have reservations.
local function tidy(rank, incarnation)
  if read_seen(rank).incarnation == incarnation then return end
  local life = rank .. ' ' .. incarnation
  local _, _, _, requests, _, _, in_engine = match(redis.call('HGET', k.load, life) or '', LOAD)
  if requests and requests + in_engine > 0 then return end
  redis.call('HDEL', k.load, life)
  forget(life)
end
