-- prefix_touch: a prompt was placed, so these ranks will hold its blocks.
--
-- KEYS  the blocks (keys.py: block)
-- ARGV  for how long they are known (ms), then the ranks, each "<tag>=<odometer>" (scheduler/prefix_holders.py)
-- reply {'ok'}
-- holders  string: up to 64 of these words, the last touched first
local MOST = 64
local LONGEST = 4096  -- what is longer is not ours, and would take long to read

local function touched(holders)
  local words, named = {}, {}
  for i = 2, #ARGV do
    words[#words + 1] = ARGV[i]
    named[string.match(ARGV[i], '^%x+')] = true
  end
  for word, tag in string.gmatch(holders, '((%x+)=%d+)') do
    if not named[tag] and #words < MOST then words[#words + 1] = word end
  end
  return table.concat(words, ' ')
end

local before, after = nil, nil
for i, holders in ipairs(redis.call('MGET', unpack(KEYS))) do
  if not holders or #holders > LONGEST then holders = '' end
  if holders ~= before then before, after = holders, touched(holders) end
  redis.call('SET', KEYS[i], after, 'PX', ARGV[1])
end
return {'ok'}
