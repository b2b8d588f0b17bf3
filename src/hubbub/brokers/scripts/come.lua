-- Notes who has entered and left a room on a node, and tells the other nodes, with the number of the change.
-- KEYS: 1 the room's hash. ARGV: 1 the channel, 2 how to publish, 3 the head of the message and 4 its body,
-- 5 how many have entered; then field and value of each, and the fields of those who have left.
local entered = tonumber(ARGV[5])
for index = 6, 5 + 2 * entered, 2 do
    redis.call('HSET', KEYS[1], ARGV[index], ARGV[index + 1])
end
for index = 6 + 2 * entered, #ARGV do
    redis.call('HDEL', KEYS[1], ARGV[index])
end
local number = redis.call('HINCRBY', KEYS[1], '', 1)
redis.call('EXPIRE', KEYS[1], 604800)
redis.call(ARGV[2], ARGV[1], ARGV[3] .. struct.pack('>I8', number) .. ARGV[4])
return number
