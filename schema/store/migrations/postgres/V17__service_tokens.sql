-- Programs that use the administration interface: each with a role of its own.

CREATE TABLE service_tokens (
  id            uuid PRIMARY KEY,
  token_hash    bytea NOT NULL UNIQUE CHECK (length(token_hash) = 32),
  name          text NOT NULL,
  role          text NOT NULL CHECK (role IN ('AUDITOR', 'MODERATOR', 'SRE', 'ADMIN')),
  -- What it does is done in this account's name.
  created_by    uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  created_at    timestamptz NOT NULL,
  expires_at    timestamptz NOT NULL,
  last_used_at  timestamptz,
  revoked_at    timestamptz
);
CREATE INDEX idx_service_tokens_created_by ON service_tokens (created_by);
