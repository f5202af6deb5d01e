-- Begins to build anew; whoever was building before is void.
-- KEYS: building, then what is being built. ARGV: epoch, when the attempt is given up.
for i = 2, #KEYS do redis.call('UNLINK', KEYS[i]) end
redis.call('SET', KEYS[1], ARGV[1], 'PXAT', ARGV[2])
return 1
