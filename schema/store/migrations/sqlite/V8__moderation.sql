-- Moderation: one case per account that reports or flags are open about, decisions that wait before they take effect.

ALTER TABLE reports ADD COLUMN comment TEXT NOT NULL DEFAULT '';
-- What the evidence is worth: STORED is what the relay keeps, COMMITTED fits the sender's commitment, CLAIMED neither.
ALTER TABLE reports ADD COLUMN proof TEXT NOT NULL DEFAULT 'NONE'
  CHECK (proof IN ('NONE', 'CLAIMED', 'COMMITTED', 'STORED'));
ALTER TABLE reports ADD COLUMN decision_id BLOB;
ALTER TABLE flags ADD COLUMN decision_id BLOB;
ALTER TABLE moderation_actions ADD COLUMN decision_id BLOB;
CREATE INDEX idx_reports_open ON reports (reported_user_id, created_at) WHERE status = 'PENDING';
CREATE INDEX idx_flags_open ON flags (user_id, created_at) WHERE status = 'OPEN';

CREATE TABLE moderation_cases (
  user_id           BLOB PRIMARY KEY NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  -- DECIDED: a decision waits for its time or for a second pair of eyes.
  state             TEXT NOT NULL CHECK (state IN ('OPEN', 'DECIDED', 'RESOLVED')),
  -- Oldest open report or flag.
  opened_at         INTEGER NOT NULL,
  claimed_by        BLOB,
  claim_expires_at  INTEGER NOT NULL DEFAULT 0,
  resolved_at       INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX idx_cases_open ON moderation_cases (opened_at, user_id) WHERE state = 'OPEN';
CREATE INDEX idx_cases_decided ON moderation_cases (opened_at, user_id) WHERE state = 'DECIDED';
CREATE INDEX idx_cases_resolved ON moderation_cases (resolved_at, user_id) WHERE state = 'RESOLVED';

CREATE TABLE moderation_decisions (
  id            BLOB PRIMARY KEY NOT NULL CHECK (length(id) = 16),
  user_id       BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  moderator_id  BLOB NOT NULL,
  -- Names with commas between them.
  actions       TEXT NOT NULL,
  days          INTEGER NOT NULL DEFAULT 0,
  with_address  INTEGER NOT NULL DEFAULT 0,
  -- The address that was banned with the account.
  address       TEXT,
  reason        TEXT NOT NULL,
  -- What the account is told; NULL: nothing.
  notice        TEXT,
  state         TEXT NOT NULL
                CHECK (state IN ('WAITING', 'PENDING', 'DONE', 'UNDONE', 'REFUSED', 'REVERSED', 'FAILED')),
  created_at    INTEGER NOT NULL,
  due_at        INTEGER,
  second_id     BLOB,
  ended_at      INTEGER,
  ended_by      BLOB,
  -- 0: a letter is still to be sent.
  mailed_at     INTEGER
) STRICT;
CREATE INDEX idx_decisions_due ON moderation_decisions (due_at) WHERE state = 'PENDING';
CREATE INDEX idx_decisions_waiting ON moderation_decisions (created_at) WHERE state = 'WAITING';
CREATE INDEX idx_decisions_letters ON moderation_decisions (ended_at) WHERE mailed_at = 0;
CREATE INDEX idx_decisions_user ON moderation_decisions (user_id, created_at);

-- New reports about these accounts raise no case until then.
CREATE TABLE moderation_mutes (
  user_id       BLOB PRIMARY KEY NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  until         INTEGER NOT NULL,
  moderator_id  BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- Also for whoever reports or flags straight in SQL.
CREATE TRIGGER reports_open_a_case AFTER INSERT ON reports
WHEN new.status = 'PENDING' AND new.reported_user_id IS NOT NULL
BEGIN
  INSERT INTO moderation_cases (user_id, state, opened_at) VALUES (new.reported_user_id, 'OPEN', new.created_at)
  ON CONFLICT (user_id) DO UPDATE SET state = 'OPEN', opened_at = excluded.opened_at, claimed_by = NULL,
    claim_expires_at = 0
  WHERE moderation_cases.state = 'RESOLVED';
END;
CREATE TRIGGER flags_open_a_case AFTER INSERT ON flags WHEN new.status = 'OPEN' AND new.user_id IS NOT NULL
BEGIN
  INSERT INTO moderation_cases (user_id, state, opened_at) VALUES (new.user_id, 'OPEN', new.created_at)
  ON CONFLICT (user_id) DO UPDATE SET state = 'OPEN', opened_at = excluded.opened_at, claimed_by = NULL,
    claim_expires_at = 0
  WHERE moderation_cases.state = 'RESOLVED';
END;
INSERT INTO moderation_cases (user_id, state, opened_at)
  SELECT subject, 'OPEN', min(created_at) FROM (
    SELECT reported_user_id AS subject, created_at FROM reports WHERE status = 'PENDING'
    UNION ALL SELECT user_id, created_at FROM flags WHERE status = 'OPEN')
  WHERE subject IS NOT NULL GROUP BY subject;
