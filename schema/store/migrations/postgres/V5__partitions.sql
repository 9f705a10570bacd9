-- Partitions that leave, and room for counters.

-- Counters change all the time: room in the page keeps the old version near the new one.
ALTER TABLE conversations SET (fillfactor = 70);

-- Takes the oldest partition out of the log whose messages are all older than that; returns its name, if there is one.
CREATE FUNCTION detach_message_partition(months integer) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
  oldest text;
BEGIN
  SELECT c.relname INTO oldest
  FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
  WHERE i.inhparent = 'messages'::regclass AND c.relname ~ '^messages_\d{4}_\d\d$'
    AND to_date(right(c.relname, 7), 'YYYY_MM') + interval '1 month'
      <= (now() AT TIME ZONE 'UTC') - make_interval(months => months)
  ORDER BY c.relname LIMIT 1;
  IF oldest IS NOT NULL THEN
    EXECUTE format('ALTER TABLE messages DETACH PARTITION %I', oldest);
  END IF;
  RETURN oldest;
END $$;
