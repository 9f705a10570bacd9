-- Backups and drills that somebody asks for at the console, and that whoever makes backups takes up.

CREATE TABLE backup_requests (
  id         BLOB PRIMARY KEY NOT NULL CHECK (length(id) = 16),
  work       TEXT NOT NULL CHECK (work IN ('RUN', 'DRILL')),
  asked_by   BLOB,
  asked_at   INTEGER NOT NULL,
  -- The work once more as long as nobody has taken it: one of a kind waits at most.
  waits      TEXT UNIQUE,
  taken_at   INTEGER,
  ended_at   INTEGER,
  succeeded  INTEGER,
  detail     TEXT
) STRICT;
CREATE INDEX idx_backup_requests_asked ON backup_requests (asked_at);
