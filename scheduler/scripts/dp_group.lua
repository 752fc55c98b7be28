-- dp_group: a member of a DP group says how far it is and hears how far all are; or somebody wants a new generation.
--
-- KEYS  head dp
-- ARGV  epoch, lease (ms), group, a mark that never was, the generation that the caller knows (number, mark), why it
--       is to end ('': it is not; failed, joined, left, asked), the same in words, how long a silent member keeps its
--       ranks (ms), member ('': an operator), its instance, the generation it confirms (number, mark), its step, its
--       first rank, how many it has, how many the group has
-- reply {'resync'} | {'claimed', the row of a member that is heard and has such ranks, or a group of another size}
--       | {'ok', pool time, what the group is now}
-- dp hash: group -> "<number> <mark> <begun, or 0> <pool times of failures, or -> <why>", then a line for each member:
--       "<member> <instance> <number> <mark> <step> <first rank> <ranks> <ranks of the group> <version when it
--       confirmed that generation> <version when heard> <heard>". Whatever the store has lost, a number that a member
--       knows never names two generations: members say what they know, and marks tell two apart.
local call = enter(KEYS[1], ARGV[1], ARGV[2])
if not call then return {'resync'} end
local KEPT_FAILURES = 16
local known, cause, name, ranks, size = tonumber(ARGV[5]), ARGV[7], ARGV[10], ARGV[16], ARGV[17]
local value = redis.call('HGET', KEYS[2], ARGV[3]) or ''
local number, mark, begun, failures, why = match(value, '^(%d+) (%w+) (%d+) ([%d,-]+) ([^\n]*)')
if #(number or '') > 15 then number = nil end  -- Lua could not count on from it
number, mark, failures = tonumber(number or 0), number and mark or '0', failures or '-'

local function begin(new_mark, new_why)
  number, mark, begun, why = number + 1, new_mark, call.ms, new_why
end

if known > number then
  number, mark, begun, why = known, ARGV[6], 0, 'the store had lost it'
elseif known == number and mark ~= ARGV[6] then
  begin(ARGV[4], 'the store had lost one')
elseif known == number and cause ~= '' then
  begin(ARGV[4], ARGV[8])
  if cause == 'failed' then failures = format('%d,', call.ms) .. failures end
  if cause == 'asked' then failures = '-' end
end
local rows, confirmed, kept = {}, call.version, {}
for line in string.gmatch(value, '\n([^\n]+)') do
  local other, instance, at, at_mark, first, count, of, since, heard =
    match(line, '^(%S+) (%S+) (%d+) (%w+) %l+ (%d+) (%d+) (%d+) (%d+) %d+ (%d+)$')
  local meets = name ~= '' and other
    and (other == name or of ~= size or (first + 0 < ARGV[15] + ranks and ARGV[15] + 0 < first + count))
  local age_ms = call.ms - (heard or 0)
  if other and not meets then
    rows[#rows + 1] = '\n' .. line
  elseif meets and other == name and instance == ARGV[11] then
    if at == ARGV[12] and at_mark == ARGV[13] then confirmed = since end
  elseif meets and age_ms >= 0 and age_ms < tonumber(ARGV[9]) then
    return {'claimed', line}
  end
end
if name ~= '' and ARGV[14] ~= 'left' then
  local said = {name, ARGV[11], ARGV[12], ARGV[13], ARGV[14], ARGV[15], ranks, size, confirmed, call.version}
  rows[#rows + 1] = format('\n%s %d', concat(said, ' '), call.ms)
end
for each in string.gmatch(failures, '%d+') do kept[#kept + 1] = #kept < KEPT_FAILURES and each or nil end
failures = #kept > 0 and concat(kept, ',') or '-'
value = format('%d %s %d %s %s', number, mark, begun or 0, failures, why or '') .. concat(rows)
redis.call('HSET', KEYS[2], ARGV[3], value)
if #rows == 0 and failures == '-' then redis.call('HDEL', KEYS[2], ARGV[3]) end
return {'ok', call.ms, value}
