-- api_key_put: writes, changes or removes one API key, if it still is what the caller has read.
--
-- KEYS  rows, version (keys.py: API_KEYS, API_KEYS_VERSION)
-- ARGV  name, the row that was read ('' for none), the row to write ('' for none), a version that never was
-- reply ok, or changed
if (redis.call('HGET', KEYS[1], ARGV[1]) or '') ~= ARGV[2] then return {'changed'} end
if ARGV[3] == '' then
  redis.call('HDEL', KEYS[1], ARGV[1])
else
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
end
redis.call('SET', KEYS[2], ARGV[4])
return {'ok'}
