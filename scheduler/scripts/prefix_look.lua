-- prefix_look: which ranks were believed to hold the blocks that a prompt begins with. Reads only.
--
-- KEYS  the blocks, from the first on (keys.py: block)
-- reply their holders as prefix_touch.lua spells them, up to the first block that nobody holds; '' as the one before
local LONGEST = 4096  -- more characters have no 64 words (prefix_touch.lua): it is not ours, and not worth carrying
local found, before, most = {}, nil, 1
while #found < #KEYS do
  local first = #found + 1
  -- Most new prompts end at their first block, so it is read alone; the others together, for a call costs more than a key.
  for _, holders in ipairs(redis.call('MGET', unpack(KEYS, first, math.min(first + most - 1, #KEYS)))) do
    if not holders or #holders > LONGEST then return found end
    found[#found + 1] = holders == before and '' or holders
    before = holders
  end
  most = 8 * most
end
return found
