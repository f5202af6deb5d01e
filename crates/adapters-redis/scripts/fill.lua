-- Stores a record or an absence, unless something newer is there or was dropped lately.
-- KEYS: record, tombstone. ARGV: version, payload ('' is an absence), unit ('at' or 'in'), milliseconds.
-- Answers 1 if stored, 0 if stale. Versions are compared as numbers: they stay far below 2^53.
local version = tonumber(ARGV[1])
local dropped = redis.call('GET', KEYS[2])
if dropped and version < tonumber(dropped) then return 0 end
local stored = redis.call('HGET', KEYS[1], 'v')
if stored and version < tonumber(stored) then return 0 end
redis.call('HSET', KEYS[1], 'v', ARGV[1], 'd', ARGV[2])
if ARGV[3] == 'at' then
  redis.call('PEXPIREAT', KEYS[1], ARGV[4])
else
  redis.call('PEXPIRE', KEYS[1], ARGV[4])
end
return 1
