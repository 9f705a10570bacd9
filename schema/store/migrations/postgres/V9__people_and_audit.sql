-- What the pages about people and the audit trail look things up by.

CREATE INDEX idx_users_name ON users (lower(name) text_pattern_ops, id);
CREATE INDEX idx_users_email ON users (email text_pattern_ops, id);
CREATE INDEX idx_audit_logs_event_id ON audit_logs (event_type, id);
