-- A viewer's place and who is around. KEYS: marker, ranking, members. ARGV: viewer, how many around.
-- Answers the rank of the first that follows, and the members; only '' for who has no place.
local epoch = redis.call('GET', KEYS[1])
if not epoch or redis.call('HGET', KEYS[3], '') ~= epoch
  or redis.call('ZCARD', KEYS[2]) + 1 ~= redis.call('HLEN', KEYS[3]) then
  return { 'rebuild' }
end
local member = redis.call('HGET', KEYS[3], ARGV[1])
if not member then return { '' } end
local rank = redis.call('ZRANK', KEYS[2], member)
if not rank then return { 'rebuild' } end
local first = math.max(0, rank - tonumber(ARGV[2]))
local places = redis.call('ZRANGE', KEYS[2], first, rank + tonumber(ARGV[2]))
table.insert(places, 1, tostring(first))
return places
