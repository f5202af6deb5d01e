-- Counts, each once: looks at the unique key first, then adds, in one atomic step.
-- KEYS: numbers, unique, building, building numbers, building unique.
-- ARGV: for each: field of the count, field of the sum, unique id, amount. Amounts are added by Redis
-- itself, in 64 bits: Lua's numbers are doubles. All keys have had their ends since they were begun.
-- Answers 'rebuild', or how many of the counts were new, the epoch and the numbers.
local function add(numbers, unique)
  local new = 0
  for i = 1, #ARGV, 4 do
    if redis.call('SADD', unique, ARGV[i + 2]) == 1 then
      redis.call('HINCRBY', numbers, ARGV[i], 1)
      redis.call('HINCRBY', numbers, ARGV[i + 1], ARGV[i + 3])
      new = new + 1
    end
  end
  return new
end
-- A tally that is being built must not miss what comes after the rows that it is built from. Half a
-- tally is none: numbers and unique keys are there, of one epoch, or nothing is counted.
local building = redis.call('GET', KEYS[3])
if building and redis.call('HGET', KEYS[4], 'e') == building
  and redis.call('SISMEMBER', KEYS[5], 'e:' .. building) == 1 then
  add(KEYS[4], KEYS[5])
end
local numbers = redis.call('HMGET', KEYS[1], 'e', 'f', 'w', 'k', 'p')
if not numbers[1] or redis.call('SISMEMBER', KEYS[2], 'e:' .. numbers[1]) == 0 then
  return { 'rebuild' }
end
local new = add(KEYS[1], KEYS[2])
if new > 0 then numbers = redis.call('HMGET', KEYS[1], 'e', 'f', 'w', 'k', 'p') end
for i = 1, 5 do numbers[i] = numbers[i] or '0' end
table.insert(numbers, 1, tostring(new))
return numbers
