-- Enters places, keeping the better of two of a viewer.
-- KEYS: marker, ranking, members, building, building ranking, building members.
-- ARGV: '' or the epoch of the ranking that is being built, when the ranking ends, how long an attempt
-- lives from now on, then for each: viewer, member. A member begins with 16 digits that are smaller the
-- more was done; all scores are 0, so that members are sorted by their bytes.
local function enter(ranking, members)
  for i = 4, #ARGV, 2 do
    local old = redis.call('HGET', members, ARGV[i])
    if not old or string.sub(ARGV[i + 1], 1, 16) < string.sub(old, 1, 16) then
      if old then redis.call('ZREM', ranking, old) end
      redis.call('ZADD', ranking, 0, ARGV[i + 1])
      redis.call('HSET', members, ARGV[i], ARGV[i + 1])
    end
  end
end
-- As many of the one as of the other, and of one epoch: half a ranking is none.
local function is_whole(epoch, ranking, members)
  return epoch and redis.call('HGET', members, '') == epoch
    and redis.call('ZCARD', ranking) + 1 == redis.call('HLEN', members)
end
local building = redis.call('GET', KEYS[4])
if ARGV[1] ~= '' then
  if building ~= ARGV[1] then return 0 end
  if not is_whole(building, KEYS[5], KEYS[6]) then
    redis.call('UNLINK', KEYS[4])
    return 0
  end
  enter(KEYS[5], KEYS[6])
  for i = 4, 6 do redis.call('PEXPIRE', KEYS[i], ARGV[3]) end
  return 1
end
if building and is_whole(building, KEYS[5], KEYS[6]) then
  enter(KEYS[5], KEYS[6])
  -- The ranking may have been begun just now, by this very place.
  redis.call('PEXPIRE', KEYS[5], redis.call('PTTL', KEYS[4]))
end
local epoch = redis.call('GET', KEYS[1])
if not is_whole(epoch, KEYS[2], KEYS[3]) then return 0 end
enter(KEYS[2], KEYS[3])
for i = 1, 3 do redis.call('PEXPIREAT', KEYS[i], ARGV[2]) end
return 1
