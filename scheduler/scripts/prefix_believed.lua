-- prefix_believed: adds up what gateways believed that lives of ranks had cached of the prompts they have computed.
--
-- KEYS  one per life (keys.py: believed)
-- ARGV  for how long the sums are known (ms), then for each life what is added to each of its sums
-- reply the sums, life after life
-- sums  string: "<tokens> <tokens> .."; one that cannot be read begins anew
local per_life, sums = (#ARGV - 1) / #KEYS, {}
local NO_SUM = '[^%d ]'
local BEYOND = string.rep('%d', 17)  -- a number that Lua could not count on from has so many digits in a row
for i, key in ipairs(KEYS) do
  local old, new = {}, {}
  local row = redis.call('MGET', key)[1] or ''  -- GET would fail on a key of another type
  if not string.find(row, NO_SUM) and not string.find(row, BEYOND) then
    for tokens in string.gmatch(row, '%d+') do old[#old + 1] = tokens end
  end
  for n = 1, per_life do
    local sum = (#old == per_life and old[n] or 0) + ARGV[1 + (i - 1) * per_life + n]
    new[n] = string.format('%d', sum)
    sums[#sums + 1] = sum
  end
  redis.call('SET', key, table.concat(new, ' '), 'PX', ARGV[1])
end
return sums
