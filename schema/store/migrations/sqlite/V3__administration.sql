-- Moderation, audit, operations.

CREATE TABLE reports (
  id                BLOB PRIMARY KEY NOT NULL CHECK (length(id) = 16),
  reporter_id       BLOB REFERENCES users (id) ON DELETE SET NULL,
  reported_user_id  BLOB REFERENCES users (id) ON DELETE SET NULL,
  conversation_id   BLOB,
  message_offset    INTEGER,
  reason            TEXT NOT NULL,
  evidence          BLOB,
  status            TEXT NOT NULL DEFAULT 'PENDING' CHECK (status IN ('PENDING', 'RESOLVED', 'DISMISSED')),
  created_at        INTEGER NOT NULL,
  resolved_at       INTEGER,
  resolved_by       BLOB,
  resolution        TEXT
) STRICT;
CREATE INDEX idx_reports_status ON reports (status, created_at DESC);
CREATE INDEX idx_reports_reported ON reports (reported_user_id);
CREATE INDEX idx_reports_reporter ON reports (reporter_id);

CREATE TABLE flags (
  id           BLOB PRIMARY KEY NOT NULL CHECK (length(id) = 16),
  user_id      BLOB REFERENCES users (id) ON DELETE CASCADE,
  rule         TEXT NOT NULL,
  detail       TEXT NOT NULL DEFAULT '',
  status       TEXT NOT NULL DEFAULT 'OPEN' CHECK (status IN ('OPEN', 'CLOSED')),
  created_at   INTEGER NOT NULL,
  closed_at    INTEGER,
  closed_by    BLOB
) STRICT;
CREATE INDEX idx_flags_status ON flags (status, created_at DESC);
CREATE INDEX idx_flags_user ON flags (user_id);

CREATE TABLE moderation_actions (
  id            BLOB PRIMARY KEY NOT NULL CHECK (length(id) = 16),
  user_id       BLOB REFERENCES users (id) ON DELETE SET NULL,
  moderator_id  BLOB,
  report_id     BLOB REFERENCES reports (id) ON DELETE SET NULL,
  action        TEXT NOT NULL,
  reason        TEXT NOT NULL DEFAULT '',
  until         INTEGER,
  created_at    INTEGER NOT NULL,
  undone_at     INTEGER,
  undone_by     BLOB
) STRICT;
CREATE INDEX idx_moderation_actions_user ON moderation_actions (user_id, created_at DESC);
CREATE INDEX idx_moderation_actions_report ON moderation_actions (report_id);

CREATE TABLE banned_ips (
  id          INTEGER PRIMARY KEY AUTOINCREMENT,
  ip_address  TEXT NOT NULL UNIQUE,
  reason      TEXT NOT NULL DEFAULT '',
  created_at  INTEGER NOT NULL DEFAULT (CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)),
  expires_at  INTEGER,
  created_by  BLOB
) STRICT;

-- Hash-chained: `hash` covers the row and the hash of the row before it.
CREATE TABLE audit_logs (
  id          INTEGER PRIMARY KEY NOT NULL,
  event_type  TEXT NOT NULL,
  user_id     BLOB,
  actor_id    BLOB,
  ip_address  TEXT,
  user_agent  TEXT,
  detail      TEXT NOT NULL DEFAULT '',
  created_at  INTEGER NOT NULL,
  hash        BLOB NOT NULL CHECK (length(hash) = 32)
) STRICT;
CREATE INDEX idx_audit_logs_created ON audit_logs (created_at);
CREATE INDEX idx_audit_logs_event ON audit_logs (event_type, created_at);
CREATE INDEX idx_audit_logs_user ON audit_logs (user_id, id);

-- Lives of the store. The newest is the present one.
CREATE TABLE store_generation (
  generation  INTEGER PRIMARY KEY NOT NULL,
  reason      TEXT NOT NULL,
  begun_at    INTEGER NOT NULL
) STRICT;
INSERT INTO store_generation VALUES (1, 'created', CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER));

-- Where each log stood when a generation began: what older positions lie beyond.
CREATE TABLE generation_heads (
  conversation_id  BLOB NOT NULL,
  generation       INTEGER NOT NULL,
  head             INTEGER NOT NULL,
  PRIMARY KEY (conversation_id, generation)
) STRICT, WITHOUT ROWID;
CREATE TABLE generation_user_heads (
  user_id     BLOB NOT NULL,
  generation  INTEGER NOT NULL,
  head        INTEGER NOT NULL,
  PRIMARY KEY (user_id, generation)
) STRICT, WITHOUT ROWID;

-- What live sessions must learn within a second. One writer at a time, so rising ids are commit order.
CREATE TABLE change_log (
  id               INTEGER PRIMARY KEY AUTOINCREMENT,
  kind             TEXT NOT NULL,
  user_id          BLOB,
  device_id        BLOB,
  conversation_id  BLOB,
  number           INTEGER,
  text             TEXT,
  created_at       INTEGER NOT NULL
) STRICT;
CREATE INDEX idx_change_log_created ON change_log (created_at);

-- Also for whoever changes these straight in SQL.
CREATE TRIGGER users_status_changed AFTER UPDATE OF status, suspended_until ON users
WHEN old.status IS NOT new.status OR (new.status = 'SUSPENDED' AND old.suspended_until IS NOT new.suspended_until)
BEGIN
  UPDATE users SET suspended_until = NULL WHERE id = new.id AND new.status <> 'SUSPENDED';
  INSERT INTO change_log (kind, user_id, number, text, created_at)
  VALUES ('USER_STATUS', new.id, CASE new.status WHEN 'SUSPENDED' THEN new.suspended_until END, new.status,
          CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER));
END;
CREATE TRIGGER users_removed AFTER DELETE ON users WHEN old.status <> 'DELETED'
BEGIN
  INSERT INTO change_log (kind, user_id, text, created_at)
  VALUES ('USER_STATUS', old.id, 'DELETED', CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER));
END;
CREATE TRIGGER banned_ips_added AFTER INSERT ON banned_ips
BEGIN
  INSERT INTO change_log (kind, text, created_at)
  VALUES ('ADDRESS_BANNED', new.ip_address, CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER));
END;

-- Which accounts were erased, so that restoring an older backup can erase them again. No personal data.
CREATE TABLE erasure_ledger (
  id          INTEGER PRIMARY KEY AUTOINCREMENT,
  user_id     BLOB NOT NULL,
  reason      TEXT NOT NULL,
  messages    INTEGER NOT NULL,
  erased_at   INTEGER NOT NULL
) STRICT;
CREATE INDEX idx_erasure_ledger_user ON erasure_ledger (user_id);

CREATE TABLE backups (
  id           BLOB PRIMARY KEY NOT NULL CHECK (length(id) = 16),
  kind         TEXT NOT NULL,
  location     TEXT NOT NULL,
  status       TEXT NOT NULL,
  size         INTEGER,
  sha256       BLOB,
  generation   INTEGER,
  audit_id     INTEGER,
  audit_hash   BLOB,
  started_at   INTEGER NOT NULL,
  finished_at  INTEGER,
  error        TEXT
) STRICT;
CREATE INDEX idx_backups_started ON backups (started_at);

CREATE TABLE restore_drills (
  id           BLOB PRIMARY KEY NOT NULL CHECK (length(id) = 16),
  backup_id    BLOB REFERENCES backups (id) ON DELETE SET NULL,
  status       TEXT NOT NULL,
  started_at   INTEGER NOT NULL,
  finished_at  INTEGER,
  detail       TEXT NOT NULL DEFAULT ''
) STRICT;

CREATE TABLE relay_nodes (
  id          INTEGER PRIMARY KEY NOT NULL,
  name        TEXT NOT NULL,
  address     TEXT NOT NULL,
  version     TEXT NOT NULL,
  state       TEXT NOT NULL,
  started_at  INTEGER NOT NULL,
  seen_at     INTEGER NOT NULL
) STRICT;

-- The row that a readiness check writes.
CREATE TABLE store_check (
  id          INTEGER PRIMARY KEY NOT NULL CHECK (id = 1),
  checked_at  INTEGER NOT NULL
) STRICT;
INSERT INTO store_check VALUES (1, 0);
