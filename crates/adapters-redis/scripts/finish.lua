-- Puts the new tally in the old one's place.
-- KEYS: marker, numbers, unique, building, building numbers, building unique.
-- ARGV: epoch, when the unique keys end, when the numbers end.
-- Answers 0 if the attempt is void or has lost what it built.
if redis.call('GET', KEYS[4]) ~= ARGV[1] then return 0 end
redis.call('UNLINK', KEYS[4])
if redis.call('HGET', KEYS[5], 'e') ~= ARGV[1] or redis.call('SISMEMBER', KEYS[6], 'e:' .. ARGV[1]) == 0 then
  return 0
end
redis.call('UNLINK', KEYS[2], KEYS[3])
redis.call('RENAME', KEYS[5], KEYS[2])
redis.call('RENAME', KEYS[6], KEYS[3])
redis.call('SET', KEYS[1], ARGV[1])
redis.call('PEXPIREAT', KEYS[1], ARGV[2])
redis.call('PEXPIREAT', KEYS[2], ARGV[3])
redis.call('PEXPIREAT', KEYS[3], ARGV[2])
return 1
