-- Who is signed in to the console: sessions with their stage and role, second factors, lock-outs.

ALTER TABLE sessions
  ADD COLUMN stage text NOT NULL DEFAULT 'FULL' CHECK (stage IN ('SECOND_FACTOR', 'ENROL', 'FULL')),
  -- The role it was opened with: another role needs another session.
  ADD COLUMN role text NOT NULL DEFAULT 'USER',
  ADD COLUMN seen_at timestamptz NOT NULL DEFAULT 'epoch',
  ADD COLUMN ip_address inet,
  ADD COLUMN user_agent text;

-- Time-based codes (RFC 6238).
CREATE TABLE second_factors (
  user_id       uuid PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
  secret        bytea NOT NULL CHECK (length(secret) BETWEEN 16 AND 64),
  created_at    timestamptz NOT NULL DEFAULT now(),
  confirmed_at  timestamptz,
  -- Newest time step used: each code works once.
  last_step     bigint NOT NULL DEFAULT 0
);

-- Failed sign-ins by hash of what was typed as address, whether such an account exists or not.
CREATE TABLE sign_in_locks (
  subject       bytea PRIMARY KEY CHECK (length(subject) = 32),
  failures      integer NOT NULL,
  failed_at     timestamptz NOT NULL,
  locked_until  timestamptz NOT NULL DEFAULT 'epoch'
);
CREATE INDEX idx_sign_in_locks_failed ON sign_in_locks (failed_at);
