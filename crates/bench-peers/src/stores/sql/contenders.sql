-- Other ways to limit rates in PostgreSQL: the same leaky bucket of whole units, without a change of quota, ticks or a clock that is set back.

CREATE UNLOGGED TABLE bucket (key text PRIMARY KEY, t bigint NOT NULL, level bigint NOT NULL) WITH (fillfactor = 50);
CREATE UNLOGGED TABLE windows (key text, start bigint, count bigint NOT NULL, PRIMARY KEY (key, start)) WITH (fillfactor = 50);

CREATE FUNCTION level_at(t bigint, level bigint, drain bigint, at bigint) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT greatest(0, level - least(greatest(at - t, 0), level / drain + 1) * drain)
$$;

CREATE FUNCTION microseconds() RETURNS bigint LANGUAGE sql VOLATILE AS $$
  SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
$$;

-- SELECT FOR UPDATE, then UPDATE.
CREATE FUNCTION by_lock(k text, drain bigint, cost bigint, burst bigint, OUT admitted boolean, OUT wait bigint) LANGUAGE plpgsql AS $$
DECLARE r bucket; now bigint; owed bigint;
BEGIN
  INSERT INTO bucket VALUES (k, 0, 0) ON CONFLICT DO NOTHING;
  SELECT * INTO r FROM bucket WHERE key = k FOR UPDATE;
  now := microseconds();
  owed := level_at(r.t, r.level, drain, now);
  admitted := owed + cost <= burst;
  wait := greatest(0, owed + cost - burst) / drain;
  IF admitted THEN UPDATE bucket SET t = now, level = owed + cost WHERE key = k; END IF;
END $$;

CREATE FUNCTION by_advisory_lock(k text, drain bigint, cost bigint, burst bigint, OUT admitted boolean, OUT wait bigint) LANGUAGE plpgsql AS $$
DECLARE r bucket; now bigint; owed bigint;
BEGIN
  PERFORM pg_advisory_xact_lock(hashtextextended(k, 0));
  now := microseconds();
  SELECT * INTO r FROM bucket WHERE key = k;
  owed := coalesce(level_at(r.t, r.level, drain, now), 0);
  admitted := owed + cost <= burst;
  wait := greatest(0, owed + cost - burst) / drain;
  IF admitted THEN INSERT INTO bucket VALUES (k, now, cost) ON CONFLICT (key) DO UPDATE SET t = now, level = owed + cost; END IF;
END $$;

-- One statement, which writes a row version for a denial too.
CREATE FUNCTION by_upsert(k text, drain bigint, cost bigint, burst bigint, OUT new_t bigint, OUT new_level bigint) LANGUAGE plpgsql AS $$
DECLARE now bigint := microseconds();
BEGIN
  INSERT INTO bucket AS b VALUES (k, now, cost)
    ON CONFLICT (key) DO UPDATE SET t = greatest(b.t, now), level = level_at(b.t, b.level, drain, now)
      + CASE WHEN level_at(b.t, b.level, drain, now) + cost <= burst THEN cost ELSE 0 END
    RETURNING b.t, b.level INTO new_t, new_level;
END $$;

-- The function posted in a discussion of exponential rate limiting, with its two errors repaired that make each call fail. It still admits
-- too much when clients race: it is here for its speed only.
CREATE UNLOGGED TABLE rates (client_id text PRIMARY KEY, last_update_time timestamptz NOT NULL, average_rate double precision NOT NULL) WITH (fillfactor = 50);

CREATE FUNCTION posted(client text, cost double precision, limit_value double precision, period interval, OUT allowed boolean, OUT next_allowed_time timestamptz)
LANGUAGE plpgsql AS $$
DECLARE r rates; passed double precision; a double precision; new_rate double precision;
BEGIN
  SELECT * INTO r FROM rates WHERE client_id = client;
  IF NOT FOUND THEN r := (client, now() - period, 0.0)::rates; END IF;
  passed := greatest(extract(epoch FROM now() - r.last_update_time) / extract(epoch FROM period), 1e-10);
  a := exp(-passed);
  new_rate := greatest((1 - a) * cost / passed + a * r.average_rate, cost);
  allowed := new_rate <= limit_value;
  next_allowed_time := now();
  IF allowed THEN
    INSERT INTO rates VALUES (client, now(), new_rate)
      ON CONFLICT (client_id) DO UPDATE SET last_update_time = excluded.last_update_time, average_rate = excluded.average_rate;
  ELSE
    next_allowed_time := now() + period * ln(new_rate / limit_value);
  END IF;
END $$;

INSERT INTO bucket SELECT 'k' || i, 0, 0 FROM generate_series(1, 100000) i;
INSERT INTO meter.bucket SELECT 'k' || i, 0, 0, 1, 1 FROM generate_series(1, 100000) i;
INSERT INTO meter.average SELECT 'k' || i, 0, 0, 1000000, 1e-6 FROM generate_series(1, 100000) i;
INSERT INTO rates SELECT 'k' || i, now(), 0 FROM generate_series(1, 100000) i;
