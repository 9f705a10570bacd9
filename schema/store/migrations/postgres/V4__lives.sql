-- Which server a generation was seen on. A server that no row names (a standby that took over, a restored backup, a
-- copy) may lack commits that were acknowledged: before its first write a new generation begins.

-- The cluster and its timeline, which every promotion and every recovery to a point in time changes.
CREATE FUNCTION store_life() RETURNS text LANGUAGE sql VOLATILE AS $$
  SELECT CASE WHEN NOT pg_is_in_recovery() THEN
    (SELECT system_identifier FROM pg_control_system()) || '/' || left(pg_walfile_name(pg_current_wal_lsn()), 8)
  END
$$;

CREATE TABLE store_lives (
  life        text PRIMARY KEY,
  generation  bigint NOT NULL,
  known_at    timestamptz NOT NULL DEFAULT now()
);
-- What holds conversations already may have been copied from elsewhere.
INSERT INTO store_lives (life, generation)
  SELECT store_life(), max(generation) FROM store_generation
  WHERE NOT EXISTS (SELECT 1 FROM conversations) HAVING max(generation) = 1;

-- The oldest program that still works on this schema, by the newest migration it knows.
CREATE TABLE schema_floor (
  id       bigint PRIMARY KEY CHECK (id = 1),
  version  bigint NOT NULL
);
INSERT INTO schema_floor VALUES (1, 4);
