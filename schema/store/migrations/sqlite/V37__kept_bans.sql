-- Bans of addresses that no reversal lifts, and accounts that the release before erased without emptying moderation.

-- Stays whatever becomes of decisions: two agreed on it, or an account that was banned with it is erased.
ALTER TABLE banned_ips ADD COLUMN kept INTEGER NOT NULL DEFAULT 0;
-- A ban whose reason was emptied is that of an erased account.
UPDATE banned_ips SET kept = 1 WHERE reason = '';
CREATE INDEX idx_decisions_address ON moderation_decisions (address) WHERE address IS NOT NULL;

-- 0: the release before erased it, and moderation is still to forget it.
ALTER TABLE erasure_ledger ADD COLUMN forgotten INTEGER NOT NULL DEFAULT 0;
CREATE INDEX idx_erasure_ledger_left ON erasure_ledger (id) WHERE forgotten = 0;
