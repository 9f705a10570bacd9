-- Who is signed in to the console: sessions with their stage and role, second factors, lock-outs.

ALTER TABLE sessions ADD COLUMN stage TEXT NOT NULL DEFAULT 'FULL' CHECK (stage IN ('SECOND_FACTOR', 'ENROL', 'FULL'));
-- The role it was opened with: another role needs another session.
ALTER TABLE sessions ADD COLUMN role TEXT NOT NULL DEFAULT 'USER';
ALTER TABLE sessions ADD COLUMN seen_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN ip_address TEXT;
ALTER TABLE sessions ADD COLUMN user_agent TEXT;

-- Time-based codes (RFC 6238).
CREATE TABLE second_factors (
  user_id       BLOB PRIMARY KEY NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  secret        BLOB NOT NULL CHECK (length(secret) BETWEEN 16 AND 64),
  created_at    INTEGER NOT NULL,
  confirmed_at  INTEGER,
  -- Newest time step used: each code works once.
  last_step     INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

-- Failed sign-ins by hash of what was typed as address, whether such an account exists or not.
CREATE TABLE sign_in_locks (
  subject       BLOB PRIMARY KEY NOT NULL CHECK (length(subject) = 32),
  failures      INTEGER NOT NULL,
  failed_at     INTEGER NOT NULL,
  locked_until  INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE INDEX idx_sign_in_locks_failed ON sign_in_locks (failed_at);
