-- What was last counted of all accounts, so that the page about it counts nothing.

CREATE TABLE statistics (
  -- ACTIVE, NEW, MESSAGES or STORAGE.
  name      text NOT NULL,
  -- Of a list: from 1; of a single number: 0.
  place     integer NOT NULL,
  user_id   uuid REFERENCES users (id) ON DELETE CASCADE,
  number    bigint NOT NULL,
  taken_at  timestamptz NOT NULL,
  PRIMARY KEY (name, place)
);
CREATE INDEX idx_statistics_user ON statistics (user_id) WHERE user_id IS NOT NULL;
