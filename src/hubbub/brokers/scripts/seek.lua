-- Answers with the number of the last held entry before a time. ARGV: 6 the time, 7 up to which number, 8 since when.
local found, kept_at = entry_before(math.min(first_since(tonumber(ARGV[6])), tonumber(ARGV[7]) + 1))
return {epoch, seq, found and kept_at >= tonumber(ARGV[8]) and found or 0}
