-- What the loads of a rank are at this instant (scheduler/loads.py has the same formulas); prepended to the scripts
-- that choose.
--
-- Queued prefill tokens, requests, KV tokens and the sample's age; nothing if the rank of that name does not live that
-- life, cannot be placed on, or its rows cannot be read.
local function loads_of(rank, life, load, seen, ms)
  local incarnation, sampled, foreign, foreign_kv, rate = match(seen or '', PRICED)
  if not incarnation or rank .. ' ' .. incarnation ~= life then return nil end
  local queued, prompts, since, requests, unseen, in_engine, growth = match(load or NO_LOAD, PRICED_LOAD)
  if not queued then return nil end
  local age_ms, trust, tokens = ms - sampled, 1, queued + 0
  if age_ms > FRESH_MS then trust = math.max(0, (FORGOTTEN_MS - age_ms) / (FORGOTTEN_MS - FRESH_MS)) end
  if prompts ~= '0' then tokens = tokens - math.min((ms - since) / 1000 * rate, tokens / prompts) end
  local kv = unseen + in_engine + growth + trust * foreign_kv
  return tokens, requests + trust * foreign, kv > 0 and kv or 0, age_ms
end
