-- Notes about accounts; people found by what stands anywhere in their name or address.

CREATE EXTENSION IF NOT EXISTS pg_trgm;
CREATE INDEX idx_users_text ON users USING gin (lower(name) gin_trgm_ops, email gin_trgm_ops);

CREATE TABLE moderation_notes (
  id          uuid PRIMARY KEY,
  user_id     uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  author_id   uuid NOT NULL,
  text        text NOT NULL,
  created_at  timestamptz NOT NULL
);
CREATE INDEX idx_notes_user ON moderation_notes (user_id, id);
