-- An ask as it is told, and where in it is what; prepended to the scripts that choose.
--
-- ask     JSON, one array, since each table costs time (scheduler/ask_columns.py): the fields that read_ask begins
--         with, `candidates` being their number, then columns: a value for each candidate, one column after another
local HEADER = 13

-- `values[ask.base_s + i]` is candidate i's base_s; of columns that say nothing of any candidate there are none.
local function read_ask(text)
  local values = cjson.decode(text)
  local prompt_tokens, output_tokens, singles, prefills, n, transfer_s, spill, tie_s, tie_break, explain, grouped,
    group_priced, capped = unpack(values, 1, HEADER)
  local ask = {
    values = values, prompt_tokens = prompt_tokens, output_tokens = output_tokens,
    singles = singles, prefills = prefills, candidates = n,
    transfer_s = transfer_s, spill = spill, tie_s = tie_s, tie_break = tie_break, explain = explain,
    ranks = HEADER, lives = HEADER + n, place_classes = HEADER + 2 * n,
    base_s = HEADER + 3 * n, per_queued_token_s = HEADER + 4 * n, per_request_s = HEADER + 5 * n,
    per_kv_token_s = HEADER + 6 * n, cap_kv_tokens = HEADER + 7 * n, uncached_tokens = HEADER + 8 * n,
  }
  local last = HEADER + 9 * n
  if grouped then ask.groups, last = last, last + n end
  if group_priced then ask.group_prices, last = last, last + 3 * n end
  if capped then ask.cap_queued_tokens, ask.cap_requests = last, last + n end
  return ask
end

-- The DP group of candidate `i`.
local function group_of(ask, i)
  return ask.groups and ask.values[ask.groups + i] or '-'
end
