//! The contract of the engine's CACHE commands as scripts, for other servers: same keys, same arguments, same replies.
//! What they mean is told where the commands are, in the engine.

use larder_client::Script;

/// The scripts, each made once.
pub(super) struct Scripts {
    pub(super) get: Script,
    pub(super) lease: Script,
    pub(super) fill: Script,
    pub(super) set: Script,
    pub(super) drop: Script,
    pub(super) tag: Script,
    pub(super) since: Script,
    pub(super) touch: Script,
    pub(super) note: Script,
}

/// Era and epochs of a namespace; begins an era if `seed` is given.
const META: &str = "
local function open(key, seed)
  local m = redis.call('HMGET', key, 'e', 's', 'c', 'i')
  if m[1] and m[2] and m[3] and m[4] then
    return m[1], tonumber(m[2]), tonumber(m[3]), tonumber(m[4])
  end
  if not seed then return false, 0, 0, 0 end
  redis.call('DEL', key)
  redis.call('HSET', key, 'e', seed, 's', '0', 'c', '0', 'i', '0')
  return seed, 0, 0, 0
end
local function num(n) return string.format('%.0f', n) end
local function now()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end
";

/// State, time left, bytes and stale time of an entry.
const LOOK: &str = "
local function look(key, meta, era, clear)
  local v = redis.call('GET', key)
  if not v or not era or #v < 27 then return 0, 0, false, 0 end
  if string.byte(v, 1) ~= 1 or string.sub(v, 2, 9) ~= era then return 0, 0, false, 0 end
  local seq, stale, tags = struct.unpack('>I8I8I2', string.sub(v, 10, 27))
  if seq < clear then return 0, 0, false, 0 end
  local left = math.max(redis.call('PTTL', key), 0)
  local is_stale = left <= stale
  local at = 28
  for _ = 1, tags do
    if #v < at + 1 then return 0, 0, false, 0 end
    local size = struct.unpack('>I2', string.sub(v, at, at + 1))
    if #v < at + 1 + size then return 0, 0, false, 0 end
    local t = redis.call('HGET', meta, 't' .. string.sub(v, at + 2, at + 1 + size))
    if not t then return 0, 0, false, 0 end
    local removed, expired = string.match(t, '^(%d+) (%d+) ')
    if not removed or seq < tonumber(removed) then return 0, 0, false, 0 end
    if seq < tonumber(expired) then is_stale = true end
    at = at + 2 + size
  end
  if not is_stale then return 1, left, v, stale end
  if stale == 0 then return 0, 0, false, 0 end
  return 2, math.min(left, stale), v, stale
end
";

/// Who holds an entry: a loader, or updates with their order and what waits for their end.
const HELD: &str = "
local function held(key)
  local v = redis.call('GET', key)
  if not v then return 'nobody' end
  if string.sub(v, 1, 1) ~= '!' then return 'loader', v end
  local order, first, waits = string.sub(v, 2, 2), 3, false
  if order == '3' then
    local version, ms, size = struct.unpack('>I8I8I4', string.sub(v, 3, 22))
    waits = {version, ms, string.sub(v, 23, 22 + size)}
    order, first = '2', 23 + size
  end
  local all = {}
  for at = first, #v - 15, 16 do
    local till = struct.unpack('>I8', string.sub(v, at + 8, at + 15))
    if till > now() then
      all[#all + 1] = {string.sub(v, at, at + 7), till}
    else
      order, waits = '1', false
    end
  end
  if #all == 0 then return 'nobody' end
  return 'updates', all, order, waits
end
local function hold(key, all, order, waits)
  if #all == 0 then return redis.call('DEL', key) end
  local parts, last = {'!' .. order}, 0
  if waits then parts[1] = '!3' .. struct.pack('>I8I8I4', waits[1], waits[2], #waits[3]) .. waits[3] end
  for _, guard in ipairs(all) do
    parts[#parts + 1] = guard[1] .. struct.pack('>I8', guard[2])
    last = math.max(last, guard[2])
  end
  redis.call('SET', key, table.concat(parts), 'PXAT', num(last))
end
local function interrupt(key)
  local who, all, order = held(key)
  if who ~= 'updates' then
    redis.call('DEL', key)
    return false
  end
  if order ~= '1' then hold(key, all, '1') end
  return true
end
local function is_by(key, token)
  local who, all, order = held(key)
  if who == 'loader' then return all == token end
  return who == 'updates' and order == '0' and #all == 1 and '!' .. all[1][1] == token
end
local function without(all, token)
  local rest = {}
  for _, guard in ipairs(all) do
    if guard[1] ~= token then rest[#rest + 1] = guard end
  end
  return rest
end
";

/// Tags of an entry about to be stored.
const TAGS: &str = "
local function forget(meta)
  local fields = redis.call('HRANDFIELD', meta, 3, 'WITHVALUES')
  for n = 1, #fields, 2 do
    if string.sub(fields[n], 1, 1) == 't' then
      local till = string.match(fields[n + 1], '^%d+ %d+ (%d+)$')
      if not till or tonumber(till) < now() then redis.call('HDEL', meta, fields[n]) end
    end
  end
end
local function admit(meta, current, tagged, seq, ms, first)
  local ok = true
  for n = first, #ARGV do
    local field = 't' .. ARGV[n]
    local t = redis.call('HGET', meta, field)
    local removed, expired, till
    if t then removed, expired, till = string.match(t, '^(%d+) (%d+) (%d+)$') end
    if removed then
      removed, expired, till = tonumber(removed), tonumber(expired), tonumber(till)
    else
      expired, till = 0, 0
      if tagged <= seq then removed = seq else removed = current end
    end
    if seq < removed or seq < expired then ok = false end
    if till < now() + ms then
      redis.call('HSET', meta, field, num(removed) .. ' ' .. num(expired) .. ' ' .. num(now() + ms + math.floor(ms / 2)))
    end
  end
  if #ARGV >= first then forget(meta) end
  return ok
end
local function pack(era, seq, stale, data, first)
  local parts = {string.char(1), era, struct.pack('>I8I8I2', seq, stale, #ARGV - first + 1)}
  for n = first, #ARGV do
    parts[#parts + 1] = struct.pack('>I2', #ARGV[n])
    parts[#parts + 1] = ARGV[n]
  end
  parts[#parts + 1] = data
  return table.concat(parts)
end
";

/// The change feed.
const FEED: &str = "
local function tell(log, era, seq, node, channel, keep, kind, what)
  local record = struct.pack('>I8', seq) .. node .. struct.pack('>I8', now()) .. kind .. what
  redis.call('RPUSH', log, record)
  redis.call('LTRIM', log, -tonumber(keep), -1)
  redis.call('PUBLISH', channel, era .. record)
end
";

const GET: &str = "
local era, seq, clear = open(KEYS[2], false)
local state, left, v = look(KEYS[1], KEYS[2], era, clear)
return {era, seq, state, left, v}
";

const LEASE: &str = "
local era, seq, clear = open(KEYS[2], ARGV[3])
local state, left, v = look(KEYS[1], KEYS[2], era, clear)
if state == 1 and ARGV[4] == '0' then return {era, seq, state, left, v, 0, 0} end
local who = held(KEYS[3])
if who == 'loader' then return {era, seq, state, left, v, 0, math.max(redis.call('PTTL', KEYS[3]), 1)} end
if who == 'updates' then return {era, seq, state, left, v, 0, -1} end
redis.call('SET', KEYS[3], ARGV[1], 'PX', ARGV[2])
return {era, seq, state, left, v, 1, tonumber(ARGV[2])}
";

const FILL: &str = "
local token, ms = ARGV[1], tonumber(ARGV[4])
local has_version = #token == 17 and string.sub(token, 1, 1) == '!'
if not has_version then
  if not is_by(KEYS[3], token) then return 0 end
  redis.call('DEL', KEYS[3])
end
local era, current, clear, tagged = open(KEYS[2], false)
local seq = tonumber(ARGV[3])
if era ~= ARGV[2] or seq < clear then return 0 end
if not admit(KEYS[2], current, tagged, seq, ms, 7) then return 0 end
local entry = pack(era, seq, tonumber(ARGV[5]), ARGV[6], 7)
if not has_version then
  redis.call('SET', KEYS[1], entry, 'PX', ARGV[4])
  return 1
end
local version = struct.unpack('>I8', string.sub(token, 10, 17))
local who, all, order, waits = held(KEYS[3])
if who ~= 'updates' or order == '1' then return 0 end
local rest = without(all, string.sub(token, 2, 9))
if #rest == #all then return 0 end
local highest = {version, ms, entry}
if waits and waits[1] > version then highest = waits end
if #rest > 0 then
  hold(KEYS[3], rest, '2', highest)
  return 2
end
redis.call('DEL', KEYS[3])
redis.call('SET', KEYS[1], highest[3], 'PX', num(highest[2]))
if highest[1] == version then return 1 end
return 3
";

const SET: &str = "
local era, _, _, tagged = open(KEYS[2], ARGV[1])
local seq = redis.call('HINCRBY', KEYS[2], 's', 1)
local kind, stored = 's', 1
if interrupt(KEYS[3]) then
  kind, stored = 'r', 0
  redis.call('DEL', KEYS[1])
else
  admit(KEYS[2], seq, tagged, seq, tonumber(ARGV[6]), 9)
  redis.call('SET', KEYS[1], pack(era, seq, tonumber(ARGV[7]), ARGV[8], 9), 'PX', ARGV[6])
end
tell(KEYS[4], era, seq, ARGV[2], ARGV[3], ARGV[4], kind, ARGV[5])
return {era, seq, stored}
";

const DROP: &str = "
local era, _, clear = open(KEYS[2], ARGV[1])
local mode, token = ARGV[6], ARGV[7]
local state, left, _, stale = look(KEYS[1], KEYS[2], era, clear)
if mode == 'g' then
  local who, all, order, waits = held(KEYS[3])
  if who ~= 'updates' then
    all, order, waits = {}, '0', false
  elseif order == '0' then
    order = '2'
  end
  all[#all + 1] = {token, now() + tonumber(ARGV[8])}
  hold(KEYS[3], all, order, waits)
elseif mode == 'e' then
  local who, all = held(KEYS[3])
  if who ~= 'updates' then all = {} end
  hold(KEYS[3], without(all, token), '1')
else
  interrupt(KEYS[3])
end
if mode == 'x' and state ~= 0 and stale > 0 then
  if left > stale then redis.call('PEXPIRE', KEYS[1], num(stale)) end
else
  redis.call('DEL', KEYS[1])
end
local seq = redis.call('HINCRBY', KEYS[2], 's', 1)
local kind = 'r'
if mode == 'x' then kind = 'x' end
tell(KEYS[4], era, seq, ARGV[2], ARGV[3], ARGV[4], kind, ARGV[5])
return {era, seq}
";

const TAG: &str = "
local era = open(KEYS[1], ARGV[1])
local mode = ARGV[6]
local seq
if mode == 'c' then
  seq = redis.call('HINCRBY', KEYS[1], 's', 1)
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[1], 'e', era, 's', seq, 'c', seq, 'i', seq)
  tell(KEYS[2], era, seq, ARGV[2], ARGV[3], ARGV[4], 'c', '')
  return {era, seq}
end
seq = tonumber(redis.call('HGET', KEYS[1], 's'))
for n = 7, #ARGV do
  seq = redis.call('HINCRBY', KEYS[1], 's', 1)
  local field = 't' .. ARGV[n]
  local t = redis.call('HGET', KEYS[1], field)
  local removed, expired, till
  if t then removed, expired, till = string.match(t, '^(%d+) (%d+) (%d+)$') end
  removed, expired, till = tonumber(removed or 0), tonumber(expired or 0), tonumber(till or 0)
  if mode == 'x' then expired = seq else removed = seq end
  till = math.max(till, now() + tonumber(ARGV[5]))
  redis.call('HSET', KEYS[1], 'i', seq, field, num(removed) .. ' ' .. num(expired) .. ' ' .. num(till))
  forget(KEYS[1])
  local kind = 't'
  if mode == 'x' then kind = 'u' end
  tell(KEYS[2], era, seq, ARGV[2], ARGV[3], ARGV[4], kind, ARGV[n])
end
return {era, seq}
";

const SINCE: &str = "
local era, seq = open(KEYS[1], false)
local wanted = seq - tonumber(ARGV[1])
if wanted == 0 then return {era, seq, {}} end
if wanted < 0 or wanted > redis.call('LLEN', KEYS[2]) then return {era, seq, false} end
return {era, seq, redis.call('LRANGE', KEYS[2], -wanted, -1)}
";

const TOUCH: &str = "
local era, _, clear = open(KEYS[2], false)
local state, left = look(KEYS[1], KEYS[2], era, clear)
if state ~= 1 or left >= tonumber(ARGV[1]) then return 0 end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 1
";

const NOTE: &str = "
if redis.call('GET', KEYS[1]) ~= ARGV[1] or redis.call('GET', KEYS[2]) ~= ARGV[2] then return 0 end
local last = redis.call('HGET', KEYS[3], 'n')
if last and last >= ARGV[3] then return 0 end
redis.call('HSET', KEYS[3], 'n', ARGV[3])
local pairs_end = 4 + 2 * tonumber(ARGV[4])
for n = 5, pairs_end, 2 do redis.call('HSET', KEYS[3], ARGV[n], ARGV[n + 1]) end
for n = pairs_end + 1, #ARGV do redis.call('HDEL', KEYS[3], ARGV[n]) end
return 1
";

impl Scripts {
    pub(super) fn new() -> Scripts {
        let script = |parts: &[&str]| Script::new(&parts.concat());
        Scripts {
            get: script(&[META, LOOK, GET]),
            lease: script(&[META, LOOK, HELD, LEASE]),
            fill: script(&[META, HELD, TAGS, FILL]),
            set: script(&[META, HELD, TAGS, FEED, SET]),
            drop: script(&[META, LOOK, HELD, FEED, DROP]),
            tag: script(&[META, TAGS, FEED, TAG]),
            since: script(&[META, SINCE]),
            touch: script(&[META, LOOK, TOUCH]),
            note: script(&[NOTE]),
        }
    }
}
