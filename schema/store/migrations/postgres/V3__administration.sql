-- Moderation, audit, operations.

CREATE TABLE reports (
  id                uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  reporter_id       uuid REFERENCES users (id) ON DELETE SET NULL,
  reported_user_id  uuid REFERENCES users (id) ON DELETE SET NULL,
  conversation_id   uuid,
  message_offset    bigint,
  reason            text NOT NULL,
  evidence          bytea,
  status            text NOT NULL DEFAULT 'PENDING' CHECK (status IN ('PENDING', 'RESOLVED', 'DISMISSED')),
  created_at        timestamptz NOT NULL DEFAULT now(),
  resolved_at       timestamptz,
  resolved_by       uuid,
  resolution        text
);
CREATE INDEX idx_reports_status ON reports (status, created_at DESC);
CREATE INDEX idx_reports_reported ON reports (reported_user_id);
CREATE INDEX idx_reports_reporter ON reports (reporter_id);

CREATE TABLE flags (
  id           uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  user_id      uuid REFERENCES users (id) ON DELETE CASCADE,
  rule         text NOT NULL,
  detail       text NOT NULL DEFAULT '',
  status       text NOT NULL DEFAULT 'OPEN' CHECK (status IN ('OPEN', 'CLOSED')),
  created_at   timestamptz NOT NULL DEFAULT now(),
  closed_at    timestamptz,
  closed_by    uuid
);
CREATE INDEX idx_flags_status ON flags (status, created_at DESC);
CREATE INDEX idx_flags_user ON flags (user_id);

CREATE TABLE moderation_actions (
  id            uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  user_id       uuid REFERENCES users (id) ON DELETE SET NULL,
  moderator_id  uuid,
  report_id     uuid REFERENCES reports (id) ON DELETE SET NULL,
  action        text NOT NULL,
  reason        text NOT NULL DEFAULT '',
  until         timestamptz,
  created_at    timestamptz NOT NULL DEFAULT now(),
  undone_at     timestamptz,
  undone_by     uuid
);
CREATE INDEX idx_moderation_actions_user ON moderation_actions (user_id, created_at DESC);
CREATE INDEX idx_moderation_actions_report ON moderation_actions (report_id);

CREATE TABLE banned_ips (
  id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  ip_address  inet NOT NULL UNIQUE,
  reason      text NOT NULL DEFAULT '',
  created_at  timestamptz NOT NULL DEFAULT now(),
  expires_at  timestamptz,
  created_by  uuid
);

-- Hash-chained: `hash` covers the row and the hash of the row before it.
CREATE TABLE audit_logs (
  id          bigint PRIMARY KEY,
  event_type  text NOT NULL,
  user_id     uuid,
  actor_id    uuid,
  ip_address  inet,
  user_agent  text,
  detail      text NOT NULL DEFAULT '',
  created_at  timestamptz NOT NULL DEFAULT now(),
  hash        bytea NOT NULL CHECK (octet_length(hash) = 32)
);
CREATE INDEX idx_audit_logs_created ON audit_logs (created_at);
CREATE INDEX idx_audit_logs_event ON audit_logs (event_type, created_at);
CREATE INDEX idx_audit_logs_user ON audit_logs (user_id, id);

-- Lives of the store. The newest is the present one.
CREATE TABLE store_generation (
  generation  bigint PRIMARY KEY,
  reason      text NOT NULL,
  begun_at    timestamptz NOT NULL
);
INSERT INTO store_generation VALUES (1, 'created', now());

-- Where each log stood when a generation began: what older positions lie beyond.
CREATE TABLE generation_heads (
  conversation_id  uuid NOT NULL,
  generation       bigint NOT NULL,
  head             bigint NOT NULL,
  PRIMARY KEY (conversation_id, generation)
);
CREATE TABLE generation_user_heads (
  user_id     uuid NOT NULL,
  generation  bigint NOT NULL,
  head        bigint NOT NULL,
  PRIMARY KEY (user_id, generation)
);

-- What live sessions must learn within a second. Ids are taken before the commit, so they do not rise in commit order:
-- readers go by (txid, id) and stop before the oldest transaction still running (pg_snapshot_xmin).
CREATE TABLE change_log (
  id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  txid             xid8 NOT NULL DEFAULT pg_current_xact_id(),
  kind             text NOT NULL,
  user_id          uuid,
  device_id        uuid,
  conversation_id  uuid,
  -- Of a status: the end of the suspension, unix milliseconds.
  number           bigint,
  text             text,
  created_at       timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX idx_change_log_commit ON change_log (txid, id);
CREATE INDEX idx_change_log_created ON change_log (created_at);

-- Also for whoever changes these straight in SQL.
CREATE FUNCTION users_status_settled() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF new.status <> 'SUSPENDED' THEN
    new.suspended_until := NULL;
  END IF;
  RETURN new;
END $$;
CREATE TRIGGER users_status_settled BEFORE UPDATE OF status ON users
FOR EACH ROW WHEN (old.status IS DISTINCT FROM new.status) EXECUTE FUNCTION users_status_settled();

CREATE FUNCTION users_status_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO change_log (kind, user_id, number, text)
  VALUES ('USER_STATUS', new.id,
    CASE new.status WHEN 'SUSPENDED' THEN (extract(epoch FROM new.suspended_until) * 1000)::bigint END, new.status);
  RETURN NULL;
END $$;
CREATE TRIGGER users_status_changed AFTER UPDATE OF status, suspended_until ON users
FOR EACH ROW WHEN (old.status IS DISTINCT FROM new.status
  OR (new.status = 'SUSPENDED' AND old.suspended_until IS DISTINCT FROM new.suspended_until))
EXECUTE FUNCTION users_status_changed();

CREATE FUNCTION users_removed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO change_log (kind, user_id, text) VALUES ('USER_STATUS', old.id, 'DELETED');
  RETURN NULL;
END $$;
CREATE TRIGGER users_removed AFTER DELETE ON users
FOR EACH ROW WHEN (old.status <> 'DELETED') EXECUTE FUNCTION users_removed();

CREATE FUNCTION banned_ips_added() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO change_log (kind, text) VALUES ('ADDRESS_BANNED', host(new.ip_address));
  RETURN NULL;
END $$;
CREATE TRIGGER banned_ips_added AFTER INSERT ON banned_ips FOR EACH ROW EXECUTE FUNCTION banned_ips_added();

-- Which accounts were erased, so that restoring an older backup can erase them again. No personal data.
CREATE TABLE erasure_ledger (
  id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  user_id     uuid NOT NULL,
  reason      text NOT NULL,
  messages    bigint NOT NULL,
  erased_at   timestamptz NOT NULL
);
CREATE INDEX idx_erasure_ledger_user ON erasure_ledger (user_id);

CREATE TABLE backups (
  id           uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  kind         text NOT NULL,
  location     text NOT NULL,
  status       text NOT NULL,
  size         bigint,
  sha256       bytea,
  generation   bigint,
  audit_id     bigint,
  audit_hash   bytea,
  started_at   timestamptz NOT NULL,
  finished_at  timestamptz,
  error        text
);
CREATE INDEX idx_backups_started ON backups (started_at);

CREATE TABLE restore_drills (
  id           uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  backup_id    uuid REFERENCES backups (id) ON DELETE SET NULL,
  status       text NOT NULL,
  started_at   timestamptz NOT NULL,
  finished_at  timestamptz,
  detail       text NOT NULL DEFAULT ''
);

CREATE TABLE relay_nodes (
  id          bigint PRIMARY KEY,
  name        text NOT NULL,
  address     text NOT NULL,
  version     text NOT NULL,
  state       text NOT NULL,
  started_at  timestamptz NOT NULL,
  seen_at     timestamptz NOT NULL
);

-- The row that a readiness check writes.
CREATE TABLE store_check (
  id          bigint PRIMARY KEY CHECK (id = 1),
  checked_at  timestamptz NOT NULL
);
INSERT INTO store_check VALUES (1, now());
