-- Puts the new ranking in the old one's place.
-- KEYS: marker, ranking, members, building, building ranking, building members. ARGV: epoch, when it ends.
-- Answers 0 if the attempt is void or has lost what it built.
if redis.call('GET', KEYS[4]) ~= ARGV[1] then return 0 end
redis.call('UNLINK', KEYS[4])
if redis.call('HGET', KEYS[6], '') ~= ARGV[1]
  or redis.call('ZCARD', KEYS[5]) + 1 ~= redis.call('HLEN', KEYS[6]) then
  return 0
end
redis.call('UNLINK', KEYS[2], KEYS[3])
if redis.call('EXISTS', KEYS[5]) == 1 then redis.call('RENAME', KEYS[5], KEYS[2]) end
redis.call('RENAME', KEYS[6], KEYS[3])
redis.call('SET', KEYS[1], ARGV[1])
for i = 1, 3 do redis.call('PEXPIREAT', KEYS[i], ARGV[2]) end
return 1
