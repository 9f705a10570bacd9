-- Security keys (Web Authentication) as second factors, and the challenges they answer.

CREATE TABLE security_keys (
  id            BLOB PRIMARY KEY NOT NULL CHECK (length(id) = 16),
  user_id       BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  -- As the authenticator names it.
  credential    BLOB NOT NULL UNIQUE CHECK (length(credential) BETWEEN 16 AND 1023),
  -- A COSE key.
  public_key    BLOB NOT NULL CHECK (length(public_key) <= 2048),
  -- Newest signature counter seen: one that does not grow is a copy's.
  sign_count    INTEGER NOT NULL,
  name          TEXT NOT NULL,
  created_at    INTEGER NOT NULL,
  last_used_at  INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX idx_security_keys_user ON security_keys (user_id, created_at);

-- One for each purpose of a session; the next one takes its place.
CREATE TABLE key_challenges (
  session     BLOB NOT NULL REFERENCES sessions (id_hash) ON DELETE CASCADE,
  purpose     TEXT NOT NULL CHECK (purpose IN ('ADD', 'PROVE')),
  challenge   BLOB NOT NULL CHECK (length(challenge) = 32),
  expires_at  INTEGER NOT NULL,
  PRIMARY KEY (session, purpose)
) STRICT, WITHOUT ROWID;
