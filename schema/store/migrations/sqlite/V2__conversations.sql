-- Conversations, members as intervals, messages.

CREATE TABLE conversations (
  id               BLOB PRIMARY KEY NOT NULL CHECK (length(id) = 16),
  kind             TEXT NOT NULL CHECK (kind IN ('DIRECT', 'GROUP')),
  name             TEXT NOT NULL DEFAULT '',
  -- Both ids of a direct conversation, smaller first: one conversation per pair.
  direct_pair      BLOB UNIQUE CHECK (direct_pair IS NULL OR length(direct_pair) = 32),
  created_by       BLOB,
  created_at       INTEGER NOT NULL,
  first_offset     INTEGER NOT NULL DEFAULT 1,
  next_offset      INTEGER NOT NULL DEFAULT 1,
  -- Time of the newest message, or of the creation: what lists are ordered by, and the floor of the next `created_at`.
  last_at          INTEGER NOT NULL,
  -- Seconds.
  ttl              INTEGER,
  epoch            INTEGER NOT NULL DEFAULT 0,
  history          TEXT NOT NULL DEFAULT 'since_join' CHECK (history IN ('since_join', 'all')),
  members_version  INTEGER NOT NULL DEFAULT 0,
  member_count     INTEGER NOT NULL DEFAULT 0
) STRICT;

-- One row per stay. Rejoining opens another.
CREATE TABLE conversation_members (
  conversation_id  BLOB NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
  user_id          BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  -- Membership version at which the stay began.
  joined_version   INTEGER NOT NULL,
  -- Membership version of the last change to this row.
  members_version  INTEGER NOT NULL,
  -- First and last offset the member may read.
  joined_offset    INTEGER NOT NULL,
  left_offset      INTEGER,
  joined_at        INTEGER NOT NULL,
  left_at          INTEGER,
  -- relay.v1.Role
  role             INTEGER NOT NULL CHECK (role BETWEEN 1 AND 3),
  notify           INTEGER NOT NULL DEFAULT 0,
  muted_until      INTEGER,
  PRIMARY KEY (conversation_id, user_id, joined_version)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX idx_members_present ON conversation_members (conversation_id, user_id) WHERE left_offset IS NULL;
CREATE INDEX idx_members_user ON conversation_members (user_id, conversation_id) WHERE left_offset IS NULL;
CREATE INDEX idx_members_version ON conversation_members (conversation_id, members_version);

CREATE TABLE media_files (
  id          BLOB PRIMARY KEY NOT NULL CHECK (length(id) = 16),
  user_id     BLOB REFERENCES users (id) ON DELETE SET NULL,
  s3_key      TEXT NOT NULL UNIQUE,
  size        INTEGER NOT NULL CHECK (size >= 0),
  sha256      BLOB,
  status      TEXT NOT NULL DEFAULT 'UPLOADING' CHECK (status IN ('UPLOADING', 'READY', 'DELETED')),
  created_at  INTEGER NOT NULL,
  deleted_at  INTEGER
) STRICT;
CREATE INDEX idx_media_files_user ON media_files (user_id);
CREATE INDEX idx_media_files_created ON media_files (created_at);

-- Every offset below next_offset has a row; what is gone keeps its row and loses its body.
CREATE TABLE messages (
  id               BLOB NOT NULL CHECK (length(id) = 16),
  conversation_id  BLOB NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
  log_offset       INTEGER NOT NULL,
  generation       INTEGER NOT NULL,
  kind             INTEGER NOT NULL,
  sender_id        BLOB NOT NULL,
  device_id        BLOB NOT NULL,
  created_at       INTEGER NOT NULL,
  relates_to       INTEGER,
  expires_at       INTEGER,
  publish_key      BLOB NOT NULL,
  members_version  INTEGER NOT NULL,
  notify           INTEGER NOT NULL DEFAULT 0,
  media_id         BLOB,
  commitment       BLOB,
  -- relay.v1.GoneReason once the body is gone.
  gone             INTEGER,
  deleted_at       INTEGER,
  body             BLOB NOT NULL,
  UNIQUE (conversation_id, log_offset)
) STRICT;
CREATE INDEX idx_messages_conversation ON messages (conversation_id, created_at DESC);
CREATE INDEX idx_messages_sender ON messages (sender_id, created_at);
CREATE INDEX idx_messages_expires ON messages (expires_at) WHERE expires_at IS NOT NULL AND gone IS NULL;
CREATE INDEX idx_messages_media ON messages (media_id) WHERE media_id IS NOT NULL;

-- A retry finds its first offset here.
CREATE TABLE publish_keys (
  sender_id        BLOB NOT NULL,
  publish_key      BLOB NOT NULL CHECK (length(publish_key) = 16),
  conversation_id  BLOB NOT NULL,
  log_offset       INTEGER NOT NULL,
  generation       INTEGER NOT NULL,
  created_at       INTEGER NOT NULL,
  PRIMARY KEY (sender_id, publish_key)
) STRICT, WITHOUT ROWID;

CREATE TABLE cursors (
  user_id          BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  conversation_id  BLOB NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
  log_offset       INTEGER NOT NULL,
  updated_at       INTEGER NOT NULL,
  PRIMARY KEY (user_id, conversation_id)
) STRICT, WITHOUT ROWID;
