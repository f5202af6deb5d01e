-- Begins to build a tally anew; whoever was building before is void.
-- KEYS: building, building numbers, building unique. ARGV: epoch, how long an attempt in which nothing
-- happens lives, in milliseconds.
redis.call('UNLINK', KEYS[2], KEYS[3])
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
-- Both say from the start of which epoch they are: one that was lost meanwhile is not begun again half.
redis.call('HSET', KEYS[2], 'e', ARGV[1])
redis.call('SADD', KEYS[3], 'e:' .. ARGV[1])
redis.call('PEXPIRE', KEYS[2], ARGV[2])
redis.call('PEXPIRE', KEYS[3], ARGV[2])
return 1
