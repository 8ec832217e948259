-- The tables of the first release.
CREATE TABLE allocation (
  kind TEXT NOT NULL,
  pool TEXT NOT NULL,
  item TEXT NOT NULL,
  owner TEXT,
  PRIMARY KEY (kind, pool, item)
);

CREATE INDEX allocation_0 ON allocation (owner);

CREATE TABLE event (
  id TEXT NOT NULL,
  kind TEXT,
  key TEXT,
  request_id TEXT,
  action TEXT,
  step TEXT,
  user_id TEXT,
  project_id TEXT,
  started_at TEXT,
  finished_at TEXT,
  result TEXT,
  message TEXT,
  percent BIGINT,
  host TEXT,
  PRIMARY KEY (id)
);

CREATE INDEX event_0 ON event (kind, key, started_at);

CREATE TABLE work (
  kind TEXT NOT NULL,
  key TEXT NOT NULL,
  due DOUBLE PRECISION,
  wakes BIGINT,
  attempts BIGINT,
  lease_owner TEXT,
  lease_until DOUBLE PRECISION,
  fence BIGINT,
  since DOUBLE PRECISION,
  deadline DOUBLE PRECISION,
  reason TEXT,
  request_id TEXT,
  PRIMARY KEY (kind, key)
);

CREATE INDEX work_0 ON work (kind, due);
