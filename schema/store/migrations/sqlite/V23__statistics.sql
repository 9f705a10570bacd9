-- What was last counted of all accounts, so that the page about it counts nothing.

CREATE TABLE statistics (
  -- ACTIVE, NEW, MESSAGES or STORAGE.
  name      TEXT NOT NULL,
  -- Of a list: from 1; of a single number: 0.
  place     INTEGER NOT NULL,
  user_id   BLOB REFERENCES users (id) ON DELETE CASCADE,
  number    INTEGER NOT NULL,
  taken_at  INTEGER NOT NULL,
  PRIMARY KEY (name, place)
) STRICT, WITHOUT ROWID;
CREATE INDEX idx_statistics_user ON statistics (user_id) WHERE user_id IS NOT NULL;
