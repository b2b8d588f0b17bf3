-- Answers with the log's place, and with its last entries. ARGV: 6 how many, 7 of how many bytes.
if seq > 0 and ttl > 0 then
    redis.call('EXPIRE', KEYS[1], ttl)
    redis.call('EXPIRE', KEYS[2], ttl)
    redis.call('EXPIRE', KEYS[3], ttl)
elseif seq == 0 then
    redis.call('EXPIRE', KEYS[1], 86400)
end
local result, most, size = {epoch, seq, lost}, tonumber(ARGV[6]), tonumber(ARGV[7])
local tail = most > 0 and redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', most) or {}
for _, entry in ipairs(tail) do
    local fields = entry[2]
    size = size - #fields[6]
    if size < 0 then break end
    result[#result + 1] = number_of(entry)
    result[#result + 1] = tonumber(fields[2])
    result[#result + 1] = fields[3] == 'k' and fields[4] or ''
    result[#result + 1] = fields[6]
end
return result
