-- api_keys_read: all API keys, unless the reader has them. Reads only.
--
-- KEYS  rows, version (keys.py: API_KEYS, API_KEYS_VERSION)
-- ARGV  the version that the reader has ('' for none)
-- reply the version now ('' where there never was a key, or the store began anew), then names and rows if it is another
local version = redis.call('GET', KEYS[2]) or ''
if version == ARGV[1] then return {version} end
local reply = redis.call('HGETALL', KEYS[1])
table.insert(reply, 1, version)
return reply
