-- What moderation kept about accounts that were erased before erasing reached it: nothing stays open, texts, evidence and
-- addresses go. That something was decided, what, when and by whom stays. Rows only: the release before runs on beside it.

UPDATE reports r SET evidence = NULL, comment = '',
  resolved_at = CASE r.status WHEN 'PENDING' THEN now() ELSE r.resolved_at END,
  resolution = CASE r.status WHEN 'PENDING' THEN 'ERASED' ELSE r.resolution END,
  status = CASE r.status WHEN 'PENDING' THEN 'RESOLVED' ELSE r.status END
  FROM users u WHERE u.id = r.reported_user_id AND u.status = 'DELETED';
UPDATE flags f SET detail = '', closed_at = coalesce(f.closed_at, now()), status = 'CLOSED'
  FROM users u WHERE u.id = f.user_id AND u.status = 'DELETED';
-- An address that was banned with the account stays banned, but for a reason that may name somebody.
UPDATE banned_ips b SET reason = '' FROM moderation_decisions d JOIN users u ON u.id = d.user_id
  WHERE u.status = 'DELETED' AND b.ip_address = d.address AND starts_with(d.reason, b.reason);
UPDATE moderation_decisions d SET reason = '', notice = NULL, address = NULL, mailed_at = nullif(d.mailed_at, 'epoch'),
  ended_at = coalesce(d.ended_at, now()),
  state = CASE WHEN d.state IN ('WAITING', 'PENDING') THEN 'FAILED' ELSE d.state END
  FROM users u WHERE u.id = d.user_id AND u.status = 'DELETED';
UPDATE moderation_actions a SET reason = '' FROM users u WHERE u.id = a.user_id AND u.status = 'DELETED';
UPDATE moderation_cases c SET state = 'RESOLVED', resolved_at = now(), claimed_by = NULL, claim_expires_at = 'epoch'
  FROM users u WHERE u.id = c.user_id AND u.status = 'DELETED' AND c.state <> 'RESOLVED';
DELETE FROM moderation_mutes m USING users u WHERE u.id = m.user_id AND u.status = 'DELETED';
