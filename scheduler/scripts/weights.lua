-- What a reservation weighs on its ranks; prepended to every script that changes one.
--
-- record  "<phase> <uncached tokens> <prompt tokens> <output tokens>", per leg " <kind> <rank> <incarnation> <group>"
-- kind    m whole, p prefill, d decode, w decode whose rank has the request already and waits for the prefill's KV

-- What one leg weighs in each phase (0 placed, 1 dispatched, 2 prefill done, 3 first token), in the fields of `load`: the
-- third, a time, has no weight.
local function weight(kind, phase, uncached, prompt, output, rank, group)
  local prefills = ((kind == 'm' or kind == 'p') and phase < 2) and 1 or 0
  if kind == 'p' then
    local holds = phase == 2 and prompt or 0
    local sent = phase == 1 and 1 or 0
    return {prefills * uncached, prefills, 0, prefills, sent, prefills * prompt, holds, 0, rank = rank, group = group}
  end
  local sent = (kind == 'w' or phase >= (kind == 'm' and 1 or 2)) and 1 or 0
  if phase < 3 then
    return {prefills * uncached, prefills, 0, 1, sent, prompt + output, 0, 0, rank = rank, group = group}
  end
  return {0, 0, 0, 1, sent, 0, prompt, floor(output / 2), rank = rank, group = group}
end
