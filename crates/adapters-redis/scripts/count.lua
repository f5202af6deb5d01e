-- Counts, each once: looks at the unique key first, then adds, in one atomic step.
-- KEYS: marker, numbers, unique, building, building numbers, building unique.
-- ARGV: when the unique keys end, when the numbers end, then for each: field of the count, field of the
-- sum, unique id, amount. Amounts are added by Redis itself, in 64 bits: Lua's numbers are doubles.
-- Answers 'rebuild', or the number of counts that were new.
local function add(numbers, unique)
  local new = 0
  for i = 3, #ARGV, 4 do
    if redis.call('SADD', unique, ARGV[i + 2]) == 1 then
      redis.call('HINCRBY', numbers, ARGV[i], 1)
      redis.call('HINCRBY', numbers, ARGV[i + 1], ARGV[i + 3])
      new = new + 1
    end
  end
  return new
end
if redis.call('EXISTS', KEYS[4]) == 1 then
  -- A tally is being built: it must not miss what comes after the rows that it is built from.
  add(KEYS[5], KEYS[6])
  redis.call('PEXPIREAT', KEYS[5], ARGV[2])
  redis.call('PEXPIREAT', KEYS[6], ARGV[1])
end
local epoch = redis.call('GET', KEYS[1])
-- Half a tally is none: all three are there, of one epoch, or nothing is counted.
if not epoch or redis.call('HGET', KEYS[2], 'e') ~= epoch or redis.call('SISMEMBER', KEYS[3], 'e:' .. epoch) == 0 then
  return 'rebuild'
end
local new = add(KEYS[2], KEYS[3])
redis.call('PEXPIREAT', KEYS[1], ARGV[1])
redis.call('PEXPIREAT', KEYS[2], ARGV[2])
redis.call('PEXPIREAT', KEYS[3], ARGV[1])
return tostring(new)
