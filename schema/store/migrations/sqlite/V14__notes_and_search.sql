-- Notes about accounts.

CREATE TABLE moderation_notes (
  id          BLOB PRIMARY KEY NOT NULL CHECK (length(id) = 16),
  user_id     BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  author_id   BLOB NOT NULL,
  text        TEXT NOT NULL,
  created_at  INTEGER NOT NULL
) STRICT;
CREATE INDEX idx_notes_user ON moderation_notes (user_id, id);
