-- Decides cells of one or several limits, each with a key of its own, all or nothing, in one step.
--
-- KEYS  one for each limit; in a cluster all of one slot
-- ARGV  verb, at, extra, and for each key: limit, drain, cell, burst, tick, n
--   verb   check | peek | upto | lease | charge | refund | cancel | reset
--   at     '' for this server's clock, otherwise the caller's time in microseconds since 1970
--   extra  lease: the largest block; cancel: the clock of the reply that counted the cells; otherwise ''
--   limit  'b<drain> <one>', a bucket: `drain` units drain in a microsecond, and `one` of them is one cell of the quota. A checked
--          cell is `cell` units, the burst `burst` units; the level drains in ticks of `tick` microseconds since 1970, unless that is 0
--   limit  'e<period> <share>' or 'E<period> <share>', an average, leaky or strict: `drain` is its period in microseconds, `cell` the
--          share of the threshold that one cell adds, `burst` the most cells that conform at once
-- Reply  the cells counted (-1: that many never conform), this clock, and for each key its time and its level after the step.
--        The caller knows the limit, and computes the remaining cells and the time of the next ones.
-- State  'time level limit'
-- Errors WRONGSTATE: the value is no state of this kind of limit. WRONGTIME: a time before 1970 or after 2112. Nothing was changed.
--
-- All numbers of a bucket are whole and below 2^53, so doubles hold them exactly; and floor(a / b) of two of them is exact. A
-- product may exceed 2^53 and be rounded, but only where it already exceeds the number it is compared with.
local call, floor, ceil, min, max = redis.call, math.floor, math.ceil, math.min, math.max
local log, exp, match, byte, format = math.log, math.exp, string.match, string.byte, string.format
local TOP = 9007199254740991
local verb, now, extra, keys = ARGV[1], tonumber(ARGV[2]), ARGV[3], #KEYS
local own = not now -- decided by this server's clock
if own then
  local time = call('TIME')
  now = time[1] * 1000000 + time[2]
end
if now < 0 or now > 4503599627370496 then return redis.error_reply('WRONGTIME a time lies before 1970 or after 2112') end

-- First pass: read each key, drain it until now, and count the cells that conform. Nothing is written.
local deciding = verb == 'check' or verb == 'peek' or verb == 'lease'
local time, level, tick, stale = {}, {}, {}, {}
local admitted, whole = TOP, true
for i = 1, keys do
  local a = 6 * i - 2
  local limit, drain, cell, burst, n = ARGV[a], ARGV[a + 1] - 0, ARGV[a + 2] - 0, ARGV[a + 3] - 0, ARGV[a + 5] - 0
  local bucket, interval = byte(limit) == 98, ARGV[a + 4] - 0
  local t, units, ahead = now, 0, 0
  if interval > 0 then t = now - now % interval end
  tick[i] = t
  local value = redis.pcall('GET', KEYS[i])
  if type(value) == 'table' then
    if not string.find(value.err, 'WRONGTYPE', 1, true) then return value end
    return redis.error_reply('WRONGSTATE no string: ' .. KEYS[i])
  end
  if value then
    local written, owed, by = match(value, '^(%d+) (%S+) (.+)$')
    written, owed = tonumber(written), tonumber(owed)
    if not owed or not (owed >= 0 and written <= TOP) or byte(by) == 98 and owed > TOP then
      return redis.error_reply('WRONGSTATE no state of a limit: ' .. KEYS[i])
    end
    if by ~= limit then
      -- By another quota: that quota's drain is applied first, and the debt of then stays, in cells.
      local kind, drain0, one0 = match(by, '^(%a)(%S+) (%S+)$')
      drain0, one0 = tonumber(drain0), tonumber(one0)
      if not drain0 or not one0 or drain0 <= 0 or one0 <= 0 or (kind == 'b') ~= bucket then
        return redis.error_reply('WRONGSTATE another kind of limit: ' .. KEYS[i])
      end
      if t > written then
        owed = bucket and max(0, owed - min(owed, (t - written) * drain0)) or owed * exp((written - t) / drain0)
        written = t
      end
      if bucket then
        local one = match(limit, ' (%S+)$') - 0
        local cells = floor(owed / one0)
        local part = owed - cells * one0
        owed = cells * one + (part > 0 and ceil(part / one0 * one) + 1 or 0)
        owed = min(TOP, owed, (TOP - written) * drain)
      else
        owed = owed * cell / one0
      end
    end
    if t < written and written - t < interval then
      -- A limit with other ticks wrote the state after this tick. At the tick, the volume that drains in between is also owed.
      owed, written = min(TOP, owed + (written - t) * drain, (TOP - t) * drain), t
    end
    if t < written then
      -- This server's clock was set back: no time has passed. A caller's time may be any, and is decided at that time.
      if own then stale[i] = true else t, ahead = written, written - t end
      units = owed
    elseif bucket then
      units = owed - (t - written) * drain
      if units < 0 then units = 0 end
    else
      units = owed * exp((written - t) / drain)
    end
  end
  time[i], level[i] = t, units
  if bucket then
    local free = burst - units - ahead * drain
    if n > 0 and n * cell > free then
      whole = false
      n = deciding and n * cell > burst and -1 or max(0, floor(free / cell))
    end
    if verb == 'lease' and n >= 0 then n = max(n, min(extra - 0, floor(free / cell / 2))) end
  elseif n > 0 then
    -- From the instant on at which they conform; the errors of the logarithms are below 2e-15 periods.
    local function conform(m)
      return m <= burst and (units == 0 or now >= t + ceil(drain * (log(units) - log(1 - m * cell) - 2e-15)))
    end
    if not conform(n) then
      whole = false
      if deciding and n > burst then
        n = -1
      else
        n = max(0, min(n, burst, floor((1 - units * exp(ahead / drain)) / cell + 1e-6)))
        while n > 0 and not conform(n) do n = n - 1 end
      end
    end
  end
  if n < admitted then admitted = n end
end
if deciding and not whole and admitted > 0 then admitted = 0 end

-- Second pass: write the keys whose level changes.
-- The denied cells of a strict average count, if it is asked alone.
local counts_denials = keys == 1 and admitted >= 0 and (deciding and verb ~= 'peek' or verb == 'upto')
local reply, recorded = { admitted, now }, TOP
for i = 1, keys do
  local a = 6 * i - 2
  local limit, drain, cell, n = ARGV[a], ARGV[a + 1] - 0, ARGV[a + 2] - 0, ARGV[a + 5] - 0
  local bucket, interval = byte(limit) == 98, ARGV[a + 4] - 0
  local t, units, before, count = time[i], level[i], level[i], 0
  if verb == 'check' then
    if whole then count = n end
  elseif verb == 'upto' or verb == 'lease' then
    count = max(0, admitted)
  elseif verb == 'charge' then
    count = n
    if bucket then count = min(n, floor(max(0, min(TOP, (TOP - t) * drain) - units) / cell)) end
    recorded = min(recorded, count)
  elseif verb == 'refund' then
    units = max(0, units - (bucket and min(TOP, n * cell) or n * cell))
  elseif verb == 'cancel' then
    -- The cells that certainly have not drained, as if they were the first to drain. So no more conforms than if they had not been counted.
    local drawn = extra - 0
    if interval > 0 then drawn = drawn - drawn % interval end
    local since = max(0, tick[i] - drawn)
    units = max(0, units - (bucket and max(0, min(TOP, n * cell) - since * drain) or n * cell * exp(-since / drain)))
  elseif verb == 'reset' then
    t, units, before = tick[i], 0, -1
  end
  if bucket then
    units = units + count * cell
  else
    -- Cells at a time before the state's time have decayed by then. An admission leaves the average at its threshold or below.
    local decayed = exp((tick[i] - t) / drain)
    if count > 0 then
      units = units + count * cell * decayed
      if verb ~= 'charge' then units = max(before, min(units, decayed)) end
    end
    if counts_denials and n > count and byte(limit) == 69 then units = units + (n - count) * cell * decayed end
    units = min(units, 1e300)
  end
  if units ~= before or stale[i] and verb ~= 'peek' then
    local rest = 0
    if units > 0 then rest = bucket and units / drain + interval or drain * (log(units) + log(drain) + 1) end
    rest = max(0, t - now + rest)
    -- A caller whose clock is up to an hour behind must not find a live key idle.
    if not own and verb ~= 'reset' then rest = rest + 3.6e9 end
    if rest > 0 then
      local state = format(bucket and '%.0f %.0f %s' or '%.0f %.17g %s', t, units, limit)
      call('SET', KEYS[i], state, 'PX', format('%.0f', ceil(rest / 1000) + 1))
    else
      call('DEL', KEYS[i])
    end
  end
  reply[2 * i + 1], reply[2 * i + 2] = t, bucket and units or format('%.17g', units)
end
if verb == 'charge' then
  reply[1] = recorded
elseif verb == 'refund' or verb == 'cancel' or verb == 'reset' then
  reply[1] = 0
end
return reply
