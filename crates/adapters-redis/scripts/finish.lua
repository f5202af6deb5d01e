-- Puts the new tally in the old one's place.
-- KEYS: numbers, unique, building, building numbers, building unique.
-- ARGV: epoch, when the unique keys end, when the numbers end.
-- Answers 0 if the attempt is void or has lost what it built.
if redis.call('GET', KEYS[3]) ~= ARGV[1] then return 0 end
redis.call('UNLINK', KEYS[3])
if redis.call('HGET', KEYS[4], 'e') ~= ARGV[1] or redis.call('SISMEMBER', KEYS[5], 'e:' .. ARGV[1]) == 0 then
  return 0
end
redis.call('UNLINK', KEYS[1], KEYS[2])
redis.call('RENAME', KEYS[4], KEYS[1])
redis.call('RENAME', KEYS[5], KEYS[2])
redis.call('PEXPIREAT', KEYS[1], ARGV[3])
redis.call('PEXPIREAT', KEYS[2], ARGV[2])
return 1
