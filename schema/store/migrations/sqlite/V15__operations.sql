-- What the pages about running the product keep: figures over time, settings.

CREATE TABLE metric_spans (
  length_s  INTEGER NOT NULL,
  began_at  INTEGER NOT NULL,
  -- Counts and histograms over all nodes, as the console writes them.
  figures   BLOB NOT NULL,
  PRIMARY KEY (length_s, began_at)
) STRICT, WITHOUT ROWID;

CREATE TABLE operator_settings (
  name        TEXT PRIMARY KEY NOT NULL,
  value       TEXT NOT NULL,
  changed_by  BLOB,
  changed_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX idx_restore_drills_started ON restore_drills (started_at);
