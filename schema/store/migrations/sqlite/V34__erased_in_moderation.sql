-- What moderation kept about accounts that were erased before erasing reached it: nothing stays open, texts, evidence and
-- addresses go. That something was decided, what, when and by whom stays.

UPDATE reports SET evidence = NULL, comment = '',
  resolved_at = iif(status = 'PENDING', unixepoch() * 1000, resolved_at),
  resolution = iif(status = 'PENDING', 'ERASED', resolution),
  status = iif(status = 'PENDING', 'RESOLVED', status)
  WHERE reported_user_id IN (SELECT id FROM users WHERE status = 'DELETED');
UPDATE flags SET detail = '', closed_at = coalesce(closed_at, unixepoch() * 1000), status = 'CLOSED'
  WHERE user_id IN (SELECT id FROM users WHERE status = 'DELETED');
-- An address that was banned with the account stays banned, but for a reason that may name somebody.
UPDATE banned_ips SET reason = '' WHERE EXISTS (
  SELECT 1 FROM moderation_decisions d JOIN users u ON u.id = d.user_id
  WHERE u.status = 'DELETED' AND d.address = banned_ips.ip_address
    AND substr(d.reason, 1, length(banned_ips.reason)) = banned_ips.reason);
UPDATE moderation_decisions SET reason = '', notice = NULL, address = NULL, mailed_at = nullif(mailed_at, 0),
  ended_at = coalesce(ended_at, unixepoch() * 1000),
  state = iif(state IN ('WAITING', 'PENDING'), 'FAILED', state)
  WHERE user_id IN (SELECT id FROM users WHERE status = 'DELETED');
UPDATE moderation_actions SET reason = '' WHERE user_id IN (SELECT id FROM users WHERE status = 'DELETED');
UPDATE moderation_cases SET state = 'RESOLVED', resolved_at = unixepoch() * 1000, claimed_by = NULL, claim_expires_at = 0
  WHERE user_id IN (SELECT id FROM users WHERE status = 'DELETED') AND state <> 'RESOLVED';
DELETE FROM moderation_mutes WHERE user_id IN (SELECT id FROM users WHERE status = 'DELETED');
