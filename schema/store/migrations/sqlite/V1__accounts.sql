-- People, their devices, keys and tokens. Ids are 16 bytes (UUIDv7), times unix milliseconds.

CREATE TABLE users (
  id                 BLOB PRIMARY KEY NOT NULL CHECK (length(id) = 16),
  email              TEXT UNIQUE,
  name               TEXT NOT NULL,
  about              TEXT NOT NULL DEFAULT '',
  password_hash      TEXT,
  role               TEXT NOT NULL DEFAULT 'USER'
                     CHECK (role IN ('USER', 'AUDITOR', 'MODERATOR', 'SRE', 'ADMIN')),
  status             TEXT NOT NULL DEFAULT 'PENDING'
                     CHECK (status IN ('PENDING', 'ACTIVE', 'SUSPENDED', 'BANNED', 'DELETED')),
  -- What a pending account waits for.
  activation         TEXT NOT NULL DEFAULT 'NONE' CHECK (activation IN ('NONE', 'APPROVAL', 'MAIL')),
  email_verified_at  INTEGER,
  suspended_at       INTEGER,
  suspended_until    INTEGER,
  suspension_reason  TEXT,
  banned_at          INTEGER,
  ban_reason         TEXT,
  created_at         INTEGER NOT NULL,
  updated_at         INTEGER NOT NULL,
  last_active_at     INTEGER,
  deleted_at         INTEGER,
  -- Access tokens issued before this are void (unix seconds).
  tokens_not_before  INTEGER NOT NULL DEFAULT 0,
  -- Newest offset of the user's own stream.
  event_head         INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX idx_users_last_active ON users (last_active_at) WHERE status = 'ACTIVE';
CREATE INDEX idx_users_created ON users (created_at);
CREATE INDEX idx_users_pending ON users (id) WHERE status = 'PENDING';
CREATE INDEX idx_users_suspended ON users (suspended_until) WHERE status = 'SUSPENDED';

CREATE TABLE devices (
  id                 BLOB PRIMARY KEY NOT NULL CHECK (length(id) = 16),
  user_id            BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  name               TEXT NOT NULL,
  created_at         INTEGER NOT NULL,
  last_seen_at       INTEGER NOT NULL,
  revoked_at         INTEGER,
  -- Access tokens of this device issued before this are void (unix seconds).
  tokens_not_before  INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX idx_devices_user ON devices (user_id);

CREATE TABLE key_bundles (
  device_id     BLOB PRIMARY KEY NOT NULL REFERENCES devices (id) ON DELETE CASCADE,
  user_id       BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  identity_key  BLOB NOT NULL,
  last_resort   BLOB,
  published_at  INTEGER NOT NULL
) STRICT;
CREATE INDEX idx_key_bundles_user ON key_bundles (user_id);

-- One-time packages. Claiming one deletes it.
CREATE TABLE key_packages (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  device_id  BLOB NOT NULL REFERENCES key_bundles (device_id) ON DELETE CASCADE,
  package    BLOB NOT NULL
) STRICT;
CREATE INDEX idx_key_packages_device ON key_packages (device_id, id);

-- Only hashes of tokens are kept.
CREATE TABLE refresh_tokens (
  token_hash  BLOB PRIMARY KEY NOT NULL CHECK (length(token_hash) = 32),
  family_id   BLOB NOT NULL,
  user_id     BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  device_id   BLOB NOT NULL REFERENCES devices (id) ON DELETE CASCADE,
  created_at  INTEGER NOT NULL,
  expires_at  INTEGER NOT NULL,
  used_at     INTEGER,
  revoked_at  INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX idx_refresh_tokens_family ON refresh_tokens (family_id);
CREATE INDEX idx_refresh_tokens_device ON refresh_tokens (device_id);
CREATE INDEX idx_refresh_tokens_user ON refresh_tokens (user_id);
CREATE INDEX idx_refresh_tokens_expires ON refresh_tokens (expires_at);

-- Mail verification and password reset.
CREATE TABLE one_time_tokens (
  token_hash  BLOB PRIMARY KEY NOT NULL CHECK (length(token_hash) = 32),
  purpose     TEXT NOT NULL CHECK (purpose IN ('VERIFY', 'RESET')),
  user_id     BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  created_at  INTEGER NOT NULL,
  expires_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX idx_one_time_tokens_user ON one_time_tokens (user_id, purpose);
CREATE INDEX idx_one_time_tokens_expires ON one_time_tokens (expires_at);

CREATE TABLE invites (
  id          BLOB PRIMARY KEY NOT NULL CHECK (length(id) = 16),
  token_hash  BLOB NOT NULL UNIQUE,
  email       TEXT,
  role        TEXT NOT NULL DEFAULT 'USER',
  created_by  BLOB,
  created_at  INTEGER NOT NULL,
  expires_at  INTEGER NOT NULL,
  used_by     BLOB,
  used_at     INTEGER,
  revoked_at  INTEGER
) STRICT;

-- Sessions of the console (browser), not of the relay.
CREATE TABLE sessions (
  id_hash     BLOB PRIMARY KEY NOT NULL CHECK (length(id_hash) = 32),
  user_id     BLOB REFERENCES users (id) ON DELETE CASCADE,
  data        BLOB NOT NULL,
  created_at  INTEGER NOT NULL,
  expires_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX idx_sessions_user ON sessions (user_id);
CREATE INDEX idx_sessions_expires ON sessions (expires_at);

CREATE TABLE blocks (
  user_id     BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  blocked_id  BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  created_at  INTEGER NOT NULL,
  PRIMARY KEY (user_id, blocked_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX idx_blocks_blocked ON blocks (blocked_id);

CREATE TABLE settings (
  user_id     BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  name        TEXT NOT NULL,
  value       TEXT NOT NULL,
  updated_at  INTEGER NOT NULL,
  PRIMARY KEY (user_id, name)
) STRICT, WITHOUT ROWID;

-- The user's own stream: dense offsets from 1, one for all devices. `event` is a relay.v1.UserEvent.
CREATE TABLE user_events (
  user_id     BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  log_offset  INTEGER NOT NULL,
  generation  INTEGER NOT NULL,
  created_at  INTEGER NOT NULL,
  event       BLOB NOT NULL,
  PRIMARY KEY (user_id, log_offset)
) STRICT, WITHOUT ROWID;
