-- Answers with entries, and whether none is missing before them. Writes nothing, so that a full Redis can be read.
-- ARGV: 6 behind which number, 7 up to which, 8 since when, 9 how many, 10 how many bytes, 11 whether latest only.
local after, upper, before = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local limit, size, latest = tonumber(ARGV[9]), tonumber(ARGV[10]), ARGV[11] == '1'
local start, kept_at = entry_from(0)
local missing = latest and lost or (start or seq + 1) - 1
if not start then
    missing = seq
elseif before > 0 and kept_at < before then
    start = first_since(before)
    missing = latest and math.max(missing, entry_before(start) or 0) or start - 1
end
local result = {epoch, seq, missing <= after and 1 or 0, missing}
local from, done = math.max(after + 1, start or 1), limit <= 0
while not done do
    local chunk = redis.call('XRANGE', KEYS[2], string.format('%d', from), string.format('%d', upper), 'COUNT',
        math.min(limit, 100))
    done = #chunk == 0
    for _, entry in ipairs(chunk) do
        local fields = entry[2]
        size, limit = size - #fields[6], limit - 1
        if size < 0 and #result > 4 then
            return result
        end
        from = number_of(entry) + 1
        result[#result + 1] = from - 1
        result[#result + 1] = tonumber(fields[2])
        result[#result + 1] = fields[3] == 'k' and fields[4] or ''
        result[#result + 1] = fields[6]
        if limit == 0 then
            return result
        end
    end
end
return result
