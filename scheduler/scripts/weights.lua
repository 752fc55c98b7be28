-- What a reservation weighs on its ranks; prepended to every script that changes one.
--
-- record  "<phase> <uncached tokens> <prompt tokens> <output tokens>", per leg " <kind> <rank> <incarnation> <group>"

-- What one leg weighs in each phase (0 placed, 1 dispatched, 2 prefill done, 3 first token): queued tokens, prompts,
-- requests, dispatched ones, KV tokens not yet in the engine, KV tokens in it, growth to come.
local function weight(kind, phase, uncached, prompt, output, rank, group)
  local prefills = (kind ~= 'd' and phase < 2) and 1 or 0
  if kind == 'p' then
    local holds = phase == 2 and prompt or 0
    local sent = phase == 1 and 1 or 0
    return {prefills * uncached, prefills, prefills, sent, prefills * prompt, holds, 0, rank = rank, group = group}
  end
  local sent = phase >= (kind == 'm' and 1 or 2) and 1 or 0
  if phase < 3 then
    return {prefills * uncached, prefills, 1, sent, prompt + output, 0, 0, rank = rank, group = group}
  end
  return {0, 0, 1, sent, 0, prompt, floor(output / 2), rank = rank, group = group}
end

-- Adds a record to what has moved on each life, or takes it away.
local function weigh(moved, record, sign)
  local phase, uncached, prompt, output, legs = match(record, '^(%d) (%d+) (%d+) (%d+)(.+)$')
  if not phase then return end_epoch() end
  for kind, rank, incarnation, group in string.gmatch(legs, ' (%S+) (%S+) (%S+) (%S+)') do
    local life, leg = rank .. ' ' .. incarnation, weight(kind, tonumber(phase), uncached, prompt, output, rank, group)
    local sum = moved[life]
    for i = 1, 7 do leg[i] = (sum and sum[i] or 0) + sign * leg[i] end
    moved[life] = leg
  end
end
