-- Before every script: finds the room's log, or begins a new one where the log that the node knows is lost.
-- KEYS: 1 meta, 2 log, 3 values, 4 readers, 5 order, 6 and 7 recent, 8 result.
-- ARGV: 1 the epoch and 2 the head that the node knows, 3 the server's identity, 4 an epoch to take, 5 seconds to live.
local epoch, seq, server, time, lost, base, total, turned, newer, touched = unpack(redis.call(
    'HMGET', KEYS[1], 'epoch', 'seq', 'server', 'time', 'lost', 'base', 'total', 'turned', 'newer', 'touched'))
seq, time, lost = tonumber(seq or 0), tonumber(time or 0), tonumber(lost or 0)
base, total = tonumber(base or 0), tonumber(total or 0)
turned, newer, touched = tonumber(turned or 0), tonumber(newer or 6), tonumber(touched or 0)
local ttl = tonumber(ARGV[5])

-- What was lost with a server must not be numbered again under the same epoch.
if not epoch or server ~= ARGV[3] or (epoch == ARGV[1] and seq < tonumber(ARGV[2])) then
    redis.call('DEL', unpack(KEYS))
    epoch, seq, time, lost, base, total, turned, newer, touched = ARGV[4], 0, 0, 0, 0, 0, 0, 6, 0
    redis.call('HSET', KEYS[1], 'epoch', epoch, 'seq', 0, 'server', ARGV[3])
    redis.call('EXPIRE', KEYS[1], 86400)
end

local function number_of(entry)
    return tonumber(string.match(entry[1], '^%d+'))
end

-- The first held entry from a number on: its number, time, third value (base or key) and payload.
local function entry_from(number)
    local entry = redis.call('XRANGE', KEYS[2], string.format('%d', number), '+', 'COUNT', 1)[1]
    if entry then
        return number_of(entry), tonumber(entry[2][2]), entry[2][4], entry[2][6]
    end
end

-- The last held entry before a number: its number and time.
local function entry_before(number)
    local entry = redis.call('XREVRANGE', KEYS[2], string.format('%d', number - 1), '-', 'COUNT', 1)[1]
    if entry then
        return number_of(entry), tonumber(entry[2][2])
    end
end

-- The smallest number from which on all entries satisfy `is_behind(time, base)`; those before do not.
local function first_where(is_behind)
    local low, high = entry_from(0) or seq + 1, seq + 1
    while low < high do
        local middle = math.floor((low + high) / 2)
        local number, kept_at, third = entry_from(middle)
        if not number or is_behind(kept_at, third) then
            high = middle
        else
            low = number + 1
        end
    end
    return low
end

local function first_since(since)
    return first_where(function(kept_at) return kept_at >= since end)
end
