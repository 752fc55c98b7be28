-- How every row that a script reads back is spelled; prepended to every script. Times are pool time in ms.
--
-- head    string: "<epoch> <last TIME, ms> <pool time> <version>"
-- gate    hash: gateway -> "<last applied number> <reservations> <sum of their ids, modulo 2^48>"
-- load    hash: life -> "<queued prefill tokens> <prompts not prefilled> <progress since> <requests> <dispatched>
--         <KV tokens not yet in the engine> <KV tokens in it> <growth to come>"; absent where all are zero
-- seen    hash: rank -> "<incarnation> <state> <drained> <sampled> <foreign requests> <foreign KV tokens>
--         <prefill tokens/s> <owner> <heard> <card version> <running> <recent foreign>@<cache>"; before the recent
--         foreign stands 'push;' if the sample was pushed (an older release overlooks that); `owner` is the agent
--         instance that claims the rank, `running` what the engine says of itself. `cache` is "<computed>", the tokens
--         written into its prefix cache, or "<computed>/<span>/<believed>/<found>" (scheduler/prefix_calibration.py);
--         without `@` nobody knows. An older release overlooks it where it stands
-- A life is "<rank> <incarnation>".
-- A look-up of a global costs time.
local match, format, floor, concat = string.match, string.format, math.floor, table.concat

local HEAD = '^(%w+) (%d+) (%d+) (%d+)$'
local GATE = '^(%-?%d+) (%d+) (%d+)$'
local LOAD = '^(%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+)$'
-- What report.lua reads of `seen`: each capture costs time. READABLE_LOAD is LOAD where nothing of it is needed.
local SEEN = '^(%S+) %S+ %d %d+ %d+ %-?%d+ %d+%.?%d*e?[+-]?%d* (%S+) (%d+) (%d+) %d+ ?([^%s@]*)%S*$'
local READABLE_LOAD = '^%d+ %d+ %d+ %d+ %d+ %d+ %d+ %d+$'
local PRICED = '^(%S+) up 0 (%d+) (%d+) (%-?%d+) (%d+%.?%d*e?[+-]?%d*) '  -- SEEN of a rank that can be placed on
local PRICED_LOAD = '^(%d+) (%d+) (%d+) (%d+) %d+ (%d+) (%d+) (%d+)$'  -- LOAD, but for what has no price
local DRAINED = '^(%S+ %S+) %d'  -- SEEN up to its drained flag
local CARD_VERSION = '^%S+ %S+ %d %d+ %d+ %-?%d+ %S+ %S+ %d+ (%d+)'  -- SEEN up to its card version

-- A sample counts whole while it is fresh, then fades; what is forgotten counts for nothing (scheduler/loads.py).
local FRESH_MS, FORGOTTEN_MS = 2000, 10000
-- A number that Lua could not count on from has so many digits in a row.
local BEYOND = '%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d'

-- The fields of a head; nothing if it cannot be read, or has a number that Lua could not count on from.
local function read_head(raw)
  local epoch, last, pool_ms, version = match(raw or '', HEAD)
  if epoch and #last < 16 and #pool_ms < 16 and #version < 16 then return epoch, last, pool_ms, version end
end

local NO_LOAD = '0 0 0 0 0 0 0 0'
local FENCED = -9  -- no number follows it, so no call under that name is applied
local ID_MODULUS = 281474976710656  -- 2^48: sums of ids stay exact in Lua's numbers
