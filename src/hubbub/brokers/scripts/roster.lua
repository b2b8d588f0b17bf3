-- Answers with the number of the last change, and with all that nodes have told of a room. KEYS: 1 the room's hash.
local number, all = 0, redis.call('HGETALL', KEYS[1])
local others = {}
for index = 1, #all, 2 do
    if all[index] == '' then
        number = tonumber(all[index + 1])
    else
        others[#others + 1] = all[index]
        others[#others + 1] = all[index + 1]
    end
end
if number > 0 then
    redis.call('EXPIRE', KEYS[1], 604800)
end
return {number, others}
