-- What the pages and figures about backups also need: how far a followed log is sealed, what checks found, and what a
-- restore takes without the checks after it.

CREATE TABLE backup_log (
  id              INTEGER PRIMARY KEY NOT NULL CHECK (id = 1),
  -- All that the server had made durable by then is sealed.
  safe_at         INTEGER NOT NULL,
  lag_bytes       INTEGER NOT NULL,
  sealed_to       TEXT NOT NULL,
  unbroken_from   TEXT NOT NULL,
  unbroken_since  INTEGER NOT NULL,
  -- Whether it goes on from the newest base backup: if not, it makes nothing any safer.
  continues       INTEGER NOT NULL,
  noted_at        INTEGER NOT NULL
) STRICT;

CREATE TABLE backup_checks (
  id           BLOB PRIMARY KEY NOT NULL CHECK (length(id) = 16),
  passed       INTEGER NOT NULL,
  started_at   INTEGER NOT NULL,
  finished_at  INTEGER NOT NULL,
  detail       TEXT NOT NULL
) STRICT;
CREATE INDEX idx_backup_checks_started ON backup_checks (started_at);

-- From the first byte to a database that answers.
ALTER TABLE restore_drills ADD COLUMN took_ms INTEGER;
