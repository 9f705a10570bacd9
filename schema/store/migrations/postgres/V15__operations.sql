-- What the pages about running the product keep: figures over time, settings.

CREATE TABLE metric_spans (
  length_s  integer NOT NULL,
  began_at  timestamptz NOT NULL,
  -- Counts and histograms over all nodes, as the console writes them.
  figures   bytea NOT NULL,
  PRIMARY KEY (length_s, began_at)
);

CREATE TABLE operator_settings (
  name        text PRIMARY KEY,
  value       text NOT NULL,
  changed_by  uuid,
  changed_at  timestamptz NOT NULL
);

CREATE INDEX idx_restore_drills_started ON restore_drills (started_at);
