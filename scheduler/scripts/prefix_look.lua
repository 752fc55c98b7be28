-- prefix_look: which ranks were believed to hold the blocks that a prompt begins with. Reads only.
--
-- KEYS  the blocks, from the first on (keys.py: block)
-- reply their holders as prefix_touch.lua spells them, up to the first block that nobody holds; '' as the one before
local found, before = {}, nil
for i, key in ipairs(KEYS) do
  local holders = redis.call('GET', key)
  if not holders then break end
  found[i] = holders == before and '' or holders
  before = holders
end
return found
