-- Blocks of addresses may be banned like single ones, each once two have agreed.

CREATE INDEX idx_banned_ips_blocks ON banned_ips USING gist (ip_address inet_ops);

-- What is told of a block is the whole of it.
CREATE OR REPLACE FUNCTION banned_ips_added() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO change_log (kind, text) VALUES ('ADDRESS_BANNED', abbrev(new.ip_address));
  RETURN NULL;
END $$;

CREATE TABLE address_ban_requests (
  id        uuid PRIMARY KEY,
  network   inet NOT NULL UNIQUE,
  reason    text NOT NULL,
  asked_by  uuid NOT NULL,
  asked_at  timestamptz NOT NULL
);
CREATE INDEX idx_address_ban_requests_asked ON address_ban_requests (asked_at);
