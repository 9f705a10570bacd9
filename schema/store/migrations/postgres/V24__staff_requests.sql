-- Accounts with a role in the console that one administrator asks for and another one has to agree to.

CREATE TABLE staff_requests (
  id        uuid PRIMARY KEY,
  email     text NOT NULL UNIQUE,
  name      text NOT NULL,
  role      text NOT NULL CHECK (role IN ('AUDITOR', 'MODERATOR', 'SRE', 'ADMIN')),
  asked_by  uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  asked_at  timestamptz NOT NULL
);
CREATE INDEX idx_staff_requests_asked ON staff_requests (asked_at);
CREATE INDEX idx_staff_requests_by ON staff_requests (asked_by);
CREATE INDEX idx_users_staff ON users (id) WHERE role <> 'USER';
