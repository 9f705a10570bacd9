-- People, their devices, keys and tokens. Ids are UUIDv7.

CREATE TABLE users (
  id                 uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  email              text UNIQUE,
  name               text NOT NULL,
  about              text NOT NULL DEFAULT '',
  password_hash      text,
  role               text NOT NULL DEFAULT 'USER'
                     CHECK (role IN ('USER', 'AUDITOR', 'MODERATOR', 'SRE', 'ADMIN')),
  status             text NOT NULL DEFAULT 'PENDING'
                     CHECK (status IN ('PENDING', 'ACTIVE', 'SUSPENDED', 'BANNED', 'DELETED')),
  -- What a pending account waits for.
  activation         text NOT NULL DEFAULT 'NONE' CHECK (activation IN ('NONE', 'APPROVAL', 'MAIL')),
  email_verified_at  timestamptz,
  suspended_at       timestamptz,
  suspended_until    timestamptz,
  suspension_reason  text,
  banned_at          timestamptz,
  ban_reason         text,
  created_at         timestamptz NOT NULL DEFAULT now(),
  updated_at         timestamptz NOT NULL DEFAULT now(),
  last_active_at     timestamptz,
  deleted_at         timestamptz,
  -- Access tokens issued before this are void (unix seconds).
  tokens_not_before  bigint NOT NULL DEFAULT 0,
  -- Newest offset of the user's own stream.
  event_head         bigint NOT NULL DEFAULT 0
);
CREATE INDEX idx_users_last_active ON users (last_active_at) WHERE status = 'ACTIVE';
CREATE INDEX idx_users_created ON users (created_at);
CREATE INDEX idx_users_pending ON users (id) WHERE status = 'PENDING';
CREATE INDEX idx_users_suspended ON users (suspended_until) WHERE status = 'SUSPENDED';

CREATE TABLE devices (
  id                 uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  user_id            uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  name               text NOT NULL,
  created_at         timestamptz NOT NULL DEFAULT now(),
  last_seen_at       timestamptz NOT NULL,
  revoked_at         timestamptz,
  -- Access tokens of this device issued before this are void (unix seconds).
  tokens_not_before  bigint NOT NULL DEFAULT 0
);
CREATE INDEX idx_devices_user ON devices (user_id);

CREATE TABLE key_bundles (
  device_id     uuid PRIMARY KEY REFERENCES devices (id) ON DELETE CASCADE,
  user_id       uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  identity_key  bytea NOT NULL,
  last_resort   bytea,
  published_at  timestamptz NOT NULL
);
CREATE INDEX idx_key_bundles_user ON key_bundles (user_id);

-- One-time packages. Claiming one deletes it.
CREATE TABLE key_packages (
  id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  device_id  uuid NOT NULL REFERENCES key_bundles (device_id) ON DELETE CASCADE,
  package    bytea NOT NULL
);
CREATE INDEX idx_key_packages_device ON key_packages (device_id, id);

-- Only hashes of tokens are kept.
CREATE TABLE refresh_tokens (
  token_hash  bytea PRIMARY KEY CHECK (octet_length(token_hash) = 32),
  family_id   uuid NOT NULL,
  user_id     uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  device_id   uuid NOT NULL REFERENCES devices (id) ON DELETE CASCADE,
  created_at  timestamptz NOT NULL DEFAULT now(),
  expires_at  timestamptz NOT NULL,
  used_at     timestamptz,
  revoked_at  timestamptz
);
CREATE INDEX idx_refresh_tokens_family ON refresh_tokens (family_id);
CREATE INDEX idx_refresh_tokens_device ON refresh_tokens (device_id);
CREATE INDEX idx_refresh_tokens_user ON refresh_tokens (user_id);
CREATE INDEX idx_refresh_tokens_expires ON refresh_tokens (expires_at);

-- Mail verification and password reset.
CREATE TABLE one_time_tokens (
  token_hash  bytea PRIMARY KEY CHECK (octet_length(token_hash) = 32),
  purpose     text NOT NULL CHECK (purpose IN ('VERIFY', 'RESET')),
  user_id     uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  created_at  timestamptz NOT NULL DEFAULT now(),
  expires_at  timestamptz NOT NULL
);
CREATE INDEX idx_one_time_tokens_user ON one_time_tokens (user_id, purpose);
CREATE INDEX idx_one_time_tokens_expires ON one_time_tokens (expires_at);

CREATE TABLE invites (
  id          uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  token_hash  bytea NOT NULL UNIQUE,
  email       text,
  role        text NOT NULL DEFAULT 'USER',
  created_by  uuid,
  created_at  timestamptz NOT NULL DEFAULT now(),
  expires_at  timestamptz NOT NULL,
  used_by     uuid,
  used_at     timestamptz,
  revoked_at  timestamptz
);

-- Sessions of the console (browser), not of the relay.
CREATE TABLE sessions (
  id_hash     bytea PRIMARY KEY CHECK (octet_length(id_hash) = 32),
  user_id     uuid REFERENCES users (id) ON DELETE CASCADE,
  data        bytea NOT NULL,
  created_at  timestamptz NOT NULL DEFAULT now(),
  expires_at  timestamptz NOT NULL
);
CREATE INDEX idx_sessions_user ON sessions (user_id);
CREATE INDEX idx_sessions_expires ON sessions (expires_at);

CREATE TABLE blocks (
  user_id     uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  blocked_id  uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  created_at  timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (user_id, blocked_id)
);
CREATE INDEX idx_blocks_blocked ON blocks (blocked_id);

CREATE TABLE settings (
  user_id     uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  name        text NOT NULL,
  value       text NOT NULL,
  updated_at  timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (user_id, name)
);

-- The user's own stream: dense offsets from 1, one for all devices. `event` is a relay.v1.UserEvent.
CREATE TABLE user_events (
  user_id     uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  log_offset  bigint NOT NULL,
  generation  bigint NOT NULL,
  created_at  timestamptz NOT NULL DEFAULT now(),
  event       bytea NOT NULL,
  PRIMARY KEY (user_id, log_offset)
);
