-- Drops what is older than a version, and remembers the version for a while.
-- KEYS: record, tombstone. ARGV: version, the tombstone's lifetime in milliseconds.
local version = tonumber(ARGV[1])
local dropped = redis.call('GET', KEYS[2])
if not dropped or tonumber(dropped) < version then dropped = ARGV[1] end
redis.call('SET', KEYS[2], dropped, 'PX', ARGV[2])
local stored = redis.call('HGET', KEYS[1], 'v')
if stored and tonumber(stored) < version then redis.call('UNLINK', KEYS[1]) end
return 1
