-- Blocks of addresses may be banned like single ones, each once two have agreed.

CREATE INDEX idx_banned_ips_blocks ON banned_ips (ip_address) WHERE instr(ip_address, '/') > 0;

CREATE TABLE address_ban_requests (
  id        BLOB PRIMARY KEY NOT NULL CHECK (length(id) = 16),
  network   TEXT NOT NULL UNIQUE,
  reason    TEXT NOT NULL,
  asked_by  BLOB NOT NULL,
  asked_at  INTEGER NOT NULL
) STRICT;
CREATE INDEX idx_address_ban_requests_asked ON address_ban_requests (asked_at);
