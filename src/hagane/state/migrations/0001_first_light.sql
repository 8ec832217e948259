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

CREATE TABLE identity_access_rule (
  id TEXT NOT NULL,
  user_id TEXT,
  service TEXT,
  path TEXT,
  method TEXT,
  PRIMARY KEY (id)
);

CREATE UNIQUE INDEX identity_access_rule_0 ON identity_access_rule (user_id, service, path, method);

CREATE TABLE identity_application_credential (
  id TEXT NOT NULL,
  name TEXT,
  user_id TEXT,
  project_id TEXT,
  description TEXT,
  secret_hash TEXT,
  expires_at TEXT,
  unrestricted BIGINT,
  role_ids TEXT,
  access_rule_ids TEXT,
  PRIMARY KEY (id)
);

CREATE UNIQUE INDEX identity_application_credential_0 ON identity_application_credential (user_id, name);

CREATE INDEX identity_application_credential_1 ON identity_application_credential (project_id);

CREATE TABLE identity_assignment (
  actor_id TEXT NOT NULL,
  kind TEXT NOT NULL,
  target_id TEXT NOT NULL,
  role_id TEXT NOT NULL,
  inherited BIGINT NOT NULL,
  actor_kind TEXT,
  PRIMARY KEY (actor_id, kind, target_id, role_id, inherited)
);

CREATE INDEX identity_assignment_0 ON identity_assignment (target_id);

CREATE INDEX identity_assignment_1 ON identity_assignment (role_id);

CREATE TABLE identity_endpoint (
  id TEXT NOT NULL,
  interface TEXT,
  service_id TEXT,
  region_id TEXT,
  url TEXT,
  enabled BIGINT,
  extra TEXT,
  PRIMARY KEY (id)
);

CREATE INDEX identity_endpoint_0 ON identity_endpoint (service_id);

CREATE INDEX identity_endpoint_1 ON identity_endpoint (region_id);

CREATE TABLE identity_group (
  id TEXT NOT NULL,
  name TEXT,
  domain_id TEXT,
  description TEXT,
  extra TEXT,
  PRIMARY KEY (id)
);

CREATE UNIQUE INDEX identity_group_0 ON identity_group (domain_id, name);

CREATE TABLE identity_implied_role (
  prior_id TEXT NOT NULL,
  implied_id TEXT NOT NULL,
  PRIMARY KEY (prior_id, implied_id)
);

CREATE INDEX identity_implied_role_0 ON identity_implied_role (implied_id);

CREATE TABLE identity_member (
  user_id TEXT NOT NULL,
  group_id TEXT NOT NULL,
  PRIMARY KEY (user_id, group_id)
);

CREATE INDEX identity_member_0 ON identity_member (group_id);

CREATE TABLE identity_project (
  id TEXT NOT NULL,
  name TEXT,
  domain_id TEXT,
  description TEXT,
  enabled BIGINT,
  parent_id TEXT,
  is_domain BIGINT,
  tags TEXT,
  options TEXT,
  extra TEXT,
  PRIMARY KEY (id)
);

CREATE UNIQUE INDEX identity_project_0 ON identity_project (domain_id, name);

CREATE INDEX identity_project_1 ON identity_project (parent_id);

CREATE INDEX identity_project_2 ON identity_project (is_domain);

CREATE TABLE identity_region (
  id TEXT NOT NULL,
  description TEXT,
  parent_region_id TEXT,
  extra TEXT,
  PRIMARY KEY (id)
);

CREATE TABLE identity_revocation (
  subject TEXT NOT NULL,
  until DOUBLE PRECISION,
  PRIMARY KEY (subject)
);

CREATE INDEX identity_revocation_0 ON identity_revocation (until);

CREATE TABLE identity_role (
  id TEXT NOT NULL,
  name TEXT,
  domain_id TEXT,
  description TEXT,
  options TEXT,
  extra TEXT,
  PRIMARY KEY (id)
);

CREATE UNIQUE INDEX identity_role_0 ON identity_role (domain_id, name);

CREATE TABLE identity_service (
  id TEXT NOT NULL,
  type TEXT,
  name TEXT,
  description TEXT,
  enabled BIGINT,
  extra TEXT,
  PRIMARY KEY (id)
);

CREATE TABLE identity_user (
  id TEXT NOT NULL,
  name TEXT,
  domain_id TEXT,
  enabled BIGINT,
  default_project_id TEXT,
  password_hash TEXT,
  password_expires_at TEXT,
  options TEXT,
  extra TEXT,
  PRIMARY KEY (id)
);

CREATE UNIQUE INDEX identity_user_0 ON identity_user (domain_id, name);

CREATE TABLE image (
  name TEXT,
  disk_format TEXT,
  container_format TEXT,
  visibility TEXT,
  size BIGINT,
  virtual_size BIGINT,
  status TEXT,
  checksum TEXT,
  protected BIGINT,
  min_ram BIGINT,
  min_disk BIGINT,
  owner TEXT,
  os_hidden BIGINT,
  os_hash_algo TEXT,
  os_hash_value TEXT,
  id TEXT NOT NULL,
  created_at TEXT,
  updated_at TEXT,
  content_format TEXT,
  problem TEXT,
  upload TEXT,
  PRIMARY KEY (id)
);

CREATE INDEX image_0 ON image (owner, created_at);

CREATE INDEX image_1 ON image (visibility, created_at);

CREATE INDEX image_2 ON image (created_at, id);

CREATE TABLE image_member (
  image_id TEXT NOT NULL,
  member_id TEXT NOT NULL,
  status TEXT,
  created_at TEXT,
  updated_at TEXT,
  PRIMARY KEY (image_id, member_id)
);

CREATE INDEX image_member_0 ON image_member (member_id, status);

CREATE TABLE image_property (
  image_id TEXT NOT NULL,
  name TEXT NOT NULL,
  value TEXT,
  PRIMARY KEY (image_id, name)
);

CREATE INDEX image_property_0 ON image_property (name, image_id);

CREATE TABLE image_tag (
  image_id TEXT NOT NULL,
  tag TEXT NOT NULL,
  PRIMARY KEY (image_id, tag)
);

CREATE INDEX image_tag_0 ON image_tag (tag);

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
