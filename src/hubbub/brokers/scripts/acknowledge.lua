-- Moves a reader's cursor, never back; answers with where it is. ARGV: 6 the reader, 7 the name, 8 the number, 9 the
-- most readers. A cursor is its number, a space, and the name.
-- A number of another epoch than the log's says nothing about this one.
local reader, name, at = ARGV[6], ARGV[7], epoch == ARGV[1] and math.min(tonumber(ARGV[8]), seq) or -1
local cursor = redis.call('HGET', KEYS[4], reader)
local stored = -1
if cursor then
    local space = string.find(cursor, ' ', 1, true)
    stored = tonumber(string.sub(cursor, 1, space - 1))
    name = name ~= '' and name or string.sub(cursor, space + 1)
end
if at >= 0 then
    redis.call('HSET', KEYS[4], reader, string.format('%d', math.max(at, stored)) .. ' ' .. name)
end
if at > stored and at >= 0 then
    redis.call('ZADD', KEYS[5], redis.call('HINCRBY', KEYS[1], 'stamp', 1), reader)
    local excess = redis.call('ZCARD', KEYS[5]) - tonumber(ARGV[9])
    if excess > 0 then
        local gone = redis.call('ZPOPMIN', KEYS[5], excess)
        for index = 1, #gone, 2 do
            redis.call('HDEL', KEYS[4], gone[index])
        end
    end
    for index = 4, 5 do
        if ttl > 0 then redis.call('EXPIRE', KEYS[index], ttl) else redis.call('PERSIST', KEYS[index]) end
    end
end
return {epoch, seq, math.max(at, stored, 0)}
