-- Numbers and keeps drafts, all of them or none, once for each call of a node, and tells the other nodes.
-- ARGV: 6 now, 7 the node (16 bytes), 8 the number of the call, 9 events and 10 bytes to hold, 11 since when,
-- 12 whether latest only, 13 the channel, 14 how to publish, 15 the most bytes of a message; then of each draft
-- its payload, its key, and its mark: empty, or 16 bytes of digest and 8 of fingerprint.
local REMEMBERED_MS, RECENT_SECONDS, RESULT_SECONDS, LOOK_EVERY, TOUCH_MS = 300000, 1200, 300, 64, 3600000
local number = tonumber(ARGV[8])
local count, size, before, latest = tonumber(ARGV[9]), tonumber(ARGV[10]), tonumber(ARGV[11]), ARGV[12] == '1'

local stored = redis.call('GET', KEYS[8])
if stored then
    local result = cmsgpack.unpack(stored)
    if result[1] > number then
        return redis.error_reply('STALE a later call of this node was carried out')
    elseif result[1] == number and result[2] == epoch then
        table.remove(result, 1)
        return result
    end
end

time = math.max(time, tonumber(ARGV[6]))
if time - turned >= REMEMBERED_MS then
    newer, turned = 13 - newer, time
    redis.call('DEL', KEYS[newer])
end

local function repeated(mark)
    local digest = string.sub(mark, 1, 16)
    local known = redis.call('HGET', KEYS[newer], digest) or redis.call('HGET', KEYS[13 - newer], digest)
    if known then
        return string.sub(known, 1, 8) == string.sub(mark, 17) and tonumber(string.sub(known, 9)) or 0
    end
end

-- Lets go of a value of a latest-only room.
local function remove(at, payload)
    redis.call('XDEL', KEYS[2], string.format('%d-0', at))
    total = total - #payload
end

local first, repeats, message, message_size, marked = seq + 1, {}, {}, 0, false
for index = 16, #ARGV, 3 do
    local payload, key, mark = ARGV[index], ARGV[index + 1], ARGV[index + 2]
    local known = mark ~= '' and repeated(mark)
    if known then
        repeats[#repeats + 1] = (index - 16) / 3
        repeats[#repeats + 1] = known
    else
        seq = seq + 1
        local id = string.format('%d-0', seq)
        if latest then
            local old = redis.call('HGET', KEYS[3], key)
            redis.call('XADD', KEYS[2], id, 't', time, 'k', key, 'p', payload)
            redis.call('HSET', KEYS[3], key, seq)
            if old then
                local at, _, _, value = entry_from(tonumber(old))
                if at == tonumber(old) then
                    remove(at, value)
                end
            end
        else
            redis.call('XADD', KEYS[2], id, 't', time, 'o', string.format('%d', total), 'p', payload)
        end
        total = total + #payload
        if mark ~= '' then
            redis.call('HSET', KEYS[newer], string.sub(mark, 1, 16), string.sub(mark, 17) .. string.format('%d', seq))
            marked = true
        end
        message[#message + 1] = struct.pack('>I4I4', #payload, #key) .. payload .. key
        message_size = message_size + 8 + #payload + #key
    end
end
local fresh = seq - first + 1

local function trim_latest()
    local held = redis.call('XLEN', KEYS[2])
    local least = before > 0 and math.floor(seq / LOOK_EVERY) ~= math.floor((first - 1) / LOOK_EVERY) and before or 0
    if held <= count + math.floor(count / 10) and total <= size + math.floor(size / 10) and least == 0 then
        return
    end
    local at, kept_at, key, payload = entry_from(0)
    while at and (kept_at < least or (held > 1 and (held > count or total > size))) do
        remove(at, payload)
        redis.call('HDEL', KEYS[3], key)
        held, lost = held - 1, at
        at, kept_at, key, payload = entry_from(at + 1)
    end
end

-- An entry's base is the size of all before it, so that nothing need be read to know how much is held.
local function trim()
    local floor = lost + 1
    if seq - lost > count + math.floor(count / 10) then
        floor = seq - count + 1
    end
    if total - base > size + math.floor(size / 10) then
        floor = math.max(floor, math.min(seq, first_where(function(_, o) return total - tonumber(o) <= size end)))
    end
    if before > 0 and math.floor(seq / LOOK_EVERY) ~= math.floor((first - 1) / LOOK_EVERY) then
        floor = math.max(floor, first_since(before))
    end
    if floor > lost + 1 then
        redis.call('XTRIM', KEYS[2], 'MINID', string.format('%d', floor))
        lost = floor - 1
        local at, _, o = entry_from(0)
        base = at and tonumber(o) or total
    end
end

if fresh > 0 then
    count, size = count > 0 and count or 2 ^ 53, size > 0 and size or 2 ^ 53
    if latest then trim_latest() else trim() end
    local header = struct.pack('>BBc16I8', 1, 1, ARGV[7], number) .. struct.pack('>I1', #epoch) .. epoch
    if message_size > tonumber(ARGV[15]) then
        message = {}
    end
    header = header .. struct.pack('>I8I8I8I4', first, seq, time, #message)
    redis.call(ARGV[14], ARGV[13], header .. table.concat(message))
end
-- Once an hour, not with every call: that is a quarter of what a call costs.
local due = time - touched >= TOUCH_MS
if due then
    touched = time
end
redis.call('HSET', KEYS[1], 'seq', string.format('%d', seq), 'time', string.format('%d', time), 'lost', lost,
    'base', string.format('%d', base), 'total', string.format('%d', total),
    'turned', string.format('%d', turned), 'newer', newer, 'touched', string.format('%d', touched))
for index = 1, due and 3 or 0 do
    if ttl > 0 then redis.call('EXPIRE', KEYS[index], ttl) else redis.call('PERSIST', KEYS[index]) end
end
if marked then
    redis.call('EXPIRE', KEYS[newer], RECENT_SECONDS)
end
local result = {epoch, seq, first, fresh, lost, time, repeats}
redis.call('SET', KEYS[8], cmsgpack.pack({number, unpack(result)}), 'EX', RESULT_SECONDS)
return result
