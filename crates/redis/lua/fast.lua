-- Decides one batch of one bucket without ticks, by this server's clock: like `check` of meter.lua, in fewer steps.
--
-- KEYS[1]  the key
-- ARGV     limit, drain, burst, cost: as in meter.lua; cost is n * cell, at most the burst
-- Reply    1 (admitted) or 0, this clock, the level after the step
--          false, and nothing was done, if another quota or a later clock wrote the key: ask meter.lua
local value, time = redis.call('GET', KEYS[1]), redis.call('TIME')
local now, limit, drain, level = time[1] * 1000000 + time[2], ARGV[1], ARGV[2] - 0, 0
if value then
  local written, units, by = string.match(value, '^(%d+) (%d+) (.+)$')
  if by ~= limit then return false end
  local passed = now - written
  if passed < 0 then return false end
  level = units - passed * drain
  if level < 0 then level = 0 end
end
local filled = level + ARGV[4]
if filled > ARGV[3] - 0 then return { 0, now, level } end
redis.call('SET', KEYS[1], string.format('%.0f %.0f %s', now, filled, limit), 'PX', string.format('%.0f', filled / drain / 1000 + 1.5))
return { 1, now, filled }
