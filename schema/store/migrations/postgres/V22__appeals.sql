-- What accounts answer to decisions about them; another moderator looks at each.

CREATE TABLE moderation_appeals (
  decision_id  uuid PRIMARY KEY REFERENCES moderation_decisions (id) ON DELETE CASCADE,
  user_id      uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  text         text NOT NULL,
  state        text NOT NULL DEFAULT 'OPEN' CHECK (state IN ('OPEN', 'UPHELD', 'GRANTED')),
  created_at   timestamptz NOT NULL,
  -- What the account is told.
  answer       text,
  answered_by  uuid,
  answered_at  timestamptz,
  -- The epoch: a letter with the answer is still to be sent.
  mailed_at    timestamptz
);
CREATE INDEX idx_appeals_user ON moderation_appeals (user_id, created_at);
CREATE INDEX idx_appeals_open ON moderation_appeals (user_id, created_at) WHERE state = 'OPEN';
CREATE INDEX idx_appeals_letters ON moderation_appeals (answered_at) WHERE mailed_at = 'epoch';

CREATE FUNCTION appeal_opens_a_case() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF new.state = 'OPEN' THEN
    PERFORM open_moderation_case(new.user_id, new.created_at);
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER appeals_open_a_case AFTER INSERT ON moderation_appeals
  FOR EACH ROW EXECUTE FUNCTION appeal_opens_a_case();
