-- Security keys (Web Authentication) as second factors, and the challenges they answer.

CREATE TABLE security_keys (
  id            uuid PRIMARY KEY,
  user_id       uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  -- As the authenticator names it.
  credential    bytea NOT NULL UNIQUE CHECK (length(credential) BETWEEN 16 AND 1023),
  -- A COSE key.
  public_key    bytea NOT NULL CHECK (length(public_key) <= 2048),
  -- Newest signature counter seen: one that does not grow is a copy's.
  sign_count    bigint NOT NULL,
  name          text NOT NULL,
  created_at    timestamptz NOT NULL DEFAULT now(),
  last_used_at  timestamptz
);
CREATE INDEX idx_security_keys_user ON security_keys (user_id, created_at);

-- One for each purpose of a session; the next one takes its place.
CREATE TABLE key_challenges (
  session     bytea NOT NULL REFERENCES sessions (id_hash) ON DELETE CASCADE,
  purpose     text NOT NULL CHECK (purpose IN ('ADD', 'PROVE')),
  challenge   bytea NOT NULL CHECK (length(challenge) = 32),
  expires_at  timestamptz NOT NULL,
  PRIMARY KEY (session, purpose)
);
