-- Moderation: one case per account that reports or flags are open about, decisions that wait before they take effect.

ALTER TABLE reports
  ADD COLUMN comment text NOT NULL DEFAULT '',
  -- What the evidence is worth: STORED is what the relay keeps, COMMITTED fits the sender's commitment, CLAIMED neither.
  ADD COLUMN proof text NOT NULL DEFAULT 'NONE' CHECK (proof IN ('NONE', 'CLAIMED', 'COMMITTED', 'STORED')),
  ADD COLUMN decision_id uuid;
ALTER TABLE flags ADD COLUMN decision_id uuid;
ALTER TABLE moderation_actions ADD COLUMN decision_id uuid;
CREATE INDEX idx_reports_open ON reports (reported_user_id, created_at) WHERE status = 'PENDING';
CREATE INDEX idx_flags_open ON flags (user_id, created_at) WHERE status = 'OPEN';

CREATE TABLE moderation_cases (
  user_id           uuid PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
  -- DECIDED: a decision waits for its time or for a second pair of eyes.
  state             text NOT NULL CHECK (state IN ('OPEN', 'DECIDED', 'RESOLVED')),
  -- Oldest open report or flag.
  opened_at         timestamptz NOT NULL,
  claimed_by        uuid,
  claim_expires_at  timestamptz NOT NULL DEFAULT 'epoch',
  resolved_at       timestamptz
);
CREATE INDEX idx_cases_open ON moderation_cases (opened_at, user_id) WHERE state = 'OPEN';
CREATE INDEX idx_cases_decided ON moderation_cases (opened_at, user_id) WHERE state = 'DECIDED';
CREATE INDEX idx_cases_resolved ON moderation_cases (resolved_at, user_id) WHERE state = 'RESOLVED';

CREATE TABLE moderation_decisions (
  id            uuid PRIMARY KEY,
  user_id       uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  moderator_id  uuid NOT NULL,
  -- Names with commas between them.
  actions       text NOT NULL,
  days          integer NOT NULL DEFAULT 0,
  with_address  boolean NOT NULL DEFAULT false,
  -- The address that was banned with the account.
  address       inet,
  reason        text NOT NULL,
  -- What the account is told; NULL: nothing.
  notice        text,
  state         text NOT NULL
                CHECK (state IN ('WAITING', 'PENDING', 'DONE', 'UNDONE', 'REFUSED', 'REVERSED', 'FAILED')),
  created_at    timestamptz NOT NULL,
  due_at        timestamptz,
  second_id     uuid,
  ended_at      timestamptz,
  ended_by      uuid,
  -- The epoch: a letter is still to be sent.
  mailed_at     timestamptz
);
CREATE INDEX idx_decisions_due ON moderation_decisions (due_at) WHERE state = 'PENDING';
CREATE INDEX idx_decisions_waiting ON moderation_decisions (created_at) WHERE state = 'WAITING';
CREATE INDEX idx_decisions_letters ON moderation_decisions (ended_at) WHERE mailed_at = 'epoch';
CREATE INDEX idx_decisions_user ON moderation_decisions (user_id, created_at);

-- New reports about these accounts raise no case until then.
CREATE TABLE moderation_mutes (
  user_id       uuid PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
  until         timestamptz NOT NULL,
  moderator_id  uuid NOT NULL
);

-- Also for whoever reports or flags straight in SQL.
CREATE FUNCTION open_moderation_case(subject uuid, at timestamptz) RETURNS void LANGUAGE sql AS $$
  INSERT INTO moderation_cases AS c (user_id, state, opened_at) VALUES (subject, 'OPEN', at)
  ON CONFLICT (user_id) DO UPDATE SET state = 'OPEN', opened_at = excluded.opened_at, claimed_by = NULL,
    claim_expires_at = 'epoch'
  WHERE c.state = 'RESOLVED';
$$;
CREATE FUNCTION report_opens_a_case() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF new.status = 'PENDING' AND new.reported_user_id IS NOT NULL THEN
    PERFORM open_moderation_case(new.reported_user_id, new.created_at);
  END IF;
  RETURN NULL;
END $$;
CREATE FUNCTION flag_opens_a_case() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF new.status = 'OPEN' AND new.user_id IS NOT NULL THEN
    PERFORM open_moderation_case(new.user_id, new.created_at);
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER reports_open_a_case AFTER INSERT ON reports FOR EACH ROW EXECUTE FUNCTION report_opens_a_case();
CREATE TRIGGER flags_open_a_case AFTER INSERT ON flags FOR EACH ROW EXECUTE FUNCTION flag_opens_a_case();
INSERT INTO moderation_cases (user_id, state, opened_at)
  SELECT subject, 'OPEN', min(created_at) FROM (
    SELECT reported_user_id AS subject, created_at FROM reports WHERE status = 'PENDING'
    UNION ALL SELECT user_id, created_at FROM flags WHERE status = 'OPEN') open
  WHERE subject IS NOT NULL GROUP BY subject;
