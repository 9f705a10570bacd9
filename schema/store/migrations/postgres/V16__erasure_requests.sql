-- Erasures that wait for a second administrator.

CREATE TABLE erasure_requests (
  user_id   uuid PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
  asked_by  uuid NOT NULL,
  reason    text NOT NULL,
  asked_at  timestamptz NOT NULL
);
CREATE INDEX idx_erasure_requests_asked ON erasure_requests (asked_at);
