-- Work that one console does at a time, such as sending the letters that are owed. Whoever holds it lets go, or dies and
-- loses it when the time is over.
CREATE TABLE held_work (
  work    TEXT PRIMARY KEY NOT NULL CHECK (length(work) BETWEEN 1 AND 64),
  holder  BLOB NOT NULL CHECK (length(holder) = 16),
  until   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
