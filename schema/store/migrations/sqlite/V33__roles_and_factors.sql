-- Roles that change hands, secrets that wait for their first code, keys that may be copied, letters about second factors.

-- The account that is to get the role; NULL: one is to be made.
ALTER TABLE staff_requests ADD COLUMN user_id BLOB REFERENCES users (id) ON DELETE CASCADE;
CREATE INDEX idx_staff_requests_user ON staff_requests (user_id);

-- A secret that one session was shown, until that session shows a code of it.
CREATE TABLE shown_factors (
  session     BLOB PRIMARY KEY NOT NULL REFERENCES sessions (id_hash) ON DELETE CASCADE,
  user_id     BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  secret      BLOB NOT NULL CHECK (length(secret) BETWEEN 16 AND 64),
  created_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX idx_shown_factors_user ON shown_factors (user_id);

-- Whether a key may be copied to another device, as it said when it was made; NULL: it was not asked then, and is at its
-- next use.
ALTER TABLE security_keys ADD COLUMN backup_eligible INTEGER;

-- Letters about second factors that are still to be sent.
CREATE TABLE factor_letters (
  id          BLOB PRIMARY KEY NOT NULL CHECK (length(id) = 16),
  user_id     BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  change      TEXT NOT NULL CHECK (change IN ('CODES_ADDED', 'KEY_ADDED', 'KEY_REMOVED', 'FORGOTTEN')),
  -- Of the key.
  name        TEXT NOT NULL,
  created_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX idx_factor_letters_created ON factor_letters (created_at);
CREATE INDEX idx_factor_letters_user ON factor_letters (user_id);
