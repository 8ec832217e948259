-- The tables of the first release.
CREATE TABLE address_group (
  id TEXT NOT NULL,
  name TEXT,
  project_id TEXT,
  description TEXT,
  generation BIGINT,
  created_at TEXT,
  updated_at TEXT,
  addresses TEXT,
  PRIMARY KEY (id)
);

CREATE INDEX address_group_0 ON address_group (project_id);

CREATE TABLE address_scope (
  id TEXT NOT NULL,
  name TEXT,
  project_id TEXT,
  ip_version BIGINT,
  generation BIGINT,
  created_at TEXT,
  updated_at TEXT,
  PRIMARY KEY (id)
);

CREATE INDEX address_scope_0 ON address_scope (project_id);

CREATE TABLE aggregate (
  number BIGINT NOT NULL,
  id TEXT,
  name TEXT,
  zone TEXT,
  hosts TEXT,
  metadata TEXT,
  created_at TEXT,
  updated_at TEXT,
  PRIMARY KEY (number)
);

CREATE UNIQUE INDEX aggregate_0 ON aggregate (name);

CREATE TABLE allocation (
  kind TEXT NOT NULL,
  pool TEXT NOT NULL,
  item TEXT NOT NULL,
  owner TEXT,
  PRIMARY KEY (kind, pool, item)
);

CREATE INDEX allocation_0 ON allocation (owner);

CREATE TABLE auto_allocated_topology (
  project_id TEXT NOT NULL,
  network_id TEXT,
  router_id TEXT,
  PRIMARY KEY (project_id)
);

CREATE INDEX auto_allocated_topology_0 ON auto_allocated_topology (network_id);

CREATE INDEX auto_allocated_topology_1 ON auto_allocated_topology (router_id);

CREATE TABLE chassis (
  id TEXT NOT NULL,
  created_at TEXT,
  updated_at TEXT,
  description TEXT,
  extra TEXT,
  PRIMARY KEY (id)
);

CREATE TABLE compute_limit (
  project_id TEXT NOT NULL,
  user_id TEXT NOT NULL,
  resource TEXT NOT NULL,
  hard_limit BIGINT,
  PRIMARY KEY (project_id, user_id, resource)
);

CREATE TABLE compute_usage (
  project_id TEXT NOT NULL,
  instances BIGINT,
  cores BIGINT,
  ram BIGINT,
  PRIMARY KEY (project_id)
);

CREATE TABLE console_token (
  hash TEXT NOT NULL,
  server_id TEXT,
  type TEXT,
  expires DOUBLE PRECISION,
  PRIMARY KEY (hash)
);

CREATE INDEX console_token_0 ON console_token (server_id);

CREATE INDEX console_token_1 ON console_token (expires);

CREATE TABLE default_security_group_rule (
  id TEXT NOT NULL,
  project_id TEXT,
  ethertype TEXT,
  direction TEXT,
  protocol TEXT,
  port_range_min BIGINT,
  port_range_max BIGINT,
  remote_ip_prefix TEXT,
  remote_address_group_id TEXT,
  remote_group_id TEXT,
  description TEXT,
  used_in_default_sg BIGINT,
  used_in_non_default_sg BIGINT,
  removed BIGINT,
  PRIMARY KEY (id)
);

CREATE TABLE deploy_template (
  id TEXT NOT NULL,
  created_at TEXT,
  updated_at TEXT,
  name TEXT,
  extra TEXT,
  steps TEXT,
  PRIMARY KEY (id)
);

CREATE UNIQUE INDEX deploy_template_0 ON deploy_template (name);

CREATE INDEX deploy_template_1 ON deploy_template (created_at, id);

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

CREATE TABLE flavor (
  id TEXT NOT NULL,
  name TEXT,
  ram BIGINT,
  vcpus BIGINT,
  disk BIGINT,
  ephemeral BIGINT,
  swap BIGINT,
  rxtx_factor DOUBLE PRECISION,
  disabled BIGINT,
  is_public BIGINT,
  description TEXT,
  extra_specs TEXT,
  created_at TEXT,
  PRIMARY KEY (id)
);

CREATE UNIQUE INDEX flavor_0 ON flavor (name);

CREATE TABLE flavor_access (
  flavor_id TEXT NOT NULL,
  project_id TEXT NOT NULL,
  PRIMARY KEY (flavor_id, project_id)
);

CREATE INDEX flavor_access_0 ON flavor_access (project_id);

CREATE TABLE flavor_service_profile (
  flavor_id TEXT NOT NULL,
  profile_id TEXT NOT NULL,
  PRIMARY KEY (flavor_id, profile_id)
);

CREATE INDEX flavor_service_profile_0 ON flavor_service_profile (profile_id);

CREATE TABLE floatingip (
  id TEXT NOT NULL,
  project_id TEXT,
  description TEXT,
  tags TEXT,
  generation BIGINT,
  created_at TEXT,
  updated_at TEXT,
  floating_ip_address TEXT,
  floating_network_id TEXT,
  floating_port_id TEXT,
  router_id TEXT,
  port_id TEXT,
  fixed_ip_address TEXT,
  status TEXT,
  qos_policy_id TEXT,
  dns_name TEXT,
  dns_domain TEXT,
  PRIMARY KEY (id)
);

CREATE INDEX floatingip_0 ON floatingip (project_id);

CREATE INDEX floatingip_1 ON floatingip (port_id);

CREATE INDEX floatingip_2 ON floatingip (router_id);

CREATE INDEX floatingip_3 ON floatingip (floating_network_id);

CREATE INDEX floatingip_4 ON floatingip (qos_policy_id);

CREATE TABLE host (
  id TEXT NOT NULL,
  name TEXT,
  number BIGINT,
  service_id TEXT,
  state TEXT,
  facts TEXT,
  reason TEXT,
  seen_at TEXT,
  zone TEXT,
  disabled BIGINT,
  disabled_reason TEXT,
  forced_down BIGINT,
  generation BIGINT,
  created_at TEXT,
  updated_at TEXT,
  PRIMARY KEY (id)
);

CREATE UNIQUE INDEX host_0 ON host (name);

CREATE UNIQUE INDEX host_1 ON host (number);

CREATE TABLE identity_access_rule (
  id TEXT NOT NULL,
  service TEXT,
  path TEXT,
  method TEXT,
  user_id TEXT,
  PRIMARY KEY (id)
);

CREATE UNIQUE INDEX identity_access_rule_0 ON identity_access_rule (user_id, service, path, method);

CREATE TABLE identity_access_token (
  id TEXT NOT NULL,
  encrypted_secret TEXT,
  user_id TEXT,
  role_ids TEXT,
  project_id TEXT,
  consumer_id TEXT,
  expires_at TEXT,
  PRIMARY KEY (id)
);

CREATE INDEX identity_access_token_0 ON identity_access_token (consumer_id);

CREATE INDEX identity_access_token_1 ON identity_access_token (user_id);

CREATE INDEX identity_access_token_2 ON identity_access_token (project_id);

CREATE INDEX identity_access_token_3 ON identity_access_token (expires_at);

CREATE TABLE identity_application_credential (
  id TEXT NOT NULL,
  name TEXT,
  description TEXT,
  project_id TEXT,
  user_id TEXT,
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

CREATE TABLE identity_consumer (
  id TEXT NOT NULL,
  description TEXT,
  encrypted_secret TEXT,
  extra TEXT,
  PRIMARY KEY (id)
);

CREATE TABLE identity_credential (
  id TEXT NOT NULL,
  type TEXT,
  user_id TEXT,
  project_id TEXT,
  encrypted_blob TEXT,
  extra TEXT,
  PRIMARY KEY (id)
);

CREATE INDEX identity_credential_0 ON identity_credential (user_id, type);

CREATE INDEX identity_credential_1 ON identity_credential (project_id);

CREATE TABLE identity_domain_option (
  domain_id TEXT NOT NULL,
  section TEXT NOT NULL,
  name TEXT NOT NULL,
  value TEXT,
  PRIMARY KEY (domain_id, section, name)
);

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

CREATE TABLE identity_endpoint_group (
  id TEXT NOT NULL,
  name TEXT,
  description TEXT,
  filters TEXT,
  PRIMARY KEY (id)
);

CREATE TABLE identity_endpoint_policy (
  endpoint_id TEXT NOT NULL,
  service_id TEXT NOT NULL,
  region_id TEXT NOT NULL,
  policy_id TEXT,
  PRIMARY KEY (endpoint_id, service_id, region_id)
);

CREATE INDEX identity_endpoint_policy_0 ON identity_endpoint_policy (policy_id);

CREATE INDEX identity_endpoint_policy_1 ON identity_endpoint_policy (service_id);

CREATE INDEX identity_endpoint_policy_2 ON identity_endpoint_policy (region_id);

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

CREATE TABLE identity_limit (
  id TEXT NOT NULL,
  project_id TEXT,
  domain_id TEXT,
  service_id TEXT,
  region_id TEXT,
  resource_name TEXT,
  resource_limit BIGINT,
  description TEXT,
  registered_limit_id TEXT,
  PRIMARY KEY (id)
);

CREATE UNIQUE INDEX identity_limit_0 ON identity_limit (registered_limit_id, project_id, domain_id);

CREATE INDEX identity_limit_1 ON identity_limit (project_id);

CREATE INDEX identity_limit_2 ON identity_limit (domain_id);

CREATE TABLE identity_mapping (
  id TEXT NOT NULL,
  rules TEXT,
  schema_version TEXT,
  PRIMARY KEY (id)
);

CREATE TABLE identity_member (
  user_id TEXT NOT NULL,
  group_id TEXT NOT NULL,
  PRIMARY KEY (user_id, group_id)
);

CREATE INDEX identity_member_0 ON identity_member (group_id);

CREATE TABLE identity_oauth_nonce (
  consumer_id TEXT NOT NULL,
  token_id TEXT NOT NULL,
  timestamp BIGINT NOT NULL,
  nonce TEXT NOT NULL,
  PRIMARY KEY (consumer_id, token_id, timestamp, nonce)
);

CREATE INDEX identity_oauth_nonce_0 ON identity_oauth_nonce (timestamp);

CREATE TABLE identity_password (
  id TEXT NOT NULL,
  user_id TEXT,
  password_hash TEXT,
  own BIGINT,
  created_at TEXT,
  PRIMARY KEY (id)
);

CREATE INDEX identity_password_0 ON identity_password (user_id, created_at);

CREATE TABLE identity_policy (
  id TEXT NOT NULL,
  type TEXT,
  blob TEXT,
  extra TEXT,
  PRIMARY KEY (id)
);

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

CREATE TABLE identity_project_endpoint (
  project_id TEXT NOT NULL,
  endpoint_id TEXT NOT NULL,
  PRIMARY KEY (project_id, endpoint_id)
);

CREATE INDEX identity_project_endpoint_0 ON identity_project_endpoint (endpoint_id);

CREATE TABLE identity_project_endpoint_group (
  project_id TEXT NOT NULL,
  endpoint_group_id TEXT NOT NULL,
  PRIMARY KEY (project_id, endpoint_group_id)
);

CREATE INDEX identity_project_endpoint_group_0 ON identity_project_endpoint_group (endpoint_group_id);

CREATE TABLE identity_protocol (
  provider_id TEXT NOT NULL,
  id TEXT NOT NULL,
  mapping_id TEXT,
  remote_id_attribute TEXT,
  PRIMARY KEY (provider_id, id)
);

CREATE INDEX identity_protocol_0 ON identity_protocol (mapping_id);

CREATE TABLE identity_provider (
  id TEXT NOT NULL,
  domain_id TEXT,
  description TEXT,
  enabled BIGINT,
  authorization_ttl BIGINT,
  PRIMARY KEY (id)
);

CREATE INDEX identity_provider_0 ON identity_provider (domain_id);

CREATE TABLE identity_region (
  id TEXT NOT NULL,
  description TEXT,
  parent_region_id TEXT,
  extra TEXT,
  PRIMARY KEY (id)
);

CREATE TABLE identity_registered_limit (
  id TEXT NOT NULL,
  service_id TEXT,
  region_id TEXT,
  resource_name TEXT,
  default_limit BIGINT,
  description TEXT,
  PRIMARY KEY (id)
);

CREATE UNIQUE INDEX identity_registered_limit_0 ON identity_registered_limit (service_id, region_id, resource_name);

CREATE TABLE identity_remote_id (
  remote_id TEXT NOT NULL,
  provider_id TEXT,
  PRIMARY KEY (remote_id)
);

CREATE INDEX identity_remote_id_0 ON identity_remote_id (provider_id);

CREATE TABLE identity_request_token (
  id TEXT NOT NULL,
  encrypted_secret TEXT,
  user_id TEXT,
  role_ids TEXT,
  project_id TEXT,
  consumer_id TEXT,
  expires_at TEXT,
  encrypted_verifier TEXT,
  PRIMARY KEY (id)
);

CREATE INDEX identity_request_token_0 ON identity_request_token (consumer_id);

CREATE INDEX identity_request_token_1 ON identity_request_token (user_id);

CREATE INDEX identity_request_token_2 ON identity_request_token (project_id);

CREATE INDEX identity_request_token_3 ON identity_request_token (expires_at);

CREATE TABLE identity_revocation (
  subject TEXT NOT NULL,
  until DOUBLE PRECISION,
  kind TEXT,
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
  enabled BIGINT,
  extra TEXT,
  PRIMARY KEY (id)
);

CREATE TABLE identity_service_provider (
  id TEXT NOT NULL,
  auth_url TEXT,
  sp_url TEXT,
  description TEXT,
  enabled BIGINT,
  relay_state_prefix TEXT,
  PRIMARY KEY (id)
);

CREATE TABLE identity_trust (
  id TEXT NOT NULL,
  trustor_user_id TEXT,
  trustee_user_id TEXT,
  project_id TEXT,
  impersonation BIGINT,
  expires_at TEXT,
  remaining_uses BIGINT,
  redelegated_trust_id TEXT,
  redelegation_count BIGINT,
  role_ids TEXT,
  extra TEXT,
  PRIMARY KEY (id)
);

CREATE INDEX identity_trust_0 ON identity_trust (trustor_user_id);

CREATE INDEX identity_trust_1 ON identity_trust (trustee_user_id);

CREATE INDEX identity_trust_2 ON identity_trust (project_id);

CREATE INDEX identity_trust_3 ON identity_trust (redelegated_trust_id);

CREATE TABLE identity_user (
  id TEXT NOT NULL,
  name TEXT,
  domain_id TEXT,
  enabled BIGINT,
  default_project_id TEXT,
  password_hash TEXT,
  password_expires_at TEXT,
  failed_logins BIGINT,
  failed_at TEXT,
  options TEXT,
  extra TEXT,
  PRIMARY KEY (id)
);

CREATE UNIQUE INDEX identity_user_0 ON identity_user (domain_id, name);

CREATE INDEX identity_user_1 ON identity_user (default_project_id);

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
  tags TEXT,
  properties TEXT,
  content_format TEXT,
  problem TEXT,
  upload TEXT,
  staged TEXT,
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

CREATE TABLE image_metadef_namespace (
  namespace TEXT NOT NULL,
  display_name TEXT,
  description TEXT,
  visibility TEXT,
  protected BIGINT,
  owner TEXT,
  created_at TEXT,
  updated_at TEXT,
  PRIMARY KEY (namespace)
);

CREATE INDEX image_metadef_namespace_0 ON image_metadef_namespace (created_at, namespace);

CREATE TABLE image_metadef_part (
  namespace TEXT NOT NULL,
  kind TEXT NOT NULL,
  name TEXT NOT NULL,
  body TEXT,
  created_at TEXT,
  updated_at TEXT,
  PRIMARY KEY (namespace, kind, name)
);

CREATE INDEX image_metadef_part_0 ON image_metadef_part (kind, name);

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

CREATE TABLE image_task (
  id TEXT NOT NULL,
  type TEXT,
  status TEXT,
  input TEXT,
  result TEXT,
  message TEXT,
  owner TEXT,
  image_id TEXT,
  user_id TEXT,
  request_id TEXT,
  created_at TEXT,
  updated_at TEXT,
  expires_at TEXT,
  PRIMARY KEY (id)
);

CREATE INDEX image_task_0 ON image_task (image_id);

CREATE INDEX image_task_1 ON image_task (created_at, id);

CREATE INDEX image_task_2 ON image_task (expires_at);

CREATE TABLE inspection_rule (
  id TEXT NOT NULL,
  created_at TEXT,
  updated_at TEXT,
  description TEXT,
  priority BIGINT,
  sensitive BIGINT,
  phase TEXT,
  conditions TEXT,
  actions TEXT,
  secrets TEXT,
  PRIMARY KEY (id)
);

CREATE INDEX inspection_rule_0 ON inspection_rule (phase);

CREATE INDEX inspection_rule_1 ON inspection_rule (created_at, id);

CREATE TABLE keypair (
  user_id TEXT NOT NULL,
  name TEXT NOT NULL,
  number BIGINT,
  type TEXT,
  fingerprint TEXT,
  public_key TEXT,
  created_at TEXT,
  PRIMARY KEY (user_id, name)
);

CREATE INDEX keypair_0 ON keypair (number);

CREATE TABLE network (
  id TEXT NOT NULL,
  name TEXT,
  project_id TEXT,
  description TEXT,
  tags TEXT,
  generation BIGINT,
  created_at TEXT,
  updated_at TEXT,
  admin_state_up BIGINT,
  status TEXT,
  subnets TEXT,
  router_external BIGINT,
  is_default BIGINT,
  port_security_enabled BIGINT,
  mtu BIGINT,
  network_type TEXT,
  physical_network TEXT,
  segmentation_id BIGINT,
  vlan_transparent BIGINT,
  dns_domain TEXT,
  availability_zone_hints TEXT,
  ipv4_address_scope TEXT,
  ipv6_address_scope TEXT,
  qos_policy_id TEXT,
  PRIMARY KEY (id)
);

CREATE INDEX network_0 ON network (project_id);

CREATE INDEX network_1 ON network (name);

CREATE TABLE network_agent (
  id TEXT NOT NULL,
  chassis TEXT,
  description TEXT,
  removed BIGINT,
  PRIMARY KEY (id)
);

CREATE INDEX network_agent_0 ON network_agent (chassis);

CREATE TABLE network_flavor (
  id TEXT NOT NULL,
  project_id TEXT,
  name TEXT,
  description TEXT,
  service_type TEXT,
  enabled BIGINT,
  PRIMARY KEY (id)
);

CREATE TABLE network_freed (
  pool TEXT NOT NULL,
  item TEXT NOT NULL,
  freed_at DOUBLE PRECISION,
  PRIMARY KEY (pool, item)
);

CREATE INDEX network_freed_0 ON network_freed (pool, freed_at);

CREATE TABLE network_log (
  id TEXT NOT NULL,
  name TEXT,
  project_id TEXT,
  description TEXT,
  generation BIGINT,
  created_at TEXT,
  updated_at TEXT,
  resource_type TEXT,
  resource_id TEXT,
  event TEXT,
  target_id TEXT,
  enabled BIGINT,
  PRIMARY KEY (id)
);

CREATE INDEX network_log_0 ON network_log (project_id);

CREATE INDEX network_log_1 ON network_log (resource_id);

CREATE INDEX network_log_2 ON network_log (target_id);

CREATE TABLE network_quota (
  project_id TEXT NOT NULL,
  resource TEXT NOT NULL,
  hard BIGINT,
  used BIGINT,
  PRIMARY KEY (project_id, resource)
);

CREATE TABLE network_range (
  pool TEXT NOT NULL,
  first TEXT NOT NULL,
  size BIGINT,
  next BIGINT,
  PRIMARY KEY (pool, first)
);

CREATE TABLE network_tag (
  resource_id TEXT NOT NULL,
  tag TEXT NOT NULL,
  resource TEXT,
  PRIMARY KEY (resource_id, tag)
);

CREATE INDEX network_tag_0 ON network_tag (tag, resource_id);

CREATE TABLE nic (
  id TEXT NOT NULL,
  created_at TEXT,
  updated_at TEXT,
  address TEXT,
  extra TEXT,
  internal_info TEXT,
  is_smartnic BIGINT,
  link TEXT,
  node_id TEXT,
  physical_network TEXT,
  group_id TEXT,
  pxe_enabled BIGINT,
  name TEXT,
  description TEXT,
  vendor TEXT,
  category TEXT,
  available_for_dynamic_portgroup BIGINT,
  vif TEXT,
  plugged TEXT,
  PRIMARY KEY (id)
);

CREATE UNIQUE INDEX nic_0 ON nic (address);

CREATE UNIQUE INDEX nic_1 ON nic (name);

CREATE INDEX nic_2 ON nic (node_id);

CREATE INDEX nic_3 ON nic (group_id);

CREATE INDEX nic_4 ON nic (vif);

CREATE INDEX nic_5 ON nic (plugged);

CREATE INDEX nic_6 ON nic (created_at, id);

CREATE TABLE nic_group (
  id TEXT NOT NULL,
  created_at TEXT,
  updated_at TEXT,
  address TEXT,
  extra TEXT,
  internal_info TEXT,
  mode TEXT,
  name TEXT,
  properties TEXT,
  standalone_ports_supported BIGINT,
  node_id TEXT,
  physical_network TEXT,
  category TEXT,
  dynamic_portgroup BIGINT,
  vif TEXT,
  plugged TEXT,
  PRIMARY KEY (id)
);

CREATE UNIQUE INDEX nic_group_0 ON nic_group (address);

CREATE UNIQUE INDEX nic_group_1 ON nic_group (name);

CREATE INDEX nic_group_2 ON nic_group (node_id);

CREATE INDEX nic_group_3 ON nic_group (vif);

CREATE INDEX nic_group_4 ON nic_group (plugged);

CREATE INDEX nic_group_5 ON nic_group (created_at, id);

CREATE TABLE node (
  id TEXT NOT NULL,
  created_at TEXT,
  updated_at TEXT,
  automated_clean BIGINT,
  bios_interface TEXT,
  boot_interface TEXT,
  console_interface TEXT,
  deploy_interface TEXT,
  firmware_interface TEXT,
  inspect_interface TEXT,
  management_interface TEXT,
  network_interface TEXT,
  power_interface TEXT,
  raid_interface TEXT,
  rescue_interface TEXT,
  storage_interface TEXT,
  vendor_interface TEXT,
  boot_mode TEXT,
  chassis_id TEXT,
  clean_step TEXT,
  conductor_group TEXT,
  console_enabled BIGINT,
  deploy_step TEXT,
  description TEXT,
  disable_power_off BIGINT,
  driver TEXT,
  driver_info TEXT,
  driver_internal_info TEXT,
  extra TEXT,
  fault TEXT,
  health TEXT,
  inspection_finished_at TEXT,
  inspection_started_at TEXT,
  instance_info TEXT,
  instance_name TEXT,
  instance_id TEXT,
  last_error TEXT,
  lessee TEXT,
  maintenance BIGINT,
  maintenance_reason TEXT,
  name TEXT,
  network_data TEXT,
  owner TEXT,
  parent_node TEXT,
  power_state TEXT,
  properties TEXT,
  protected BIGINT,
  protected_reason TEXT,
  provision_state TEXT,
  provision_updated_at TEXT,
  raid_config TEXT,
  resource_class TEXT,
  retired BIGINT,
  retired_reason TEXT,
  secure_boot BIGINT,
  service_step TEXT,
  shard TEXT,
  target_power_state TEXT,
  target_provision_state TEXT,
  target_raid_config TEXT,
  traits TEXT,
  allocation_id TEXT,
  secrets TEXT,
  wanted TEXT,
  seen TEXT,
  generation BIGINT,
  observed_generation BIGINT,
  PRIMARY KEY (id)
);

CREATE UNIQUE INDEX node_0 ON node (name);

CREATE UNIQUE INDEX node_1 ON node (instance_id);

CREATE INDEX node_2 ON node (created_at, id);

CREATE INDEX node_3 ON node (owner);

CREATE INDEX node_4 ON node (lessee);

CREATE INDEX node_5 ON node (provision_state);

CREATE INDEX node_6 ON node (resource_class);

CREATE INDEX node_7 ON node (chassis_id);

CREATE INDEX node_8 ON node (shard);

CREATE INDEX node_9 ON node (parent_node);

CREATE TABLE node_allocation (
  id TEXT NOT NULL,
  created_at TEXT,
  updated_at TEXT,
  candidate_nodes TEXT,
  extra TEXT,
  last_error TEXT,
  name TEXT,
  node_id TEXT,
  owner TEXT,
  resource_class TEXT,
  state TEXT,
  traits TEXT,
  PRIMARY KEY (id)
);

CREATE UNIQUE INDEX node_allocation_0 ON node_allocation (name);

CREATE INDEX node_allocation_1 ON node_allocation (node_id);

CREATE INDEX node_allocation_2 ON node_allocation (owner);

CREATE INDEX node_allocation_3 ON node_allocation (created_at, id);

CREATE TABLE node_history (
  id TEXT NOT NULL,
  node_id TEXT,
  created_at TEXT,
  severity TEXT,
  event_type TEXT,
  event TEXT,
  user_id TEXT,
  project_id TEXT,
  state TEXT,
  target TEXT,
  duration DOUBLE PRECISION,
  PRIMARY KEY (id)
);

CREATE INDEX node_history_0 ON node_history (node_id, created_at);

CREATE TABLE node_inventory (
  node_id TEXT NOT NULL,
  inventory TEXT,
  plugin_data TEXT,
  PRIMARY KEY (node_id)
);

CREATE TABLE placement_allocation (
  consumer_id TEXT NOT NULL,
  provider_id TEXT NOT NULL,
  resource_class TEXT NOT NULL,
  used BIGINT,
  project_id TEXT,
  user_id TEXT,
  created_at TEXT,
  PRIMARY KEY (consumer_id, provider_id, resource_class)
);

CREATE INDEX placement_allocation_0 ON placement_allocation (provider_id);

CREATE INDEX placement_allocation_1 ON placement_allocation (project_id);

CREATE TABLE placement_inventory (
  provider_id TEXT NOT NULL,
  resource_class TEXT NOT NULL,
  total BIGINT,
  reserved BIGINT,
  min_unit BIGINT,
  max_unit BIGINT,
  step_size BIGINT,
  allocation_ratio DOUBLE PRECISION,
  capacity BIGINT,
  used BIGINT,
  PRIMARY KEY (provider_id, resource_class)
);

CREATE TABLE port (
  id TEXT NOT NULL,
  name TEXT,
  project_id TEXT,
  description TEXT,
  tags TEXT,
  generation BIGINT,
  created_at TEXT,
  updated_at TEXT,
  network_id TEXT,
  admin_state_up BIGINT,
  status TEXT,
  mac_address TEXT,
  fixed_ips TEXT,
  ip_allocation TEXT,
  device_id TEXT,
  device_owner TEXT,
  security_groups TEXT,
  allowed_address_pairs TEXT,
  extra_dhcp_opts TEXT,
  port_security_enabled BIGINT,
  binding_host_id TEXT,
  binding_profile TEXT,
  binding_vif_type TEXT,
  binding_vif_details TEXT,
  binding_vnic_type TEXT,
  dns_name TEXT,
  dns_domain TEXT,
  dns_assignment TEXT,
  propagate_uplink_status BIGINT,
  qos_policy_id TEXT,
  PRIMARY KEY (id)
);

CREATE INDEX port_0 ON port (network_id, mac_address);

CREATE INDEX port_1 ON port (network_id, device_owner);

CREATE INDEX port_2 ON port (project_id);

CREATE INDEX port_3 ON port (device_id);

CREATE INDEX port_4 ON port (binding_host_id);

CREATE INDEX port_5 ON port (qos_policy_id);

CREATE TABLE port_forwarding (
  id TEXT NOT NULL,
  project_id TEXT,
  floatingip_id TEXT,
  external_port BIGINT,
  external_port_range TEXT,
  internal_port BIGINT,
  internal_port_range TEXT,
  internal_ip_address TEXT,
  protocol TEXT,
  internal_port_id TEXT,
  description TEXT,
  PRIMARY KEY (id)
);

CREATE INDEX port_forwarding_0 ON port_forwarding (floatingip_id, protocol);

CREATE INDEX port_forwarding_1 ON port_forwarding (internal_port_id);

CREATE TABLE port_security_group (
  port_id TEXT NOT NULL,
  security_group_id TEXT NOT NULL,
  PRIMARY KEY (port_id, security_group_id)
);

CREATE INDEX port_security_group_0 ON port_security_group (security_group_id);

CREATE TABLE qos_policy (
  id TEXT NOT NULL,
  name TEXT,
  project_id TEXT,
  description TEXT,
  tags TEXT,
  generation BIGINT,
  created_at TEXT,
  updated_at TEXT,
  is_default BIGINT,
  PRIMARY KEY (id)
);

CREATE INDEX qos_policy_0 ON qos_policy (project_id, is_default);

CREATE TABLE qos_rule (
  id TEXT NOT NULL,
  project_id TEXT,
  policy_id TEXT,
  type TEXT,
  direction TEXT,
  max_kbps BIGINT,
  max_burst_kbps BIGINT,
  min_kbps BIGINT,
  dscp_mark BIGINT,
  PRIMARY KEY (id)
);

CREATE INDEX qos_rule_0 ON qos_rule (policy_id);

CREATE TABLE rack (
  id TEXT NOT NULL,
  name TEXT,
  physical_network TEXT,
  vlan_first BIGINT,
  vlan_last BIGINT,
  created_at TEXT,
  updated_at TEXT,
  PRIMARY KEY (id)
);

CREATE UNIQUE INDEX rack_0 ON rack (name);

CREATE UNIQUE INDEX rack_1 ON rack (physical_network);

CREATE TABLE rack_gateway (
  id TEXT NOT NULL,
  rack_id TEXT,
  name TEXT,
  ovsdb TEXT,
  trunk_bridge TEXT,
  integration_bridge TEXT,
  switch TEXT,
  switch_port TEXT,
  priority BIGINT,
  state TEXT,
  reason TEXT,
  seen_at TEXT,
  PRIMARY KEY (id)
);

CREATE UNIQUE INDEX rack_gateway_0 ON rack_gateway (name);

CREATE INDEX rack_gateway_1 ON rack_gateway (rack_id);

CREATE TABLE rbac_policy (
  id TEXT NOT NULL,
  project_id TEXT,
  object_type TEXT,
  object_id TEXT,
  action TEXT,
  target_project TEXT,
  PRIMARY KEY (id)
);

CREATE UNIQUE INDEX rbac_policy_0 ON rbac_policy (object_id, action, target_project);

CREATE INDEX rbac_policy_1 ON rbac_policy (object_type, target_project, action);

CREATE INDEX rbac_policy_2 ON rbac_policy (project_id);

CREATE TABLE router (
  id TEXT NOT NULL,
  name TEXT,
  project_id TEXT,
  description TEXT,
  tags TEXT,
  generation BIGINT,
  created_at TEXT,
  updated_at TEXT,
  admin_state_up BIGINT,
  status TEXT,
  external_gateway_info TEXT,
  gateway_port_id TEXT,
  enable_snat BIGINT,
  routes TEXT,
  flavor_id TEXT,
  ha BIGINT,
  availability_zone_hints TEXT,
  PRIMARY KEY (id)
);

CREATE INDEX router_0 ON router (project_id);

CREATE INDEX router_1 ON router (gateway_port_id);

CREATE INDEX router_2 ON router (flavor_id);

CREATE TABLE runbook (
  id TEXT NOT NULL,
  created_at TEXT,
  updated_at TEXT,
  name TEXT,
  extra TEXT,
  public BIGINT,
  owner TEXT,
  disable_ramdisk BIGINT,
  description TEXT,
  steps TEXT,
  traits TEXT,
  PRIMARY KEY (id)
);

CREATE UNIQUE INDEX runbook_0 ON runbook (name);

CREATE INDEX runbook_1 ON runbook (owner);

CREATE INDEX runbook_2 ON runbook (created_at, id);

CREATE TABLE security_group (
  id TEXT NOT NULL,
  name TEXT,
  project_id TEXT,
  description TEXT,
  tags TEXT,
  generation BIGINT,
  created_at TEXT,
  updated_at TEXT,
  stateful BIGINT,
  is_default BIGINT,
  PRIMARY KEY (id)
);

CREATE INDEX security_group_0 ON security_group (project_id, is_default);

CREATE TABLE security_group_rule (
  id TEXT NOT NULL,
  project_id TEXT,
  security_group_id TEXT,
  direction TEXT,
  ethertype TEXT,
  protocol TEXT,
  port_range_min BIGINT,
  port_range_max BIGINT,
  remote_ip_prefix TEXT,
  remote_group_id TEXT,
  remote_address_group_id TEXT,
  normalized_cidr TEXT,
  description TEXT,
  generation BIGINT,
  created_at TEXT,
  updated_at TEXT,
  belongs_to_default_sg BIGINT,
  PRIMARY KEY (id)
);

CREATE INDEX security_group_rule_0 ON security_group_rule (security_group_id);

CREATE INDEX security_group_rule_1 ON security_group_rule (remote_group_id);

CREATE INDEX security_group_rule_2 ON security_group_rule (remote_address_group_id);

CREATE INDEX security_group_rule_3 ON security_group_rule (project_id);

CREATE TABLE seeded (
  name TEXT NOT NULL,
  PRIMARY KEY (name)
);

CREATE TABLE segment (
  id TEXT NOT NULL,
  project_id TEXT,
  network_id TEXT,
  name TEXT,
  description TEXT,
  network_type TEXT,
  physical_network TEXT,
  segmentation_id BIGINT,
  tags TEXT,
  generation BIGINT,
  created_at TEXT,
  updated_at TEXT,
  PRIMARY KEY (id)
);

CREATE INDEX segment_0 ON segment (network_id);

CREATE TABLE server (
  id TEXT NOT NULL,
  project_id TEXT,
  user_id TEXT,
  name TEXT,
  hostname TEXT,
  description TEXT,
  image_id TEXT,
  image_properties TEXT,
  flavor_id TEXT,
  flavor TEXT,
  key_name TEXT,
  keypair TEXT,
  metadata TEXT,
  tags TEXT,
  user_data TEXT,
  config_drive BIGINT,
  zone TEXT,
  hints TEXT,
  group_id TEXT,
  wanted_host TEXT,
  security_groups TEXT,
  nics TEXT,
  devices TEXT,
  files TEXT,
  secret TEXT,
  told TEXT,
  disk_config TEXT,
  access_ipv4 TEXT,
  access_ipv6 TEXT,
  reservation_id TEXT,
  launch_index BIGINT,
  power TEXT,
  boots BIGINT,
  soft BIGINT,
  disk_version BIGINT,
  snapshot TEXT,
  terminate BIGINT,
  locked_by TEXT,
  locked_reason TEXT,
  action TEXT,
  request_id TEXT,
  acted_at TEXT,
  generation BIGINT,
  observed_generation BIGINT,
  vm_state TEXT,
  task_state TEXT,
  power_state BIGINT,
  host TEXT,
  move TEXT,
  old_host TEXT,
  disk_image TEXT,
  rescue TEXT,
  node_id TEXT,
  node_asked BIGINT,
  tried TEXT,
  fault TEXT,
  progress BIGINT,
  created_at TEXT,
  updated_at TEXT,
  launched_at TEXT,
  PRIMARY KEY (id)
);

CREATE INDEX server_0 ON server (project_id, created_at, id);

CREATE INDEX server_1 ON server (created_at, id);

CREATE INDEX server_2 ON server (host);

CREATE INDEX server_3 ON server (group_id);

CREATE INDEX server_4 ON server (reservation_id);

CREATE INDEX server_5 ON server (node_id);

CREATE INDEX server_6 ON server (old_host);

CREATE TABLE server_group (
  id TEXT NOT NULL,
  project_id TEXT,
  user_id TEXT,
  name TEXT,
  policy TEXT,
  rules TEXT,
  created_at TEXT,
  PRIMARY KEY (id)
);

CREATE INDEX server_group_0 ON server_group (project_id);

CREATE TABLE server_migration (
  uuid TEXT NOT NULL,
  number BIGINT,
  server_id TEXT,
  user_id TEXT,
  project_id TEXT,
  kind TEXT,
  status TEXT,
  source TEXT,
  dest TEXT,
  old_flavor TEXT,
  new_flavor TEXT,
  created_at TEXT,
  updated_at TEXT,
  PRIMARY KEY (uuid)
);

CREATE INDEX server_migration_0 ON server_migration (server_id);

CREATE INDEX server_migration_1 ON server_migration (created_at);

CREATE TABLE server_past (
  id TEXT NOT NULL,
  project_id TEXT,
  name TEXT,
  flavor TEXT,
  started_at TEXT,
  ended_at TEXT,
  PRIMARY KEY (id)
);

CREATE INDEX server_past_0 ON server_past (project_id, ended_at);

CREATE INDEX server_past_1 ON server_past (ended_at);

CREATE TABLE service_profile (
  id TEXT NOT NULL,
  project_id TEXT,
  description TEXT,
  driver TEXT,
  metainfo TEXT,
  enabled BIGINT,
  PRIMARY KEY (id)
);

CREATE TABLE subnet (
  id TEXT NOT NULL,
  name TEXT,
  project_id TEXT,
  description TEXT,
  tags TEXT,
  generation BIGINT,
  created_at TEXT,
  updated_at TEXT,
  network_id TEXT,
  ip_version BIGINT,
  subnetpool_id TEXT,
  cidr TEXT,
  gateway_ip TEXT,
  allocation_pools TEXT,
  dns_nameservers TEXT,
  host_routes TEXT,
  enable_dhcp BIGINT,
  ipv6_ra_mode TEXT,
  ipv6_address_mode TEXT,
  service_types TEXT,
  segment_id TEXT,
  PRIMARY KEY (id)
);

CREATE INDEX subnet_0 ON subnet (network_id);

CREATE INDEX subnet_1 ON subnet (project_id);

CREATE INDEX subnet_2 ON subnet (subnetpool_id);

CREATE INDEX subnet_3 ON subnet (segment_id);

CREATE TABLE subnetpool (
  id TEXT NOT NULL,
  project_id TEXT,
  description TEXT,
  tags TEXT,
  generation BIGINT,
  created_at TEXT,
  updated_at TEXT,
  name TEXT,
  prefixes TEXT,
  ip_version BIGINT,
  default_quota BIGINT,
  default_prefixlen BIGINT,
  min_prefixlen BIGINT,
  max_prefixlen BIGINT,
  is_default BIGINT,
  address_scope_id TEXT,
  PRIMARY KEY (id)
);

CREATE INDEX subnetpool_0 ON subnetpool (project_id);

CREATE INDEX subnetpool_1 ON subnetpool (address_scope_id);

CREATE TABLE subport (
  port_id TEXT NOT NULL,
  trunk_id TEXT,
  segmentation_type TEXT,
  segmentation_id BIGINT,
  profile TEXT,
  PRIMARY KEY (port_id)
);

CREATE UNIQUE INDEX subport_0 ON subport (trunk_id, segmentation_id);

CREATE TABLE switch (
  id TEXT NOT NULL,
  rack_id TEXT,
  name TEXT,
  driver TEXT,
  chassis_id TEXT,
  access TEXT,
  secrets TEXT,
  uplinks TEXT,
  state TEXT,
  reason TEXT,
  seen TEXT,
  seen_at TEXT,
  PRIMARY KEY (id)
);

CREATE UNIQUE INDEX switch_0 ON switch (name);

CREATE INDEX switch_1 ON switch (rack_id);

CREATE INDEX switch_2 ON switch (chassis_id);

CREATE TABLE switch_port (
  switch_id TEXT NOT NULL,
  name TEXT NOT NULL,
  nic_id TEXT,
  owner TEXT,
  vlan BIGINT,
  native BIGINT,
  lag BIGINT,
  gone BIGINT,
  applied BIGINT,
  PRIMARY KEY (switch_id, name)
);

CREATE INDEX switch_port_0 ON switch_port (nic_id);

CREATE INDEX switch_port_1 ON switch_port (owner);

CREATE TABLE trunk (
  id TEXT NOT NULL,
  name TEXT,
  project_id TEXT,
  description TEXT,
  tags TEXT,
  generation BIGINT,
  created_at TEXT,
  updated_at TEXT,
  admin_state_up BIGINT,
  port_id TEXT,
  PRIMARY KEY (id)
);

CREATE UNIQUE INDEX trunk_0 ON trunk (port_id);

CREATE INDEX trunk_1 ON trunk (project_id);

CREATE TABLE volume (
  id TEXT NOT NULL,
  project_id TEXT,
  user_id TEXT,
  name TEXT,
  description TEXT,
  size BIGINT,
  status TEXT,
  previous_status TEXT,
  attach_status TEXT,
  migration_status TEXT,
  type_id TEXT,
  availability_zone TEXT,
  host TEXT,
  bootable BIGINT,
  multiattach BIGINT,
  snapshot_id TEXT,
  source_volid TEXT,
  image_id TEXT,
  backup_id TEXT,
  group_id TEXT,
  metadata TEXT,
  admin_metadata TEXT,
  image_metadata TEXT,
  task TEXT,
  percent BIGINT,
  fault TEXT,
  generation BIGINT,
  created_at TEXT,
  updated_at TEXT,
  PRIMARY KEY (id)
);

CREATE INDEX volume_0 ON volume (project_id, created_at);

CREATE INDEX volume_1 ON volume (status);

CREATE INDEX volume_2 ON volume (snapshot_id);

CREATE INDEX volume_3 ON volume (source_volid);

CREATE INDEX volume_4 ON volume (type_id);

CREATE INDEX volume_5 ON volume (created_at, id);

CREATE INDEX volume_6 ON volume (group_id);

CREATE TABLE volume_attachment (
  id TEXT NOT NULL,
  volume_id TEXT,
  project_id TEXT,
  instance_uuid TEXT,
  attached_host TEXT,
  mountpoint TEXT,
  attach_mode TEXT,
  attach_status TEXT,
  attach_time TEXT,
  detach_time TEXT,
  connector TEXT,
  connection TEXT,
  secret TEXT,
  created_at TEXT,
  PRIMARY KEY (id)
);

CREATE INDEX volume_attachment_0 ON volume_attachment (volume_id);

CREATE INDEX volume_attachment_1 ON volume_attachment (instance_uuid);

CREATE INDEX volume_attachment_2 ON volume_attachment (attached_host);

CREATE INDEX volume_attachment_3 ON volume_attachment (project_id, created_at);

CREATE TABLE volume_backup (
  id TEXT NOT NULL,
  project_id TEXT,
  user_id TEXT,
  volume_id TEXT,
  snapshot_id TEXT,
  parent_id TEXT,
  name TEXT,
  description TEXT,
  container TEXT,
  file TEXT,
  size BIGINT,
  object_count BIGINT,
  status TEXT,
  fail_reason TEXT,
  metadata TEXT,
  task TEXT,
  data_timestamp TEXT,
  availability_zone TEXT,
  generation BIGINT,
  created_at TEXT,
  updated_at TEXT,
  PRIMARY KEY (id)
);

CREATE INDEX volume_backup_0 ON volume_backup (project_id, created_at);

CREATE INDEX volume_backup_1 ON volume_backup (volume_id);

CREATE INDEX volume_backup_2 ON volume_backup (parent_id);

CREATE INDEX volume_backup_3 ON volume_backup (file);

CREATE TABLE volume_connector (
  id TEXT NOT NULL,
  created_at TEXT,
  updated_at TEXT,
  extra TEXT,
  node_id TEXT,
  type TEXT,
  connector_id TEXT,
  PRIMARY KEY (id)
);

CREATE INDEX volume_connector_0 ON volume_connector (node_id);

CREATE UNIQUE INDEX volume_connector_1 ON volume_connector (type, connector_id);

CREATE INDEX volume_connector_2 ON volume_connector (created_at, id);

CREATE TABLE volume_export (
  id TEXT NOT NULL,
  volume_id TEXT,
  machine TEXT,
  connector TEXT,
  secret TEXT,
  made_at DOUBLE PRECISION,
  PRIMARY KEY (id)
);

CREATE INDEX volume_export_0 ON volume_export (volume_id, machine);

CREATE TABLE volume_group (
  id TEXT NOT NULL,
  project_id TEXT,
  user_id TEXT,
  name TEXT,
  description TEXT,
  status TEXT,
  type_id TEXT,
  availability_zone TEXT,
  host TEXT,
  group_snapshot_id TEXT,
  source_group_id TEXT,
  fault TEXT,
  created_at TEXT,
  updated_at TEXT,
  PRIMARY KEY (id)
);

CREATE INDEX volume_group_0 ON volume_group (project_id, created_at);

CREATE INDEX volume_group_1 ON volume_group (type_id);

CREATE INDEX volume_group_2 ON volume_group (source_group_id);

CREATE INDEX volume_group_3 ON volume_group (group_snapshot_id);

CREATE TABLE volume_group_snapshot (
  id TEXT NOT NULL,
  project_id TEXT,
  user_id TEXT,
  group_id TEXT,
  type_id TEXT,
  name TEXT,
  description TEXT,
  status TEXT,
  marks TEXT,
  fault TEXT,
  created_at TEXT,
  updated_at TEXT,
  PRIMARY KEY (id)
);

CREATE INDEX volume_group_snapshot_0 ON volume_group_snapshot (project_id, created_at);

CREATE INDEX volume_group_snapshot_1 ON volume_group_snapshot (group_id);

CREATE INDEX volume_group_snapshot_2 ON volume_group_snapshot (type_id);

CREATE TABLE volume_group_type (
  id TEXT NOT NULL,
  name TEXT,
  description TEXT,
  is_public BIGINT,
  specs TEXT,
  created_at TEXT,
  updated_at TEXT,
  PRIMARY KEY (id)
);

CREATE UNIQUE INDEX volume_group_type_0 ON volume_group_type (name);

CREATE TABLE volume_group_volume_type (
  group_id TEXT NOT NULL,
  type_id TEXT NOT NULL,
  PRIMARY KEY (group_id, type_id)
);

CREATE INDEX volume_group_volume_type_0 ON volume_group_volume_type (type_id);

CREATE TABLE volume_item (
  owner_id TEXT NOT NULL,
  kind TEXT NOT NULL,
  name TEXT NOT NULL,
  value TEXT,
  PRIMARY KEY (owner_id, kind, name)
);

CREATE INDEX volume_item_0 ON volume_item (kind, name, value);

CREATE TABLE volume_limit (
  project_id TEXT NOT NULL,
  resource TEXT NOT NULL,
  hard_limit BIGINT,
  PRIMARY KEY (project_id, resource)
);

CREATE TABLE volume_message (
  id TEXT NOT NULL,
  project_id TEXT,
  request_id TEXT,
  resource_type TEXT,
  resource_uuid TEXT,
  event_id TEXT,
  user_message TEXT,
  created_at TEXT,
  expires_at TEXT,
  PRIMARY KEY (id)
);

CREATE INDEX volume_message_0 ON volume_message (project_id, created_at);

CREATE INDEX volume_message_1 ON volume_message (resource_uuid);

CREATE TABLE volume_pool (
  name TEXT NOT NULL,
  driver TEXT,
  total_gb DOUBLE PRECISION,
  free_gb DOUBLE PRECISION,
  capabilities TEXT,
  reason TEXT,
  seen_at TEXT,
  PRIMARY KEY (name)
);

CREATE TABLE volume_qos (
  id TEXT NOT NULL,
  name TEXT,
  consumer TEXT,
  specs TEXT,
  created_at TEXT,
  PRIMARY KEY (id)
);

CREATE UNIQUE INDEX volume_qos_0 ON volume_qos (name);

CREATE TABLE volume_service (
  binary_name TEXT NOT NULL,
  host TEXT NOT NULL,
  disabled BIGINT,
  reason TEXT,
  updated_at TEXT,
  PRIMARY KEY (binary_name, host)
);

CREATE TABLE volume_snapshot (
  id TEXT NOT NULL,
  project_id TEXT,
  user_id TEXT,
  volume_id TEXT,
  group_snapshot_id TEXT,
  name TEXT,
  description TEXT,
  size BIGINT,
  status TEXT,
  progress TEXT,
  type_id TEXT,
  metadata TEXT,
  image_metadata TEXT,
  fault TEXT,
  generation BIGINT,
  created_at TEXT,
  updated_at TEXT,
  PRIMARY KEY (id)
);

CREATE INDEX volume_snapshot_0 ON volume_snapshot (volume_id, created_at);

CREATE INDEX volume_snapshot_1 ON volume_snapshot (project_id, created_at);

CREATE INDEX volume_snapshot_2 ON volume_snapshot (status);

CREATE INDEX volume_snapshot_3 ON volume_snapshot (group_snapshot_id);

CREATE TABLE volume_target (
  id TEXT NOT NULL,
  created_at TEXT,
  updated_at TEXT,
  extra TEXT,
  node_id TEXT,
  boot_index BIGINT,
  properties TEXT,
  volume_id TEXT,
  volume_type TEXT,
  PRIMARY KEY (id)
);

CREATE UNIQUE INDEX volume_target_0 ON volume_target (node_id, boot_index);

CREATE INDEX volume_target_1 ON volume_target (created_at, id);

CREATE TABLE volume_transfer (
  id TEXT NOT NULL,
  volume_id TEXT,
  name TEXT,
  salt TEXT,
  crypt_hash TEXT,
  no_snapshots BIGINT,
  source_project_id TEXT,
  destination_project_id TEXT,
  accepted BIGINT,
  created_at TEXT,
  PRIMARY KEY (id)
);

CREATE INDEX volume_transfer_0 ON volume_transfer (volume_id);

CREATE INDEX volume_transfer_1 ON volume_transfer (source_project_id, created_at);

CREATE TABLE volume_type (
  id TEXT NOT NULL,
  name TEXT,
  description TEXT,
  is_public BIGINT,
  qos_specs_id TEXT,
  extra_specs TEXT,
  encryption TEXT,
  created_at TEXT,
  updated_at TEXT,
  PRIMARY KEY (id)
);

CREATE UNIQUE INDEX volume_type_0 ON volume_type (name);

CREATE INDEX volume_type_1 ON volume_type (qos_specs_id);

CREATE TABLE volume_type_access (
  type_id TEXT NOT NULL,
  project_id TEXT NOT NULL,
  PRIMARY KEY (type_id, project_id)
);

CREATE INDEX volume_type_access_0 ON volume_type_access (project_id);

CREATE TABLE volume_type_default (
  project_id TEXT NOT NULL,
  type_id TEXT,
  PRIMARY KEY (project_id)
);

CREATE TABLE volume_usage (
  project_id TEXT NOT NULL,
  resource TEXT NOT NULL,
  in_use BIGINT,
  PRIMARY KEY (project_id, resource)
);

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
