-- Adds rows to the tally that is being built.
-- KEYS: building, building numbers, building unique. ARGV: epoch, how long the attempt lives from now on,
-- then as for count.lua. Answers 0 if the attempt is void or has lost what it built.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if redis.call('HGET', KEYS[2], 'e') ~= ARGV[1] or redis.call('SISMEMBER', KEYS[3], 'e:' .. ARGV[1]) == 0 then
  redis.call('UNLINK', KEYS[1])
  return 0
end
for i = 3, #ARGV, 4 do
  if redis.call('SADD', KEYS[3], ARGV[i + 2]) == 1 then
    redis.call('HINCRBY', KEYS[2], ARGV[i], 1)
    redis.call('HINCRBY', KEYS[2], ARGV[i + 1], ARGV[i + 3])
  end
end
for i = 1, 3 do redis.call('PEXPIRE', KEYS[i], ARGV[2]) end
return 1
