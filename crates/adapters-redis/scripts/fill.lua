-- Stores a record or an absence, unless something newer is there or was dropped lately.
-- KEYS: record, tombstone. ARGV: version, payload ('' is an absence), unit ('at' or 'in'), milliseconds,
-- the last moment at which it may be stored.
-- Answers 1 if stored, 0 if stale, 2 if late. Versions are compared as numbers: they stay far below 2^53.
local clock = redis.call('TIME')
if clock[1] * 1000 + clock[2] / 1000 > tonumber(ARGV[5]) then return 2 end
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
