-- First contacts and invitations that wait for consent; blocks that live sessions learn of.

-- Who opened a direct conversation that the other side has not accepted; null: nothing waits.
ALTER TABLE conversations ADD COLUMN requested_by BLOB;
-- The other side wants to see nothing more of it.
ALTER TABLE conversations ADD COLUMN request_hidden INTEGER NOT NULL DEFAULT 0;

-- People whose settings ask them first before they are in a group.
CREATE TABLE group_invitations (
  conversation_id  BLOB NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
  user_id          BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  invited_by       BLOB NOT NULL,
  invited_at       INTEGER NOT NULL,
  PRIMARY KEY (conversation_id, user_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX idx_group_invitations_user ON group_invitations (user_id, invited_at);
CREATE INDEX idx_group_invitations_by ON group_invitations (invited_by);

-- Of a block: the other one of the two, and as number whether one of them blocks the other now. Also for whoever changes
-- these straight in SQL.
ALTER TABLE change_log ADD COLUMN other_id BLOB;
CREATE TRIGGER blocks_added AFTER INSERT ON blocks
BEGIN
  INSERT INTO change_log (kind, user_id, other_id, number, created_at)
  VALUES ('BLOCK', new.user_id, new.blocked_id, 1, CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER));
END;
CREATE TRIGGER blocks_removed AFTER DELETE ON blocks
BEGIN
  INSERT INTO change_log (kind, user_id, other_id, number, created_at)
  VALUES ('BLOCK', old.user_id, old.blocked_id,
          EXISTS (SELECT 1 FROM blocks WHERE user_id = old.blocked_id AND blocked_id = old.user_id),
          CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER));
END;
