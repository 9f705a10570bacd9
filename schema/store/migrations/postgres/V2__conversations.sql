-- Conversations, members as intervals, messages.

CREATE TABLE conversations (
  id               uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  kind             text NOT NULL CHECK (kind IN ('DIRECT', 'GROUP')),
  name             text NOT NULL DEFAULT '',
  -- Both ids of a direct conversation, smaller first: one conversation per pair.
  direct_pair      bytea UNIQUE CHECK (direct_pair IS NULL OR octet_length(direct_pair) = 32),
  created_by       uuid,
  created_at       timestamptz NOT NULL DEFAULT now(),
  first_offset     bigint NOT NULL DEFAULT 1,
  next_offset      bigint NOT NULL DEFAULT 1,
  -- Time of the newest message, or of the creation: what lists are ordered by, and the floor of the next `created_at`.
  last_at          timestamptz NOT NULL,
  -- Seconds.
  ttl              bigint,
  epoch            bigint NOT NULL DEFAULT 0,
  history          text NOT NULL DEFAULT 'since_join' CHECK (history IN ('since_join', 'all')),
  members_version  bigint NOT NULL DEFAULT 0,
  member_count     integer NOT NULL DEFAULT 0
);

-- One row per stay. Rejoining opens another.
CREATE TABLE conversation_members (
  conversation_id  uuid NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
  user_id          uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  -- Membership version at which the stay began.
  joined_version   bigint NOT NULL,
  -- Membership version of the last change to this row.
  members_version  bigint NOT NULL,
  -- First and last offset the member may read.
  joined_offset    bigint NOT NULL,
  left_offset      bigint,
  joined_at        timestamptz NOT NULL,
  left_at          timestamptz,
  -- relay.v1.Role
  role             smallint NOT NULL CHECK (role BETWEEN 1 AND 3),
  notify           bigint NOT NULL DEFAULT 0,
  muted_until      timestamptz,
  PRIMARY KEY (conversation_id, user_id, joined_version)
);
CREATE UNIQUE INDEX idx_members_present ON conversation_members (conversation_id, user_id) WHERE left_offset IS NULL;
CREATE INDEX idx_members_user ON conversation_members (user_id, conversation_id) WHERE left_offset IS NULL;
CREATE INDEX idx_members_version ON conversation_members (conversation_id, members_version);

CREATE TABLE media_files (
  id          uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  user_id     uuid REFERENCES users (id) ON DELETE SET NULL,
  s3_key      text NOT NULL UNIQUE,
  size        bigint NOT NULL CHECK (size >= 0),
  sha256      bytea,
  status      text NOT NULL DEFAULT 'UPLOADING' CHECK (status IN ('UPLOADING', 'READY', 'DELETED')),
  created_at  timestamptz NOT NULL DEFAULT now(),
  deleted_at  timestamptz
);
CREATE INDEX idx_media_files_user ON media_files (user_id);
CREATE INDEX idx_media_files_created ON media_files (created_at);

-- Every offset below next_offset has a row; what is gone keeps its row and loses its body.
-- Partitioned by time: a unique constraint must hold the partition key, so offsets are unique through the lock on the
-- conversation's row, and retries are caught by publish_keys. No foreign keys: the same lock stands for them.
CREATE TABLE messages (
  id               uuid NOT NULL DEFAULT gen_random_uuid(),
  conversation_id  uuid NOT NULL,
  log_offset       bigint NOT NULL,
  generation       bigint NOT NULL,
  kind             bigint NOT NULL,
  sender_id        uuid NOT NULL,
  device_id        uuid NOT NULL,
  created_at       timestamptz NOT NULL,
  relates_to       bigint,
  expires_at       timestamptz,
  publish_key      uuid NOT NULL,
  members_version  bigint NOT NULL,
  notify           smallint NOT NULL DEFAULT 0,
  media_id         uuid,
  commitment       bytea,
  -- relay.v1.GoneReason once the body is gone.
  gone             smallint,
  deleted_at       timestamptz,
  body             bytea NOT NULL,
  PRIMARY KEY (conversation_id, log_offset, created_at)
) PARTITION BY RANGE (created_at);
-- Ciphertext does not compress.
ALTER TABLE messages ALTER COLUMN body SET STORAGE EXTERNAL;
-- What no month covers still finds a place; `ensure_message_partitions` keeps it empty.
CREATE TABLE messages_other PARTITION OF messages DEFAULT;

-- Makes the partitions of this month and the next ones; returns how many are new. Called at start and daily.
CREATE FUNCTION ensure_message_partitions(months_ahead integer) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
  begins timestamptz;
  made integer := 0;
  part text;
BEGIN
  FOR n IN 0..months_ahead LOOP
    begins := date_trunc('month', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' + make_interval(months => n);
    part := 'messages_' || to_char(begins AT TIME ZONE 'UTC', 'YYYY_MM');
    IF to_regclass(part) IS NULL THEN
      EXECUTE format('CREATE TABLE %I PARTITION OF messages FOR VALUES FROM (%L) TO (%L)',
        part, begins, (begins AT TIME ZONE 'UTC' + interval '1 month') AT TIME ZONE 'UTC');
      made := made + 1;
    END IF;
  END LOOP;
  RETURN made;
END $$;
SELECT ensure_message_partitions(3);

CREATE INDEX idx_messages_conversation ON messages (conversation_id, created_at DESC);
CREATE INDEX idx_messages_sender ON messages (sender_id, created_at);
CREATE INDEX idx_messages_expires ON messages (expires_at) WHERE expires_at IS NOT NULL AND gone IS NULL;
CREATE INDEX idx_messages_media ON messages (media_id) WHERE media_id IS NOT NULL;

-- A retry finds its first offset here.
CREATE TABLE publish_keys (
  sender_id        uuid NOT NULL,
  publish_key      uuid NOT NULL,
  conversation_id  uuid NOT NULL,
  log_offset       bigint NOT NULL,
  generation       bigint NOT NULL,
  created_at       timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (sender_id, publish_key)
);

CREATE TABLE cursors (
  user_id          uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  conversation_id  uuid NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
  log_offset       bigint NOT NULL,
  updated_at       timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (user_id, conversation_id)
);
