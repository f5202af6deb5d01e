-- Begins to build a ranking anew; whoever was building before is void.
-- KEYS: building, building ranking, building members. ARGV: epoch, how long an attempt in which nothing
-- happens lives, in milliseconds.
redis.call('UNLINK', KEYS[2], KEYS[3])
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
-- The empty name is nobody's: it says of which epoch the members are.
redis.call('HSET', KEYS[3], '', ARGV[1])
redis.call('PEXPIRE', KEYS[3], ARGV[2])
return 1
