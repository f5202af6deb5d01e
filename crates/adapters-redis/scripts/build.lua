-- Adds rows to the tally that is being built.
-- KEYS: building, building numbers, building unique. ARGV: epoch, then as for count.lua from the third on.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
for i = 2, #ARGV, 4 do
  if redis.call('SADD', KEYS[3], ARGV[i + 2]) == 1 then
    redis.call('HINCRBY', KEYS[2], ARGV[i], 1)
    redis.call('HINCRBY', KEYS[2], ARGV[i + 1], ARGV[i + 3])
  end
end
return 1
