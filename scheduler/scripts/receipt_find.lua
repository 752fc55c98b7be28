-- receipt_find: the receipts of one request among some entries of the stream, the newest first. Reads only.
--
-- KEYS  receipts
-- ARGV  request id, where to begin ('+': with the newest; '(<entry id>': behind that entry), how many entries
-- reply {the last entry's id, '' if no older one is left, how many have no request id, then per receipt: entry id,
--       digest, the receipt}
local entries = redis.call('XREVRANGE', KEYS[1], ARGV[2], '-', 'COUNT', ARGV[3])
local last = #entries == tonumber(ARGV[3]) and entries[#entries][1] or ''
local reply = {last, 0}
for _, entry in ipairs(entries) do
  local fields = {}
  for i = 1, #entry[2], 2 do fields[entry[2][i]] = entry[2][i + 1] end
  if not fields.request then reply[2] = reply[2] + 1 end
  if fields.request == ARGV[1] then
    reply[#reply + 1] = entry[1]
    reply[#reply + 1] = fields.digest or ''
    reply[#reply + 1] = fields.receipt or ''
  end
end
return reply
