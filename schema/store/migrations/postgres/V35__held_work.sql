-- Work that one console does at a time, such as sending the letters that are owed. Whoever holds it lets go, or dies and
-- loses it when the time is over.
CREATE TABLE held_work (
  work    text PRIMARY KEY CHECK (length(work) BETWEEN 1 AND 64),
  holder  uuid NOT NULL,
  until   timestamptz NOT NULL
);
