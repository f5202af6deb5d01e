-- Counts, each once: looks at the unique key first, then adds, in one atomic step.
-- KEYS: marker, numbers, unique, building, building numbers, building unique.
-- ARGV: when the unique keys end, when the numbers end, then for each: field of the count, field of the
-- sum, unique id, amount. Amounts are added by Redis itself, in 64 bits: Lua's numbers are doubles.
-- Answers 'rebuild', or how many of the counts were new, the epoch and the numbers.
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
-- Half a tally is none: numbers and unique keys are there, of one epoch, or nothing is counted.
local function is_whole(epoch, numbers, unique)
  return epoch and redis.call('HGET', numbers, 'e') == epoch
    and redis.call('SISMEMBER', unique, 'e:' .. epoch) == 1
end
-- A tally that is being built must not miss what comes after the rows that it is built from.
local building = redis.call('GET', KEYS[4])
if building and is_whole(building, KEYS[5], KEYS[6]) then add(KEYS[5], KEYS[6]) end
local epoch = redis.call('GET', KEYS[1])
if not is_whole(epoch, KEYS[2], KEYS[3]) then return { 'rebuild' } end
local new = add(KEYS[2], KEYS[3])
redis.call('PEXPIREAT', KEYS[1], ARGV[1])
redis.call('PEXPIREAT', KEYS[2], ARGV[2])
redis.call('PEXPIREAT', KEYS[3], ARGV[1])
local numbers = redis.call('HMGET', KEYS[2], 'e', 'f', 'w', 'k', 'p')
for i = 1, 5 do numbers[i] = numbers[i] or '0' end
table.insert(numbers, 1, tostring(new))
return numbers
