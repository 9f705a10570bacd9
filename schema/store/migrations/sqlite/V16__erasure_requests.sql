-- Erasures that wait for a second administrator.

CREATE TABLE erasure_requests (
  user_id   BLOB PRIMARY KEY NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  asked_by  BLOB NOT NULL,
  reason    TEXT NOT NULL,
  asked_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX idx_erasure_requests_asked ON erasure_requests (asked_at);
