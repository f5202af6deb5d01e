-- A funds system for claims alone: idempotent by looking at the order first, in one atomic step.
-- KEYS: orders, balances. ARGV: order, payer, receiver, amount.
-- Answers the kind of answer and the position; the stored order is answered before any refusal.
local content = ARGV[2] .. ' ' .. ARGV[3] .. ' ' .. ARGV[4]
local stored = redis.call('HGET', KEYS[1], ARGV[1])
if stored then
  local position, what = string.match(stored, '^(%d+) (.*)$')
  return { what == content and 'applied' or 'conflict', position }
end
if redis.call('HINCRBY', KEYS[2], ARGV[2], '-' .. ARGV[4]) < 0 then
  redis.call('HINCRBY', KEYS[2], ARGV[2], ARGV[4])
  return { 'refused', '0' }
end
redis.call('HINCRBY', KEYS[2], ARGV[3], ARGV[4])
local position = redis.call('HLEN', KEYS[1]) + 1
redis.call('HSET', KEYS[1], ARGV[1], position .. ' ' .. content)
return { 'applied', tostring(position) }
