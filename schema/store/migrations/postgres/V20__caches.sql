-- What nodes cache in Redis: the key it is sealed with, and notices of changes to what is cached.

-- Whoever reads Redis learns nothing of what is cached there, whoever writes there forges nothing.
CREATE TABLE cache_key (
  id      bigint PRIMARY KEY CHECK (id = 1),
  secret  bytea NOT NULL CHECK (octet_length(secret) = 32)
);
INSERT INTO cache_key
  VALUES (1, decode(replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 'hex'));

-- Rises with each erasure of messages in the log: what was cached before must not be read again.
ALTER TABLE conversations ADD COLUMN erasures bigint NOT NULL DEFAULT 0;

-- Also for whoever changes these straight in SQL. A program that does not know these kinds passes over them.
CREATE FUNCTION users_profile_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO change_log (kind, user_id) VALUES ('PROFILE', new.id);
  RETURN NULL;
END $$;
CREATE TRIGGER users_profile_changed AFTER UPDATE OF email, name, about, role, email_verified_at ON users
FOR EACH ROW WHEN ((old.email, old.name, old.about, old.role, old.email_verified_at)
  IS DISTINCT FROM (new.email, new.name, new.about, new.role, new.email_verified_at))
EXECUTE FUNCTION users_profile_changed();

CREATE FUNCTION conversations_described() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO change_log (kind, conversation_id) VALUES ('CONVERSATION', new.id);
  RETURN NULL;
END $$;
CREATE TRIGGER conversations_described AFTER UPDATE OF name, history, ttl ON conversations
FOR EACH ROW WHEN ((old.name, old.history, old.ttl) IS DISTINCT FROM (new.name, new.history, new.ttl))
EXECUTE FUNCTION conversations_described();
