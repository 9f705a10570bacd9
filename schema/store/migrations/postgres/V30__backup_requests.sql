-- Backups and drills that somebody asks for at the console, and that whoever makes backups takes up.

CREATE TABLE backup_requests (
  id         uuid PRIMARY KEY,
  work       text NOT NULL CHECK (work IN ('RUN', 'DRILL')),
  asked_by   uuid,
  asked_at   timestamptz NOT NULL,
  -- The work once more as long as nobody has taken it: one of a kind waits at most.
  waits      text UNIQUE,
  taken_at   timestamptz,
  ended_at   timestamptz,
  succeeded  boolean,
  detail     text
);
CREATE INDEX idx_backup_requests_asked ON backup_requests (asked_at);
