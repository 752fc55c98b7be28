-- receipt_add: writes receipts down, and forgets the oldest where there are too many.
--
-- KEYS  receipts
-- ARGV  how many are kept, about; then for each: request id, digest, the receipt (receipt.py)
-- reply how many were written
local written = 0
for i = 2, #ARGV, 3 do
  redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', 'request', ARGV[i], 'digest', ARGV[i + 1], 'receipt', ARGV[i + 2])
  written = written + 1
end
return written
