-- First contacts and invitations that wait for consent; blocks that live sessions learn of.

-- Who opened a direct conversation that the other side has not accepted; null: nothing waits.
ALTER TABLE conversations ADD COLUMN requested_by uuid,
  -- The other side wants to see nothing more of it.
  ADD COLUMN request_hidden boolean NOT NULL DEFAULT false;

-- People whose settings ask them first before they are in a group.
CREATE TABLE group_invitations (
  conversation_id  uuid NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
  user_id          uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  invited_by       uuid NOT NULL,
  invited_at       timestamptz NOT NULL,
  PRIMARY KEY (conversation_id, user_id)
);
CREATE INDEX idx_group_invitations_user ON group_invitations (user_id, invited_at);
CREATE INDEX idx_group_invitations_by ON group_invitations (invited_by);

-- Of a block: the other one of the two, and as number whether one of them blocks the other now. Also for whoever changes
-- these straight in SQL. A program that does not know this kind passes over it.
ALTER TABLE change_log ADD COLUMN other_id uuid;
CREATE FUNCTION blocks_changed() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  one uuid := CASE TG_OP WHEN 'DELETE' THEN old.user_id ELSE new.user_id END;
  other uuid := CASE TG_OP WHEN 'DELETE' THEN old.blocked_id ELSE new.blocked_id END;
BEGIN
  INSERT INTO change_log (kind, user_id, other_id, number) VALUES ('BLOCK', one, other,
    (EXISTS (SELECT 1 FROM blocks WHERE user_id = one AND blocked_id = other)
      OR EXISTS (SELECT 1 FROM blocks WHERE user_id = other AND blocked_id = one))::int);
  RETURN NULL;
END $$;
CREATE TRIGGER blocks_changed AFTER INSERT OR DELETE ON blocks FOR EACH ROW EXECUTE FUNCTION blocks_changed();
