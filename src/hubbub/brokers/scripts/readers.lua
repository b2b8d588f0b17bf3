-- Answers with cursors: that of the reader ARGV[6], or, with ARGV[7], of those who moved last: reader, then cursor.
local result = {epoch, seq}
local readers = ARGV[7] == '' and {ARGV[6]}
    or tonumber(ARGV[7]) > 0 and redis.call('ZREVRANGE', KEYS[5], 0, tonumber(ARGV[7]) - 1) or {}
for _, reader in ipairs(readers) do
    result[#result + 1] = reader
    result[#result + 1] = redis.call('HGET', KEYS[4], reader)
end
return result
