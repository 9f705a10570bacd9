-- Programs that use the administration interface: each with a role of its own.

CREATE TABLE service_tokens (
  id            BLOB PRIMARY KEY NOT NULL CHECK (length(id) = 16),
  token_hash    BLOB NOT NULL UNIQUE CHECK (length(token_hash) = 32),
  name          TEXT NOT NULL,
  role          TEXT NOT NULL CHECK (role IN ('AUDITOR', 'MODERATOR', 'SRE', 'ADMIN')),
  -- What it does is done in this account's name.
  created_by    BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  created_at    INTEGER NOT NULL,
  expires_at    INTEGER NOT NULL,
  last_used_at  INTEGER,
  revoked_at    INTEGER
) STRICT;
CREATE INDEX idx_service_tokens_created_by ON service_tokens (created_by);
