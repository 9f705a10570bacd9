-- What is looked for in texts that can be read: disclosed messages, and what people write about themselves.

CREATE TABLE content_rules (
  id          BLOB PRIMARY KEY NOT NULL CHECK (length(id) = 16),
  kind        TEXT NOT NULL CHECK (kind IN ('SHORTENER', 'PHISHING', 'SPAM')),
  text        TEXT NOT NULL,
  created_by  BLOB,
  created_at  INTEGER NOT NULL,
  UNIQUE (kind, text)
) STRICT;
WITH rule (kind, text) AS (VALUES
    ('SHORTENER', 'bit.ly'), ('SHORTENER', 'buff.ly'), ('SHORTENER', 'cutt.ly'), ('SHORTENER', 'goo.gl'), ('SHORTENER', 'is.gd'),
    ('SHORTENER', 'ow.ly'), ('SHORTENER', 'rb.gy'), ('SHORTENER', 'rebrand.ly'), ('SHORTENER', 'shorturl.at'),
    ('SHORTENER', 't.co'), ('SHORTENER', 't.ly'), ('SHORTENER', 'tinyurl.com'),
    ('PHISHING', 'verify your account'), ('PHISHING', 'confirm your password'), ('PHISHING', 'your account will be closed'),
    ('PHISHING', 'recovery phrase'), ('PHISHING', 'vérifiez votre compte'), ('PHISHING', 'confirmez votre mot de passe'),
    ('PHISHING', 'votre compte sera fermé'), ('PHISHING', 'phrase de récupération'),
    ('SPAM', 'you have won*claim'), ('SPAM', 'double your money'), ('SPAM', 'invest*double'), ('SPAM', 'gift card*code'),
    ('SPAM', 'vous avez gagné'), ('SPAM', 'doublez votre argent'), ('SPAM', 'carte cadeau*code'))
INSERT INTO content_rules (id, kind, text, created_at)
  SELECT randomblob(16), kind, text, CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) FROM rule;

-- What the moderators' dashboard looks up.
CREATE INDEX idx_flags_rule ON flags (rule, created_at) WHERE status = 'OPEN';
CREATE INDEX idx_reports_created ON reports (created_at);
CREATE INDEX idx_users_banned ON users (banned_at) WHERE status = 'BANNED';
