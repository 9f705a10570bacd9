-- What accounts answer to decisions about them; another moderator looks at each.

CREATE TABLE moderation_appeals (
  decision_id  BLOB PRIMARY KEY NOT NULL REFERENCES moderation_decisions (id) ON DELETE CASCADE,
  user_id      BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  text         TEXT NOT NULL,
  state        TEXT NOT NULL DEFAULT 'OPEN' CHECK (state IN ('OPEN', 'UPHELD', 'GRANTED')),
  created_at   INTEGER NOT NULL,
  -- What the account is told.
  answer       TEXT,
  answered_by  BLOB,
  answered_at  INTEGER,
  -- 0: a letter with the answer is still to be sent.
  mailed_at    INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX idx_appeals_user ON moderation_appeals (user_id, created_at);
CREATE INDEX idx_appeals_open ON moderation_appeals (user_id, created_at) WHERE state = 'OPEN';
CREATE INDEX idx_appeals_letters ON moderation_appeals (answered_at) WHERE mailed_at = 0;

CREATE TRIGGER appeals_open_a_case AFTER INSERT ON moderation_appeals WHEN new.state = 'OPEN'
BEGIN
  INSERT INTO moderation_cases (user_id, state, opened_at) VALUES (new.user_id, 'OPEN', new.created_at)
  ON CONFLICT (user_id) DO UPDATE SET state = 'OPEN', opened_at = excluded.opened_at, claimed_by = NULL,
    claim_expires_at = 0
  WHERE moderation_cases.state = 'RESOLVED';
END;
