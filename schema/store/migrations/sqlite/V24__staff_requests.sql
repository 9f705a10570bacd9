-- Accounts with a role in the console that one administrator asks for and another one has to agree to.

CREATE TABLE staff_requests (
  id        BLOB PRIMARY KEY NOT NULL CHECK (length(id) = 16),
  email     TEXT NOT NULL UNIQUE,
  name      TEXT NOT NULL,
  role      TEXT NOT NULL CHECK (role IN ('AUDITOR', 'MODERATOR', 'SRE', 'ADMIN')),
  asked_by  BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  asked_at  INTEGER NOT NULL
) STRICT;
CREATE INDEX idx_staff_requests_asked ON staff_requests (asked_at);
CREATE INDEX idx_staff_requests_by ON staff_requests (asked_by);
CREATE INDEX idx_users_staff ON users (id) WHERE role <> 'USER';
