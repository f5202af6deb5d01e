-- Enters places, keeping the better of two of a viewer.
-- KEYS: marker, ranking, members, building, building ranking, building members.
-- ARGV: '' or the epoch of the ranking that is being built, when the ranking ends, then for each: viewer,
-- member. A member begins with 16 digits that are smaller the more was done; all scores are 0, so that
-- members are sorted by their bytes.
local function enter(ranking, members)
  for i = 3, #ARGV, 2 do
    local old = redis.call('HGET', members, ARGV[i])
    if not old or string.sub(ARGV[i + 1], 1, 16) < string.sub(old, 1, 16) then
      if old then redis.call('ZREM', ranking, old) end
      redis.call('ZADD', ranking, 0, ARGV[i + 1])
      redis.call('HSET', members, ARGV[i], ARGV[i + 1])
    end
  end
  redis.call('PEXPIREAT', ranking, ARGV[2])
  redis.call('PEXPIREAT', members, ARGV[2])
end
if ARGV[1] ~= '' then
  if redis.call('GET', KEYS[4]) ~= ARGV[1] then return 0 end
  enter(KEYS[5], KEYS[6])
  return 1
end
if redis.call('EXISTS', KEYS[4]) == 1 then enter(KEYS[5], KEYS[6]) end
local epoch = redis.call('GET', KEYS[1])
if not epoch or redis.call('HGET', KEYS[3], '') ~= epoch then return 0 end
enter(KEYS[2], KEYS[3])
return 1
