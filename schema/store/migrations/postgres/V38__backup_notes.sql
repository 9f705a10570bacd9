-- What the pages and figures about backups also need: how far a followed log is sealed, what checks found, and what a
-- restore takes without the checks after it.

CREATE TABLE backup_log (
  id              bigint PRIMARY KEY CHECK (id = 1),
  -- All that the server had made durable by then is sealed.
  safe_at         timestamptz NOT NULL,
  lag_bytes       bigint NOT NULL,
  sealed_to       text NOT NULL,
  unbroken_from   text NOT NULL,
  unbroken_since  timestamptz NOT NULL,
  -- Whether it goes on from the newest base backup: if not, it makes nothing any safer.
  continues       boolean NOT NULL,
  noted_at        timestamptz NOT NULL
);

CREATE TABLE backup_checks (
  id           uuid PRIMARY KEY,
  passed       boolean NOT NULL,
  started_at   timestamptz NOT NULL,
  finished_at  timestamptz NOT NULL,
  detail       text NOT NULL
);
CREATE INDEX idx_backup_checks_started ON backup_checks (started_at);

-- From the first byte to a database that answers.
ALTER TABLE restore_drills ADD COLUMN took_ms bigint;
