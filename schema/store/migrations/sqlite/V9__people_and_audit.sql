-- What the pages about people and the audit trail look things up by.

CREATE INDEX idx_users_name ON users (lower(name), id);
CREATE INDEX idx_audit_logs_event_id ON audit_logs (event_type, id);
