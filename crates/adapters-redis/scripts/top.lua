-- The first places. KEYS: marker, ranking, members. ARGV: how many.
local epoch = redis.call('GET', KEYS[1])
-- The ranking and its members are lost together or not at all: as many of the one as of the other.
if not epoch or redis.call('HGET', KEYS[3], '') ~= epoch
  or redis.call('ZCARD', KEYS[2]) + 1 ~= redis.call('HLEN', KEYS[3]) then
  return { 'rebuild' }
end
-- To ask for none is not to ask up to the last, which is -1.
local places = {}
if tonumber(ARGV[1]) > 0 then places = redis.call('ZRANGE', KEYS[2], 0, ARGV[1] - 1) end
table.insert(places, 1, '0')
return places
