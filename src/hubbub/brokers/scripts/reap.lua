-- Removes all that a dead node has told of a room, and tells the other nodes that it has left.
-- KEYS: 1 the room's hash. ARGV: 1 the channel, 2 how to publish, 3 the head of the message, 4 the node, 5 the most
-- bytes of those who left; where there are more, the others are told to read all.
local left, ids = {}, {}
for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
    if field ~= '' and string.sub(field, 1, 16) == ARGV[4] then
        left[#left + 1] = field
        ids[#ids + 1] = struct.pack('>I4', #field - 16) .. string.sub(field, 17)
    end
end
if #left == 0 then
    return 0
end
for _, field in ipairs(left) do
    redis.call('HDEL', KEYS[1], field)
end
local number = redis.call('HINCRBY', KEYS[1], '', 1)
local body = table.concat(ids)
body = #body <= tonumber(ARGV[5]) and struct.pack('>BI4I4', 0, 0, #left) .. body or struct.pack('>BI4I4', 1, 0, 0)
redis.call(ARGV[2], ARGV[1], ARGV[3] .. struct.pack('>I8', number) .. body)
return #left
