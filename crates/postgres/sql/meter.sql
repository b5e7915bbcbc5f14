-- Rate limits in PostgreSQL 13 and later: exact decisions, one round trip each, from any language that speaks SQL. No extension.
--
--   SELECT * FROM meter.allow('alice', '100/min burst 20');                    -- a bucket: allowed, remaining, retry_after, rest_after
--   SELECT * FROM check_rate_limit('alice', 1.0, 10.0, INTERVAL '1 minute');   -- an average: allowed, next_allowed_time, rate
--
-- Install: psql -1 -f meter.sql. Running the file again upgrades the functions and keeps the tables. If the result of a function has another type
-- than before, the function is dropped and made anew. Then its grants are lost, and a call in flight at the commit may fail once. If a column has another
-- meaning, all rows are rewritten: calls wait for the commit, and each call that waits fails once (error 42703, nothing is counted).
--
-- Call a function in FROM, as above: `SELECT (meter.allow(..)).*` calls it once for each of its columns, and each call counts.
--
-- Call each decision in a transaction of its own, READ COMMITTED. An admission locks the row of its key until the commit, and a rollback undoes the
-- admission. Under REPEATABLE READ a lost race is error 40001: try again. A long transaction in the same database, such as pg_dump, keeps all
-- versions of a hot key's row, and each call reads them. So keep hot keys in a database of their own.
--
-- Roles that call need USAGE on schema meter and SELECT, INSERT, UPDATE on its tables; `meter.sweep` needs DELETE.
--
-- On the usual path, a function assigns the result of a call, `c := meter.check(..)`: a SELECT from the call would start the executor once more.
--
-- Every operator and function is that of pg_catalog, unless a search path names pg_catalog after another schema. PostgreSQL takes one of the exact
-- types from any schema before one of its own that needs a conversion. So conversions are explicit, and functions of polymorphic types are
-- qualified. Numbers beside `numeric` or `double precision` are quoted: a quoted number takes the type of the other operand. SET search_path would
-- do the same, at 10 % of a call.
--
-- Contents: tables, clock, quota text, check, decide (all verbs, several limits), change, check_all, allow, averages, sweep.

DO $$ BEGIN
  IF current_setting('server_version_num')::int < 130000 THEN
    RAISE EXCEPTION 'rate limits need PostgreSQL 13 or later, this is %', current_setting('server_version');
  END IF;
  -- One install at a time.
  PERFORM pg_advisory_xact_lock(hashtext('ratelimit_meter.install')::bigint);
  -- IF NOT EXISTS would need CREATE on the database even if the schema exists.
  IF to_regnamespace('meter') IS NULL THEN
    CREATE SCHEMA meter;
  END IF;
END $$;

--------------------------------------------------------------------------------------------------------------------------- tables

-- The state of each key of a bucket: the time `t` of its last step, in microseconds since 1970, and the mark up to which the bucket was filled.
-- `drain` units drain in a microsecond, and `one` unit count is one cell of the quota. The mark is the level at `t` plus `meter.drained(t, drain)`,
-- so while time passes it stays as it is. An idle key needs no row.
-- `keep`: how many microseconds `meter.sweep` keeps a row that owes nothing; the longest tick of its quotas, and more if callers gave
-- the time.
--
-- UNLOGGED: a crash of the server forgets all states, and replicas have none. ALTER TABLE meter.bucket SET LOGGED to keep them.
-- Only the key is indexed and half of each page stays free, so that an update stays on its page (heap-only).
-- Comparisons with a key name its collation: an argument may come from a column with another one.
CREATE UNLOGGED TABLE IF NOT EXISTS meter.bucket (
  key text COLLATE "C" PRIMARY KEY,
  t bigint NOT NULL,
  mark bigint NOT NULL,
  drain bigint NOT NULL,
  one bigint NOT NULL,
  keep bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);

-- Returns the units that drain from 1970 to the time `t`, which fit until the year 2262. From 1000 units a microsecond on, their number is left out, since
-- it would not fit: the mark of such a bucket is its level.
CREATE OR REPLACE FUNCTION meter.drained(t bigint, drain bigint) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT CASE WHEN drain < 1000 THEN t * drain ELSE 0 END
$$;

-- Earlier files kept the level instead of the mark.
DO $$ BEGIN
  IF EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'meter.bucket'::regclass::oid AND attname = 'level' AND NOT attisdropped) THEN
    ALTER TABLE meter.bucket RENAME level TO mark;
    UPDATE meter.bucket SET mark = mark + meter.drained(t, drain) WHERE drain < 1000;
  END IF;
END $$;

-- The state of each key of an average: `level` at time `t` as a share of the threshold. The limit that wrote the row is its period in microseconds
-- and the share that one cell adds.
CREATE UNLOGGED TABLE IF NOT EXISTS meter.average (
  key text COLLATE "C" PRIMARY KEY,
  t bigint NOT NULL,
  level double precision NOT NULL,
  period double precision NOT NULL,
  share double precision NOT NULL,
  keep bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);

---------------------------------------------------------------------------------------------------------------------------- clock

-- Reads the server's clock in microseconds since 1970; exact in a double until 2106. (now() is when the transaction began.)
CREATE OR REPLACE FUNCTION meter.clock() RETURNS bigint LANGUAGE sql VOLATILE PARALLEL SAFE AS $$
  SELECT (date_part('epoch', clock_timestamp()) * '1000000')::bigint
$$;

----------------------------------------------------------------------------------------------------------------------- quota text

-- Returns the largest fraction a/b <= p/q with b <= most: a walk down the Stern-Brocot tree in whole runs.
CREATE OR REPLACE FUNCTION meter.best_at_most(p numeric, q numeric, most numeric, OUT a numeric, OUT b numeric)
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
  whole numeric := div(p, q);
  -- low <= p/q < high once the whole part is off, and low and high are neighbours in the tree.
  low_a numeric := 0; low_b numeric := 1;
  high_a numeric := 1; high_b numeric := 1;
  below numeric; above numeric; run numeric;
BEGIN
  p := p - whole * q;
  LOOP
    below := p * low_b - low_a * q;
    above := high_a * q - p * high_b;
    EXIT WHEN below = '0' OR low_b + high_b > most;
    run := least(div(below, above), div(most - low_b, high_b));
    low_a := low_a + run * high_a; low_b := low_b + run * high_b;
    below := p * low_b - low_a * q;
    EXIT WHEN below = '0' OR low_b + high_b > most;
    -- As far down as `high` stays above p/q.
    run := least(div(above - '1', below), div(most - high_b, low_b));
    EXIT WHEN run = '0';
    high_a := high_a + run * low_a; high_b := high_b + run * low_b;
  END LOOP;
  a := low_a + whole * low_b; b := low_b;
END $$;

-- Reads a number as people type it, '1_000', '1.5' or '10k', as a fraction in lowest terms. With `suffix` false it may not end in k, M or G.
CREATE OR REPLACE FUNCTION meter.read_number(word text, suffix boolean, OUT a numeric, OUT b numeric)
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
  parts text[] := regexp_match(word, '^([0-9](?:[0-9_]*(?:[.][0-9_]*)?[0-9])?)([kKMG]?)$');
  digits text := replace(parts[1], '_', '');
  common numeric;
BEGIN
  IF parts IS NULL OR parts[2] <> '' AND NOT suffix THEN
    RAISE EXCEPTION 'expected a number like 100, not %', quote_literal(word) USING ERRCODE = '22023';
  ELSIF length(split_part(digits, '.', 2)) > 19 OR length(ltrim(split_part(digits, '.', 1), '0')) > 20 THEN
    RAISE EXCEPTION 'expected a number of fewer digits than %', quote_literal(word) USING ERRCODE = '22023';
  END IF;
  b := ('1' || repeat('0', length(split_part(digits, '.', 2))))::numeric;
  a := trunc(digits::numeric * b) * CASE parts[2] WHEN '' THEN 1::numeric WHEN 'M' THEN 1000000 WHEN 'G' THEN 1000000000 ELSE 1000 END;
  common := gcd(a, b);
  a := div(a, common); b := div(b, common);
END $$;

-- Reads a unit of time or a number of it, '2s', '1.5min' or 'second', in nanoseconds.
CREATE OR REPLACE FUNCTION meter.read_time(word text) RETURNS numeric LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
  parts text[] := regexp_match(word, '^([0-9._]*)(.*)$');
  unit numeric := CASE
    WHEN lower(parts[2] COLLATE "C") IN ('w', 'week', 'weeks') THEN 604800000000000
    WHEN lower(parts[2] COLLATE "C") IN ('d', 'day', 'days') THEN 86400000000000
    WHEN lower(parts[2] COLLATE "C") IN ('h', 'hr', 'hrs', 'hour', 'hours') THEN 3600000000000
    WHEN lower(parts[2] COLLATE "C") IN ('min', 'm', 'mins', 'minute', 'minutes') THEN 60000000000
    WHEN lower(parts[2] COLLATE "C") IN ('s', 'sec', 'secs', 'second', 'seconds') THEN 1000000000
    WHEN lower(parts[2] COLLATE "C") IN ('ms', 'millisecond', 'milliseconds') THEN 1000000
    WHEN lower(parts[2] COLLATE "C") IN ('us', 'microsecond', 'microseconds') THEN 1000
    WHEN lower(parts[2] COLLATE "C") IN ('ns', 'nanosecond', 'nanoseconds') THEN 1
    -- The micro sign, in any encoding of the database.
    WHEN encode(pg_catalog.convert_to(parts[2], 'UTF8'), 'hex') IN ('c2b573', 'c2b553') THEN 1000 END;
  number record;
BEGIN
  IF unit IS NULL THEN
    RAISE EXCEPTION 'expected a unit of time, ns, us, ms, s, min, h, d or w, in %', quote_literal(word) USING ERRCODE = '22023';
  ELSIF parts[1] = '' THEN
    RETURN unit;
  END IF;
  SELECT * INTO number FROM meter.read_number(parts[1], false);
  IF number.a * unit % number.b <> '0' THEN
    RAISE EXCEPTION 'expected a whole number of nanoseconds, not %', quote_literal(word) USING ERRCODE = '22023';
  END IF;
  RETURN div(number.a * unit, number.b);
END $$;

-- Reads any quota text. `meter.units` reads the usual texts itself, and calls this function for all other texts.
CREATE OR REPLACE FUNCTION meter.read_quota(quota text,
  OUT drain bigint, OUT one bigint, OUT cell bigint, OUT burst bigint, OUT tick bigint, OUT exact boolean)
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
  most CONSTANT numeric := 4503599627370496;
  blanks CONSTANT text := E' \t\n\r\f\v';
  -- The words after the slash: the period first. A number and its unit are one word there and after `every`,
  -- though blanks may part them. Strings with backslashes are E'': a setting of the session
  -- changes the meaning of plain ones.
  words text[] := regexp_split_to_array(
    regexp_replace(btrim(substr(quota, strpos(quota, '/') + 1), blanks), E'(^|\\severy\\s+)([0-9._]+)\\s+(?!(?:burst|weight|every)\\M)(?=[^0-9._\\s])', E'\\1\\2', 'gi'), E'\\s+');
  seen text[] := '{}'; name text;
  value record;
  cells numeric; period numeric; capacity numeric; weight numeric := 1; interval_ns numeric; divisor numeric; a numeric; b numeric;
BEGIN
  IF strpos(quota, '/') = 0 AND strpos(lower(quota COLLATE "C"), ' per ') > 0 THEN
    SELECT * INTO drain, one, cell, burst, tick, exact
      FROM meter.read_quota(overlay(quota PLACING '/' FROM strpos(lower(quota COLLATE "C"), ' per ') FOR 5));
    RETURN;
  ELSIF strpos(quota, '/') = 0 THEN
    RAISE EXCEPTION 'expected cells per period like 100/min, not %', quote_literal(quota) USING ERRCODE = '22023';
  END IF;
  SELECT * INTO value FROM meter.read_number(btrim(split_part(quota, '/', 1), blanks), true);
  cells := value.a; -- 1.5/s is 3/2s
  period := meter.read_time(words[1]) * value.b;
  FOR i IN 2 .. pg_catalog.cardinality(words) BY 2 LOOP
    name := lower(words[i] COLLATE "C");
    IF name = ANY (seen) THEN
      RAISE EXCEPTION '% is given twice in %', words[i], quote_literal(quota) USING ERRCODE = '22023';
    END IF;
    seen := pg_catalog.array_append(seen, name);
    IF name IN ('burst', 'weight') AND i < pg_catalog.cardinality(words) THEN
      SELECT * INTO value FROM meter.read_number(words[i + 1], true);
      IF value.b <> '1' THEN
        RAISE EXCEPTION 'expected a whole number, not % in %', words[i + 1], quote_literal(quota) USING ERRCODE = '22023';
      END IF;
      IF name = 'burst' THEN capacity := value.a; ELSE weight := value.a; END IF;
    ELSIF name = 'every' AND i < pg_catalog.cardinality(words) THEN
      interval_ns := meter.read_time(words[i + 1]);
    ELSE
      RAISE EXCEPTION 'expected burst, weight or every and a value, not % in %', words[i], quote_literal(quota) USING ERRCODE = '22023';
    END IF;
  END LOOP;
  capacity := coalesce(capacity, cells);
  IF least(cells, capacity, weight) < '1' OR greatest(cells, capacity, weight) > '4294967295' THEN
    RAISE EXCEPTION 'expected numbers from 1 to 4294967295 in %', quote_literal(quota) USING ERRCODE = '22023';
  ELSIF period > '18446744073709551615' THEN
    RAISE EXCEPTION 'expected a period of at most 200 years in %', quote_literal(quota) USING ERRCODE = '22023';
  ELSIF period < '1' THEN
    RAISE EXCEPTION 'a period of zero leaves the rate unlimited: %', quote_literal(quota) USING ERRCODE = '22023';
  ELSIF cells * '1000000000' > '4294967296' * period THEN
    RAISE EXCEPTION 'more than 4294967296 cells a second: %', quote_literal(quota) USING ERRCODE = '22023';
  ELSIF weight > capacity THEN
    RAISE EXCEPTION 'a cell of weight % never fits a burst of % in %', weight, capacity, quote_literal(quota) USING ERRCODE = '22023';
  ELSIF interval_ns < '1000' OR interval_ns % '1000' <> '0' OR interval_ns > most * '1000' THEN
    RAISE EXCEPTION 'a refill interval is a whole number of microseconds up to 142 years, not so in %', quote_literal(quota)
      USING ERRCODE = '22023';
  END IF;
  divisor := gcd('1000' * cells, period);
  a := '1000' * cells / divisor; b := period / divisor;
  exact := b * capacity <= most;
  IF NOT exact THEN
    SELECT f.a, f.b INTO a, b FROM meter.best_at_most(a, b, div(most, capacity)) f;
  END IF;
  IF a < '1' THEN
    RAISE EXCEPTION 'a full burst takes more than 142 years to drain; use a smaller burst than in %', quote_literal(quota)
      USING ERRCODE = '22023';
  END IF;
  drain := a; one := b; cell := b * weight; burst := b * capacity; tick := coalesce(interval_ns / '1000', 0);
END $$;

-- Returns the numbers of a quota, like '100/min burst 20 weight 2 every 1s'. They are the units that drain in a microsecond, the units of one cell,
-- of one checked cell (with its weight) and of the burst. Further the refill interval in microseconds (0: none), and whether the rate is exact. If
-- the exact numbers are too large, the rate is the next lower one that fits, short by less than burst / 2^52 of it.
--
-- Reads the usual texts, '100/min' and '100/min burst 20', in a tenth of the time: without regular expression captures and without `numeric`.
CREATE OR REPLACE FUNCTION meter.units(quota text,
  OUT drain bigint, OUT one bigint, OUT cell bigint, OUT burst bigint, OUT tick bigint, OUT exact boolean)
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
  words text[] COLLATE "C" := string_to_array(quota COLLATE "C", ' ');
  rate text[] COLLATE "C" := string_to_array(words[1], '/');
  period bigint := CASE rate[2] WHEN 's' THEN 1000000 WHEN 'min' THEN 60000000 WHEN 'h' THEN 3600000000 WHEN 'd' THEN 86400000000 END;
BEGIN
  IF pg_catalog.cardinality(rate) = 2 AND rate[1] ~ '^[1-9][0-9]{0,8}$' AND period > 0
    AND (pg_catalog.cardinality(words) = 1 OR pg_catalog.cardinality(words) = 3 AND words[2] = 'burst' AND words[3] ~ '^[1-9][0-9]{0,8}$') THEN
    drain := rate[1]; burst := coalesce(words[3], rate[1]);
    one := period / gcd(drain, period);
    IF burst <= 4503599627370496 / one THEN
      drain := drain / (period / one); cell := one; burst := burst * one; tick := 0; exact := true;
      RETURN;
    END IF;
  END IF;
  SELECT * INTO drain, one, cell, burst, tick, exact FROM meter.read_quota(quota COLLATE "C");
END $$;

---------------------------------------------------------------------------------------------------------------------------- check

-- Counts `cost` units of a bucket if the level then is at most `burst`, all or nothing. Returns the time of the decision, and the level
-- that is owed at `t` after it. From these a client computes the rest exactly:
--   remaining = (burst - level) / cell                     rounded down
--   denied until t + (level + cost - burst) / drain        rounded up to a microsecond, then to a tick
-- A batch above the burst is denied (for ever), one of 0 conforms and changes nothing.
--
-- An admission is one update. A denial reads twice; it locks and writes nothing.
DO $$ BEGIN
  IF to_regtype('meter.decision') IS NULL THEN
    CREATE TYPE meter.decision AS (admitted boolean, clock bigint, t bigint, level bigint);
  END IF;
  -- Earlier files had output parameters, a type that cannot be replaced.
  IF EXISTS (SELECT FROM pg_proc WHERE oid = to_regprocedure('meter.check(text, bigint, bigint, bigint, bigint, bigint)')::oid
    AND prorettype = 'record'::regtype::oid) THEN
    DROP FUNCTION meter.check(text, bigint, bigint, bigint, bigint, bigint);
  END IF;
END $$;
CREATE OR REPLACE FUNCTION meter.check(key text, cost bigint, drain bigint, one bigint, burst bigint, tick bigint DEFAULT 0) RETURNS meter.decision
LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_variable
DECLARE
  clock bigint; drained bigint; room bigint; t bigint; level bigint;
  d meter.decision;
BEGIN
  -- PostgreSQL sets up each operator and each output column in every call, and once more if the row is contended. So the usual way has few. After the
  -- update the row is locked until the commit: the update returns the whole decision, and no more than one comparison follows.
  IF cost > 0 AND tick = 0 AND cost <= burst AND burst <= 4503599627370496 THEN
    LOOP
      clock := meter.clock();
      -- If another call holds the row, this one waits for it, and PostgreSQL evaluates the expressions again on the new row. Its time may
      -- be later than the clock read above: `t` never goes back here, and no volume drains before that time.
      IF drain < 1000 THEN
        drained := clock * drain;
        room := drained + burst - cost;
        UPDATE meter.bucket b SET t = greatest(b.t, clock), mark = cost + greatest(b.mark, drained)
          WHERE b.key = key COLLATE "C" AND b.drain = drain AND b.one = one AND b.mark <= room
          RETURNING true, b.t, b.t, b.mark - drained INTO d;
      ELSE
        -- The mark is the level. No product overflows. A plan must not divide by the argument, which may be zero; `b.drain` is at least 1.
        drained := 0;
        UPDATE meter.bucket b
          SET t = greatest(b.t, clock), mark = cost + greatest(0, b.mark - least(greatest(clock - b.t, 0), 9223372036854775807 / b.drain) * drain)
          WHERE b.key = key COLLATE "C" AND b.drain = drain AND b.one = one AND (b.mark - burst + cost + drain - 1) / drain <= clock - b.t
          RETURNING true, b.t, b.t, b.mark INTO d;
      END IF;
      IF d.t <= clock THEN RETURN d; END IF;
      IF FOUND THEN
        level := d.level + drained - meter.drained(d.t, drain);
        -- Another call was faster, unless the clock was set back.
        IF meter.clock() >= d.t THEN RETURN (true, d.t, d.t, level)::meter.decision; END IF;
        -- No time has passed, and the state moves to the time of now.
        UPDATE meter.bucket b SET t = clock, mark = level + drained WHERE b.key = key COLLATE "C";
        RETURN (true, clock, clock, level)::meter.decision;
      END IF;

      SELECT b.t, CASE WHEN b.drain = drain AND b.one = one THEN b.mark - meter.drained(b.t, drain) END INTO t, level FROM meter.bucket b WHERE b.key = key COLLATE "C";
      IF NOT FOUND THEN
        EXIT WHEN (key IS NOT NULL AND one > 0 AND drain BETWEEN 1 AND 4503599627370496) IS NOT TRUE;
        INSERT INTO meter.bucket VALUES (key, clock, drained + cost, drain, one) ON CONFLICT DO NOTHING;
        IF FOUND THEN RETURN (true, clock, clock, cost)::meter.decision; END IF;
        -- Another call inserted the key first.
      ELSE
        -- The clock is read after the row, so that a row of a later time shows that the clock was set back.
        clock := meter.clock();
        EXIT WHEN clock < t OR level IS NULL; -- the clock was set back, or another quota wrote the row
        level := greatest(0, level - least(clock - t, level / drain + 1) * drain);
        IF level > burst - cost THEN RETURN (false, clock, clock, level)::meter.decision; END IF;
        -- The cells conform by now.
      END IF;
      -- Try again. Each round is another call's admission, or time that passed. After a few rounds the lock decides. It also finds that this role cannot
      -- change the row. `tick`, which is zero here, counts the rounds: PostgreSQL would set up another variable in each call.
      tick := tick + 1;
      EXIT WHEN tick > 8;
    END LOOP;
    tick := 0;
  END IF;
  -- Another quota wrote the row, the clock was set back, the level drains in ticks, the row changes often, or the numbers are unusual.
  SELECT coalesce(r.admitted = cost, false), r.clock, r.ts[1], r.levels[1] INTO d
    FROM meter.decide('check', ARRAY[key], ARRAY[cost], ARRAY[drain], ARRAY[one], ARRAY[1::bigint], ARRAY[burst], ARRAY[tick]) r;
  RETURN d;
END $$;

--------------------------------------------------------------------------------------------------------------------------- decide

-- Decides one step on several limits, all or nothing. The arrays have one element per limit; the keys ascend as bytes. All callers lock
-- in that order, so that no two of them wait for each other.
--
--   verb    check     counts all cells if they conform, otherwise none
--           peek      decides like check and changes nothing
--           upto      counts as many cells as conform on every limit
--           lease     counts n cells if they conform; up to `a` if there are more, but at most half of those that conform
--           charge    counts all cells, into debt if need be
--           refund    gives n cells back
--           cancel gives back those of n cells counted at the time `a` that certainly remain
--           reset cancels the debt
--   ns      cells of each limit
--   at      the time if the caller gives it: times may come in any order, each is decided as if it were that time
--   periods, shares, stricts: for averages, of which `bursts` is the largest batch and the other numbers are null. Denied cells of a strict
--           average count, if it is the only limit
--
-- Returns the smallest number of cells that were counted (peek: that would be; null: never), the time, and the state of each limit after
-- the step: the time and the level, in `levels` of a bucket and in `loads` of an average.
--
-- The first pass reads without locks, and is the last if nothing is to be written: a denial. The second pass locks and decides again.
CREATE OR REPLACE FUNCTION meter.decide(verb text, keys text[], ns bigint[],
  drains bigint[], ones bigint[], cells bigint[], bursts bigint[], ticks bigint[], a bigint DEFAULT 0, at bigint DEFAULT NULL,
  periods double precision[] DEFAULT NULL, shares double precision[] DEFAULT NULL, stricts boolean[] DEFAULT NULL,
  OUT admitted bigint, OUT clock bigint, OUT ts bigint[], OUT levels bigint[], OUT loads double precision[])
LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_variable
DECLARE
  top CONSTANT bigint := 9007199254740991; -- 2^53 - 1: the largest level
  m int := pg_catalog.cardinality(keys);
  takes boolean := verb IN ('check', 'upto', 'lease', 'charge'); -- needs a row to write to
  all_or_nothing boolean := verb IN ('check', 'peek', 'lease');
  locked boolean := false;
  whole boolean; changed boolean[]; any_changed boolean;
  buckets meter.bucket[]; b meter.bucket; averages meter.average[]; v meter.average;
  tick_at bigint[]; t bigint; level bigint; load double precision; decay double precision; stale boolean[];
  n bigint; most bigint; free bigint; room bigint; count bigint; recorded bigint; after bigint; load_after double precision; keep bigint;
  tries int;
BEGIN
  IF takes IS NULL OR NOT takes AND verb NOT IN ('peek', 'refund', 'cancel', 'reset') THEN
    RAISE EXCEPTION 'unknown verb %: expected check, peek, upto, lease, charge, refund, cancel or reset', quote_nullable(verb) USING ERRCODE = '22023';
  ELSIF coalesce(m, 0) < 1 OR (pg_catalog.cardinality(ns), pg_catalog.cardinality(drains), pg_catalog.cardinality(ones)) IS DISTINCT FROM (m, m, m)
    OR (pg_catalog.cardinality(cells), pg_catalog.cardinality(bursts), pg_catalog.cardinality(ticks)) IS DISTINCT FROM (m, m, m)
    OR periods IS NOT NULL AND (pg_catalog.cardinality(periods), pg_catalog.cardinality(shares), pg_catalog.cardinality(stricts)) IS DISTINCT FROM (m, m, m) THEN
    RAISE EXCEPTION 'expected arrays of one element per limit' USING ERRCODE = '22023';
  END IF;
  FOR i IN 1 .. m LOOP
    IF i > 1 AND (keys[i] COLLATE "C" > keys[i - 1] COLLATE "C") IS NOT TRUE THEN
      RAISE EXCEPTION 'expected keys in ascending order of their bytes' USING ERRCODE = '22023';
    ELSIF (keys[i] IS NOT NULL AND ns[i] >= 0 AND a >= 0 AND CASE WHEN periods[i] IS NULL
        THEN drains[i] BETWEEN 1 AND top AND ones[i] > 0 AND cells[i] > 0 AND bursts[i] BETWEEN cells[i] AND 4503599627370496
          AND ticks[i] BETWEEN 0 AND 4503599627370496
        ELSE periods[i] > '0' AND periods[i] <= '1e16' AND shares[i] > '0' AND shares[i] <= '1' AND bursts[i] >= 0 AND stricts[i] IS NOT NULL
        END) IS NOT TRUE THEN
      RAISE EXCEPTION 'limit % (key %) has numbers that no meter has: take them from meter.units', i, quote_nullable(keys[i]) USING ERRCODE = '22023';
    END IF;
  END LOOP;
  IF at NOT BETWEEN 0 AND 4503599627370496 THEN
    RAISE EXCEPTION 'a time lies before 1970 or after 2112' USING ERRCODE = '22008';
  END IF;

  LOOP
    -- Read the rows, in the second pass under their locks.
    FOR i IN 1 .. m LOOP
      tries := 0;
      IF periods[i] IS NULL THEN
        LOOP
          IF locked THEN SELECT * INTO b FROM meter.bucket r WHERE r.key = keys[i] COLLATE "C" FOR UPDATE;
          ELSE SELECT * INTO b FROM meter.bucket r WHERE r.key = keys[i] COLLATE "C";
          END IF;
          EXIT WHEN FOUND OR NOT locked OR NOT takes OR tries > 8;
          INSERT INTO meter.bucket VALUES (keys[i], 0, 0, drains[i], ones[i]) ON CONFLICT DO NOTHING;
          tries := tries + 1;
        END LOOP;
        buckets[i] := b;
      ELSE
        LOOP
          IF locked THEN SELECT * INTO v FROM meter.average r WHERE r.key = keys[i] COLLATE "C" FOR UPDATE;
          ELSE SELECT * INTO v FROM meter.average r WHERE r.key = keys[i] COLLATE "C";
          END IF;
          EXIT WHEN FOUND OR NOT locked OR NOT takes OR tries > 8;
          INSERT INTO meter.average VALUES (keys[i], 0, 0, periods[i], shares[i]) ON CONFLICT DO NOTHING;
          tries := tries + 1;
        END LOOP;
        averages[i] := v;
      END IF;
      IF tries > 8 AND NOT FOUND THEN
        RAISE EXCEPTION 'this role can neither change nor insert the row of key %: see the row security policies, triggers and rules of the tables of schema meter',
          quote_literal(keys[i]) USING ERRCODE = '55000';
      END IF;
    END LOOP;
    clock := coalesce(at, meter.clock());
    admitted := 9223372036854775807; whole := true; levels := pg_catalog.array_fill(NULL::bigint, ARRAY[m]); loads := pg_catalog.array_fill(NULL::double precision, ARRAY[m]);

    -- The states as they are now, and how many cells conform on every limit.
    FOR i IN 1 .. m LOOP
      n := ns[i];
      tick_at[i] := clock; stale[i] := false;
      IF periods[i] IS NULL THEN
        IF ticks[i] > 0 THEN tick_at[i] := clock - clock % ticks[i]; END IF;
        b := buckets[i]; t := tick_at[i]; level := 0;
        IF b.key IS NOT NULL THEN
          t := b.t; level := b.mark - meter.drained(b.t, b.drain);
          IF tick_at[i] > t THEN
            level := greatest(0, level - least(tick_at[i] - t, level / b.drain + 1) * b.drain); t := tick_at[i];
          END IF;
          IF b.drain <> drains[i] OR b.one <> ones[i] THEN
            -- By another quota: the debt stays, in cells, rounded up by at most two units.
            level := least(top, (level / b.one)::numeric * ones[i]::numeric
              + CASE WHEN level % b.one > 0 THEN div((level % b.one)::numeric * ones[i]::numeric + (b.one - 1)::numeric, b.one::numeric) + '1' ELSE 0 END);
          END IF;
          IF t - tick_at[i] BETWEEN 1 AND ticks[i] - 1 THEN
            -- The row was written after this tick. At the tick, the volume that drains in between is also owed.
            level := least(top, level::numeric + (t - tick_at[i])::numeric * drains[i]::numeric); t := tick_at[i];
          ELSIF t > tick_at[i] AND at IS NULL THEN
            -- The server's clock was set back: no time has passed.
            t := tick_at[i]; stale[i] := true;
          END IF;
          level := least(level, CASE WHEN drains[i] = 1 THEN top - t ELSE top END);
        END IF;
        levels[i] := level;
        -- Before the time of the row more is owed than at it.
        free := greatest(0, bursts[i] - level - least(t - tick_at[i], top / drains[i] + 1) * drains[i]) / cells[i];
        room := least(n, free);
        IF verb = 'lease' THEN room := greatest(room, least(a, free / 2)); END IF;
        most := bursts[i] / cells[i];
      ELSE
        v := averages[i]; t := clock; load := 0;
        IF v.key IS NOT NULL THEN
          t := v.t; load := v.level;
          IF v.period <> periods[i] OR v.share <> shares[i] THEN
            IF clock > t THEN load := load * CASE WHEN (t - clock)::double precision / v.period < '-200' THEN 0 ELSE exp((t - clock)::double precision / v.period) END; t := clock; END IF;
            load := least(1e300, load * shares[i] / v.share);
          END IF;
          IF clock >= t THEN
            load := load * CASE WHEN (t - clock)::double precision / periods[i] < '-200' THEN 0 ELSE exp((t - clock)::double precision / periods[i]) END; t := clock;
          ELSIF at IS NULL THEN
            t := clock; stale[i] := true;
          END IF;
        END IF;
        loads[i] := load;
        most := bursts[i];
        -- The exact number by its instant, from an estimate.
        room := 0;
        IF n > 0 AND (t - clock)::double precision <= '200' * periods[i] THEN
          room := least(n, most, greatest(0, floor(('1' - load * exp((t - clock)::double precision / periods[i])) / shares[i] + '1e-6')));
          WHILE room > 0 AND load > '0' LOOP
            EXIT WHEN clock::double precision
              >= t::double precision + ceil(periods[i] * (ln(load) - ln('1' - room::double precision * shares[i]) - '2e-15'));
            room := room - 1;
          END LOOP;
        END IF;
      END IF;
      ts[i] := t;
      IF all_or_nothing AND n > most THEN admitted := NULL; END IF;
      IF room < n THEN whole := false; END IF;
      IF room < admitted THEN admitted := room; END IF; -- null stays null
    END LOOP;
    IF all_or_nothing AND NOT whole AND admitted > 0 THEN admitted := 0; END IF;

    -- The states after the step.
    recorded := 9223372036854775807; any_changed := false;
    FOR i IN 1 .. m LOOP
      n := ns[i];
      IF periods[i] IS NULL THEN
        level := levels[i];
        count := CASE
          WHEN verb = 'check' THEN CASE WHEN whole THEN n ELSE 0 END
          WHEN verb IN ('upto', 'lease') THEN coalesce(admitted, 0)
          WHEN verb = 'charge' THEN least(n, greatest(0, CASE WHEN drains[i] = 1 THEN top - ts[i] ELSE top END - level) / cells[i])
          ELSE 0 END;
        after := CASE verb
          WHEN 'refund' THEN greatest(0, level - least(n, level / cells[i] + 1) * cells[i])
          -- The cancelled cells count as the first that drained, so no more conforms than if they had never been counted.
          WHEN 'cancel' THEN greatest(0, level - greatest(0, least(top, least(n, top / cells[i] + 1) * cells[i])
            - least(greatest(0, tick_at[i] - CASE WHEN ticks[i] > 0 THEN a - a % ticks[i] ELSE a END), top / drains[i] + 1) * drains[i]))
          WHEN 'reset' THEN 0
          ELSE level + count * cells[i] END;
        b := buckets[i];
        changed[i] := after <> level OR stale[i] OR verb = 'reset' AND coalesce(b.mark > 0 OR b.t > 0, false);
        levels[i] := after;
      ELSE
        load := loads[i];
        count := CASE
          WHEN verb = 'check' THEN CASE WHEN whole THEN n ELSE 0 END
          WHEN verb IN ('upto', 'lease') THEN coalesce(admitted, 0)
          WHEN verb = 'charge' THEN n
          ELSE 0 END;
        -- Cells of an earlier time than the row's have decayed by that.
        decay := CASE WHEN (ts[i] - tick_at[i])::double precision > '200' * periods[i] THEN 0
          ELSE exp((tick_at[i] - ts[i])::double precision / periods[i]) END;
        load_after := CASE verb
          WHEN 'refund' THEN greatest(0, load - n::double precision * shares[i])
          WHEN 'cancel' THEN greatest(0, load - n::double precision * shares[i]
            * CASE WHEN (tick_at[i] - a)::double precision > '200' * periods[i] THEN 0
              ELSE exp(least(0, a - tick_at[i])::double precision / periods[i]) END)
          WHEN 'reset' THEN 0
          ELSE load + count::double precision * shares[i] * decay END;
        -- An admission leaves the average at its threshold at most.
        IF count > 0 AND verb <> 'charge' THEN load_after := greatest(load, least(load_after, decay)); END IF;
        IF stricts[i] AND m = 1 AND admitted IS NOT NULL AND verb IN ('check', 'upto', 'lease') THEN
          load_after := load_after + greatest(0, n - count)::double precision * shares[i] * decay;
        END IF;
        load_after := CASE WHEN load_after < '1e-100' THEN 0 ELSE least(load_after, 1e300) END;
        v := averages[i];
        changed[i] := load_after <> load OR stale[i] OR verb = 'reset' AND coalesce(v.level > '0' OR v.t > 0, false);
        loads[i] := load_after;
      END IF;
      IF verb = 'reset' THEN ts[i] := tick_at[i]; END IF;
      recorded := least(recorded, count);
      any_changed := any_changed OR changed[i];
    END LOOP;
    IF verb = 'charge' THEN admitted := recorded; ELSIF verb IN ('refund', 'cancel', 'reset') THEN admitted := 0; END IF;

    IF verb = 'peek' OR NOT any_changed THEN RETURN; END IF;
    EXIT WHEN locked;
    locked := true;
  END LOOP;

  FOR i IN 1 .. m LOOP
    CONTINUE WHEN NOT changed[i];
    -- Callers' clocks may differ by an hour before one of them finds a key idle too early.
    keep := coalesce(ticks[i], 0) + CASE WHEN at IS NULL THEN 0 ELSE 3600000000 + greatest(0, meter.clock() - at) END;
    -- After a reset a row counts as absent, for callers' earlier times too.
    t := CASE WHEN verb = 'reset' THEN 0 ELSE ts[i] END;
    IF periods[i] IS NULL THEN
      UPDATE meter.bucket r SET t = t, mark = levels[i] + meter.drained(t, drains[i]), drain = drains[i], one = ones[i], keep = greatest(r.keep, keep)
        WHERE r.key = keys[i] COLLATE "C";
    ELSE
      UPDATE meter.average r SET t = t, level = loads[i], period = periods[i], share = shares[i], keep = greatest(r.keep, keep) WHERE r.key = keys[i] COLLATE "C";
    END IF;
  END LOOP;
END $$;

-- Decides one step on one bucket: `meter.decide` for a single key. `a` is the block of a lease, or the time that the lease returned (cancel).
CREATE OR REPLACE FUNCTION meter.change(verb text, key text, n bigint, a bigint, drain bigint, one bigint, cell bigint, burst bigint, tick bigint DEFAULT 0,
  OUT admitted bigint, OUT clock bigint, OUT t bigint, OUT level bigint)
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  d record;
BEGIN
  d := meter.decide(verb, ARRAY[key], ARRAY[n], ARRAY[drain], ARRAY[one], ARRAY[cell], ARRAY[burst], ARRAY[tick], a);
  admitted := coalesce(d.admitted, 0); clock := d.clock; t := d.ts[1]; level := d.levels[1];
END $$;

-- Counts `costs` units on several buckets, all or nothing: `meter.check` for several keys, which ascend as bytes.
CREATE OR REPLACE FUNCTION meter.check_all(keys text[], costs bigint[], drains bigint[], ones bigint[], bursts bigint[], ticks bigint[],
  OUT admitted boolean, OUT clock bigint, OUT ts bigint[], OUT levels bigint[])
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  d record;
BEGIN
  IF 0 = ANY (costs) THEN
    RAISE EXCEPTION 'expected costs above zero: leave a limit out that counts nothing' USING ERRCODE = '22023';
  END IF;
  d := meter.decide('check', keys, costs, drains, ones, pg_catalog.array_fill(1::bigint, ARRAY[pg_catalog.cardinality(keys)]), bursts, ticks);
  admitted := coalesce(d.admitted > 0, false); clock := d.clock; ts := d.ts; levels := d.levels;
END $$;

---------------------------------------------------------------------------------------------------------------------------- allow

-- Counts `n` cells of the quota if they conform, all or nothing. Returns the number of cells that still conform now, the time until `n` cells
-- conform, and the time until the key is idle. The first time is zero if they conformed, null if never. A key has one bucket: for several limits of a
-- client, put the name of the limit into the key, as in 'login:alice'.
CREATE OR REPLACE FUNCTION meter.allow(key text, quota text, n bigint DEFAULT 1,
  OUT allowed boolean, OUT remaining bigint, OUT retry_after interval, OUT rest_after interval)
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  u record;
  c record;
  cost bigint;
  due bigint;
BEGIN
  IF key IS NULL OR quota IS NULL OR (n >= 0) IS NOT TRUE THEN
    RAISE EXCEPTION 'expected a key, a quota and a number of cells, not %, %, %', quote_nullable(key), quote_nullable(quota), quote_nullable(n::text)
      USING ERRCODE = '22023';
  END IF;
  u := meter.units(quota);
  cost := least(n, u.burst / u.cell + 1) * u.cell;
  c := meter.check(key, cost, u.drain, u.one, u.burst, u.tick);
  allowed := c.admitted;
  remaining := greatest(0, u.burst - c.level) / u.cell;
  IF allowed THEN
    retry_after := INTERVAL '0';
  ELSIF cost <= u.burst THEN
    due := c.t + (c.level - u.burst + cost + u.drain - 1) / u.drain;
    IF u.tick > 0 THEN due := (due + u.tick - 1) / u.tick * u.tick; END IF;
    retry_after := greatest(0, due - c.clock)::double precision * INTERVAL '1 microsecond';
  END IF;
  due := c.t + (c.level + u.drain - 1) / u.drain;
  IF u.tick > 0 THEN due := (due + u.tick - 1) / u.tick * u.tick; END IF;
  rest_after := greatest(0, due - c.clock)::double precision * INTERVAL '1 microsecond';
END $$;

------------------------------------------------------------------------------------------------------------------------- averages

-- Counts `n` cells of an exponentially weighted average if the level then is at most its threshold, 1. The level decays by e in a period
-- (microseconds), and a cell adds `share`. Denied cells of a strict average count. Returns the time, and the level at `t` after the step:
--   denied until t + ceil(period * (ln(level) - ln(1 - n * share) - 2e-15))
-- The 2e-15 periods cover the errors of two logarithms. A batch of 1 / share or more is denied (for ever).
CREATE OR REPLACE FUNCTION meter.check_average(key text, n double precision, period double precision, share double precision, strict boolean DEFAULT false,
  OUT admitted boolean, OUT clock bigint, OUT t bigint, OUT level double precision)
LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_variable
DECLARE
  -- An admission moves the level by more than a double rounds off.
  added double precision := greatest(n * share, 2.3e-16);
  room double precision; -- the logarithm of the level from which the cells conform; null if never
  period_then double precision; share_then double precision; after double precision;
  locked boolean := false; stale boolean; tries int := 0;
BEGIN
  IF (key IS NOT NULL AND n >= '0' AND n < 'infinity' AND period > '0' AND period <= '1e16' AND share > '0' AND share <= '1' AND strict IS NOT NULL) IS NOT TRUE THEN
    RAISE EXCEPTION 'expected a key, cells from 0 on, a period of 0 to 1e16 us and a share of 0 to 1, not %, %, %, %', quote_nullable(key), n, period, share
      USING ERRCODE = '22023';
  END IF;
  IF '1' - n * share > '1e-14' THEN room := ln('1' - n * share); END IF;
  LOOP
    clock := meter.clock();
    IF n > '0' AND room IS NOT NULL AND NOT locked THEN
      UPDATE meter.average v
        SET t = greatest(v.t, clock), level = least(1, v.level * CASE WHEN (v.t - clock)::double precision < '-200' * period THEN 0
          ELSE exp(least(0, v.t - clock)::double precision / period) END + added)
        WHERE v.key = key COLLATE "C" AND v.share = share AND v.period = period
          AND CASE WHEN v.level > '0'
            THEN greatest(v.t, clock)::double precision >= v.t::double precision + ceil(period * (ln(v.level) - room - '2e-15')) ELSE true END
        RETURNING v.t, v.level INTO t, level;
      IF FOUND THEN
        admitted := true;
        IF t > clock THEN
          IF meter.clock() >= t THEN
            clock := t; -- another call was faster
          ELSE
            -- The clock was set back: no time has passed.
            UPDATE meter.average v SET t = clock WHERE v.key = key COLLATE "C";
            t := clock;
          END IF;
        END IF;
        RETURN;
      END IF;
    END IF;

    IF locked THEN SELECT v.t, v.level, v.period, v.share INTO t, level, period_then, share_then FROM meter.average v WHERE v.key = key COLLATE "C" FOR UPDATE;
    ELSE SELECT v.t, v.level, v.period, v.share INTO t, level, period_then, share_then FROM meter.average v WHERE v.key = key COLLATE "C";
    END IF;
    IF NOT FOUND THEN
      admitted := n = '0';
      IF n = '0' OR room IS NULL THEN t := clock; level := 0; RETURN; END IF;
      INSERT INTO meter.average VALUES (key, clock, added, period, share) ON CONFLICT DO NOTHING;
      IF FOUND THEN admitted := true; t := clock; level := added; RETURN; END IF;
      tries := tries + 1;
      IF tries > 8 THEN
        RAISE EXCEPTION 'this role can neither change nor insert the row of key %: see the row security policies, triggers and rules of meter.average',
          quote_literal(key) USING ERRCODE = '55000';
      END IF;
      CONTINUE; -- another call inserted the key first
    END IF;

    clock := meter.clock();
    -- By another limit: the debt by that limit stays.
    IF period_then <> period OR share_then <> share THEN
      IF clock > t THEN
        level := level * CASE WHEN (t - clock)::double precision < '-200' * period_then THEN 0 ELSE exp((t - clock)::double precision / period_then) END;
        t := clock;
      END IF;
      level := least(1e300, level * share / share_then);
    END IF;
    stale := clock < t; -- the clock was set back: no time has passed
    IF stale THEN t := clock; END IF;
    admitted := n = '0' OR room IS NOT NULL
      AND CASE WHEN level > '0' THEN clock::double precision >= t::double precision + ceil(period * (ln(level) - room - '2e-15')) ELSE true END;
    after := level * CASE WHEN (t - clock)::double precision < '-200' * period THEN 0 ELSE exp((t - clock)::double precision / period) END;
    IF n > '0' AND room IS NOT NULL AND (admitted OR strict) OR stale THEN
      -- Write it under the lock, decided again.
      IF NOT locked THEN locked := true; CONTINUE; END IF;
      IF n > '0' AND admitted THEN after := greatest(after, least(1, after + added));
      ELSIF n > '0' AND room IS NOT NULL AND strict THEN after := least(1e300, after + added);
      END IF;
      UPDATE meter.average v SET t = clock, level = after, period = period, share = share WHERE v.key = key COLLATE "C";
    END IF;
    t := clock; level := after;
    RETURN;
  END LOOP;
END $$;

-- Exponential rate limiting after Tony Finch: https://dotat.at/@/2024-09-02-ewma.html. A client that always asks gets `limit_value` per `period`, and
-- after an idle time about as many at once. If `strict`, denied cost counts too. Returns the time from which the same cost is allowed if no other
-- call counts in between, exact to a microsecond. It is `infinity` if the cost never is. `rate` is the average after the call, in cost per period.
--
-- Decides as the Rust crate's `Exponential` does.
DO $$ BEGIN
  IF EXISTS (SELECT FROM pg_proc WHERE proname = 'check_rate_limit' AND pronamespace = quote_ident(current_schema()::text)::regnamespace::oid
    AND (proargnames[1:5]::text, proargtypes::text) IS DISTINCT FROM ('{client_id,cost,limit_value,period,strict}', '25 701 701 1186 16')) THEN
    RAISE EXCEPTION 'another function check_rate_limit exists in schema %', current_schema()
      USING HINT = 'Drop it, or install with a search_path that begins with another schema.', ERRCODE = '42723';
  END IF;
END $$;
CREATE OR REPLACE FUNCTION check_rate_limit(client_id text, cost double precision DEFAULT 1.0, limit_value double precision DEFAULT 600.0,
  period interval DEFAULT INTERVAL '1 hour', strict boolean DEFAULT false,
  OUT allowed boolean, OUT next_allowed_time timestamptz, OUT rate double precision)
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  p double precision := date_part('epoch', period) * '1000000';
  y double precision;
  share double precision; -- 1 - e^(-y), without its cancellation
  due double precision;
  c record;
BEGIN
  IF (client_id IS NOT NULL AND cost >= '0' AND cost < 'infinity' AND limit_value BETWEEN '0.001' AND '1e15' AND p BETWEEN '1' AND '4503599627370496'
    AND strict IS NOT NULL) IS NOT TRUE THEN
    RAISE EXCEPTION 'expected a client, a cost from 0 on, a limit of 0.001 to 1e15 and a period of 1 us to 142 years, not %, %, %, %',
      quote_nullable(client_id), cost, limit_value, period USING ERRCODE = '22023';
  END IF;
  y := '1' / limit_value;
  share := CASE
    WHEN y < '0.03' THEN y - y * y / '2' * ('1' - y / '3' * ('1' - y / '4' * ('1' - y / '5' * ('1' - y / '6' * ('1' - y / '7')))))
    ELSE '2' * sinh(y / '2') * exp(-y / '2') END;
  c := meter.check_average(client_id, cost, p, share, strict);
  allowed := c.admitted;
  due := CASE
    WHEN allowed THEN c.clock
    WHEN '1' - cost * share <= '1e-14' THEN 'infinity'
    ELSE greatest(c.clock + 1, c.t::double precision + ceil(p * (ln(c.level) - ln('1' - cost * share) - '2e-15'))) END;
  next_allowed_time := CASE WHEN due = 'infinity' THEN 'infinity' ELSE to_timestamp(0::double precision) + due * INTERVAL '1 microsecond' END;
  rate := c.level * CASE WHEN (c.t - c.clock)::double precision < '-200' * p THEN 0 ELSE exp(least(0, c.t - c.clock)::double precision / p) END / share;
END $$;

---------------------------------------------------------------------------------------------------------------------------- sweep

-- Forgets keys that have owed nothing for as long as `grace`, in pages [from_page, from_page + pages) of both tables. Returns the page to
-- continue from, 0 at the end, and the number of keys. Call it once a second from a background task or pg_cron. It needs no index, waits
-- for no lock, and skips a row that is being charged.
CREATE OR REPLACE FUNCTION meter.sweep(from_page bigint DEFAULT 0, pages int DEFAULT 256, grace interval DEFAULT INTERVAL '1 minute',
  OUT next_page bigint, OUT forgotten bigint)
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  -- Of the larger table, or of the largest partition.
  size bigint := (SELECT max(pg_relation_size(relid)) FROM (
      SELECT relid FROM pg_partition_tree('meter.bucket'::regclass) UNION ALL SELECT relid FROM pg_partition_tree('meter.average'::regclass)
      UNION ALL VALUES ('meter.bucket'::regclass), ('meter.average')) tree)
    / current_setting('block_size')::bigint;
  first tid; last tid;
  before bigint := meter.clock() - (date_part('epoch', grace) * '1000000')::bigint;
  more bigint;
BEGIN
  IF (from_page BETWEEN 0 AND 4294967295 AND pages > 0 AND grace >= INTERVAL '0') IS NOT TRUE THEN
    RAISE EXCEPTION 'expected a page from 0 on, a number of pages and a grace, not %, %, %', from_page, pages, grace USING ERRCODE = '22023';
  END IF;
  forgotten := 0; next_page := 0;
  IF from_page >= size THEN RETURN; END IF;
  first := pg_catalog.format('(%s,0)', from_page)::tid; last := pg_catalog.format('(%s,0)', least(from_page + pages, 4294967295))::tid;
  DELETE FROM meter.bucket WHERE key = ANY (ARRAY(
    SELECT b.key FROM meter.bucket b WHERE b.ctid >= first AND b.ctid < last AND b.t + (b.mark - meter.drained(b.t, b.drain)) / b.drain + 1 + b.keep < before
      FOR UPDATE SKIP LOCKED));
  GET DIAGNOSTICS forgotten = ROW_COUNT;
  -- Of an average, when the rest of it is worth less than a microsecond.
  DELETE FROM meter.average WHERE key = ANY (ARRAY(
    SELECT v.key FROM meter.average v WHERE v.ctid >= first AND v.ctid < last
      AND v.t + CASE WHEN v.level > '0' THEN greatest(0, ceil(v.period * (ln(v.level) + ln(v.period) + '1')))::bigint ELSE 0 END + v.keep < before
      FOR UPDATE SKIP LOCKED));
  GET DIAGNOSTICS more = ROW_COUNT;
  forgotten := forgotten + more;
  IF from_page + pages < size THEN next_page := from_page + pages; END IF;
END $$;
