-- Whoever was told of a decision is told by letter when it is reversed.

-- 0: a letter about the reversal is still to be sent.
ALTER TABLE moderation_decisions ADD COLUMN reversal_mailed_at INTEGER;
CREATE INDEX idx_decisions_reversal_letters ON moderation_decisions (ended_at) WHERE reversal_mailed_at = 0;
