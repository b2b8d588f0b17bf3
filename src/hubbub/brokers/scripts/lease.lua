-- Renews the lease of a node, and answers whether it had one, and with the nodes whose leases have run out; or claims
-- one of these, and answers whether nobody else has. KEYS: 1 the leases.
-- ARGV: 1 the node, 2 milliseconds; to claim 3 which, 4 for how long.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
if ARGV[3] then
    local ends = redis.call('ZSCORE', KEYS[1], ARGV[3])
    if not ends or tonumber(ends) > now then
        return 0
    end
    redis.call('ZADD', KEYS[1], now + tonumber(ARGV[4]), ARGV[3])
    return 1
end
local ends = redis.call('ZSCORE', KEYS[1], ARGV[1])
local result = {ends and tonumber(ends) > now and 1 or 0}
redis.call('ZADD', KEYS[1], now + tonumber(ARGV[2]), ARGV[1])
for _, node in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, 16)) do
    result[#result + 1] = node
end
return result
