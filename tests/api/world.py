"""One of everything, made by one project, for tests that ask whether another one gets at it.

`value` says what to put into a route's path: which thing of the victim's stands behind `.../servers/{id}`. A route
whose path has a part that is not known here fails the tests that use it: whoever adds a resource adds it here.
"""

import base64
import json
import re
from collections.abc import Callable
from typing import Any, cast

import httpx

from hagane.api.service import Route, parse
from tests.api.consumer import Program
from tests.api.people import PASSWORD, Person, person
from tests.support import Running

SECRET = "secret-of-the-victim"
NOBODY = "0b0d1e5a-0000-4000-8000-000000000000"
LATEST = {"OpenStack-API-Version": "compute latest,volume latest"}
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHUCAQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0e"


BODIES: dict[str, list[Any]] = {
    "project:set_tags": [{"tags": ["x"]}],
    "region:put": [{"region": {}}],
    "image:import": [{"method": {"name": "glance-direct"}}],
    "task:create": [{"type": "import", "input": {"import_from": "http://x"}}],
    "router:add_extraroutes": [{"router": {"routes": []}}],
    "router:remove_extraroutes": [{"router": {"routes": []}}],
    "subnetpool:add_prefixes": [{"prefixes": ["10.9.0.0/16"]}],
    "subnetpool:remove_prefixes": [{"prefixes": ["10.9.0.0/16"]}],
    "subnetpool:onboard_network_subnets": [{"network_id": NOBODY}],
    "address_group:add_addresses": [{"addresses": ["10.9.0.0/16"]}],
    "address_group:remove_addresses": [{"addresses": ["10.9.0.0/16"]}],
    "metadata:update": [{"meta": {SECRET: "x"}}],
    "aggregate:action": [{"add_host": {"host": "sim1"}}, {"set_metadata": {"metadata": {"x": "y"}}}],
    "flavor:action": [{"addTenantAccess": {"tenant": "x"}}, {"removeTenantAccess": {"tenant": "x"}}],
    "keypair:create": [{"keypair": {"name": "mine", "type": "ssh"}}],
    "server_group:create": [{"server_group": {"name": "mine", "policy": "anti-affinity"}}],
    "quota_set:update": [{"quota_set": {"cores": 30, "force": True}}],
    "quota_class:update": [{"quota_class_set": {"cores": 30}}],
    "service:update": [{"status": "disabled", "disabled_reason": "x"}],
    "flavor_specs:create": [{"extra_specs": {"hw:y": "1"}}],
    "flavor_specs:update": [{"hw:x": "1"}],
    "interface:create": [{"interfaceAttachment": {"net_id": NOBODY}}],
    "rbac_policy:update": [{"rbac_policy": {"target_tenant": NOBODY}}],
    "flavor:bind": [{"service_profile": {"id": NOBODY}}],
    "agent:update": [{"agent": {"description": "x"}}],
    "trunk:add_subports": [{"sub_ports": []}],
    "trunk:remove_subports": [{"sub_ports": []}],
    "router:add_router_interface": [{"subnet_id": "x"}],
    "router:remove_router_interface": [{"subnet_id": "x"}],
    "quota:update": [{"quota": {"port": 500}}],
    "user:password": [{"user": {"password": "xxxxxxxx", "original_password": "x"}}],
    "application_credential:create": [{"application_credential": {"name": "x", "roles": [{"name": "member"}]}}],
    "token:issue": [
        {
            "auth": {
                "identity": {"methods": ["password"], "password": {"user": {"id": "x", "password": "x"}}},
                "scope": {"project": {"id": "x"}},
            }
        }
    ],
    "rack:put": [{"physical_network": "x", "vlans": "3001-3009"}],
    "volume:action": [
        {"os-extend": {"new_size": 2}},
        {"os-volume_upload_image": {"image_name": "x"}},
        {"os-retype": {"new_type": "__DEFAULT__"}},
        {"revert": {"snapshot_id": NOBODY}},
        {"os-reimage": {"image_id": NOBODY}},
        {"os-update_readonly_flag": {"readonly": True}},
        {"os-set_bootable": {"bootable": True}},
        {"os-set_image_metadata": {"metadata": {"x": "y"}}},
        {"os-unset_image_metadata": {"key": "x"}},
        {"os-reserve": None},
        {"os-unreserve": None},
        {"os-begin_detaching": None},
        {"os-roll_detaching": None},
        {"os-attach": {"mountpoint": "/dev/vdb", "instance_uuid": NOBODY}},
        {"os-detach": {}},
        {"os-initialize_connection": {"connector": {"host": "x"}}},
        {"os-reset_status": {"status": "error"}},
        {"os-terminate_connection": {"connector": {"host": "x"}}},
        {"os-force_delete": None},
        {"os-force_detach": {}},
        {"os-migrate_volume": {"host": "x"}},
        {"os-migrate_volume_completion": {"new_volume": NOBODY}},
        {"os-extend_volume_completion": {}},
        {"os-unmanage": {}},
    ],
    "snapshot:action": [
        {"os-reset_status": {"status": "error"}},
        {"os-force_delete": None},
        {"os-update_snapshot_status": {"status": "available"}},
        {"os-unmanage": {}},
    ],
    "backup:action": [{"os-reset_status": {"status": "error"}}, {"os-force_delete": None}],
    "volume_group:copy": [{"create-from-src": {"source_group_id": NOBODY}}],
    "volume_group:action": [
        {"delete": {"delete-volumes": True}},
        {"reset_status": {"status": "error"}},
        {"enable_replication": {}},
        {"disable_replication": {}},
        {"failover_replication": {}},
        {"list_replication_targets": {}},
    ],
    "group_snapshot:action": [{"reset_status": {"status": "error"}}],
    "group_type:create": [{"group_type": {"name": "mine"}}],
    "group_spec:update": [{SECRET: "y"}],
    "volume_type:action": [{"addProjectAccess": {"project": "x"}}, {"removeProjectAccess": {"project": "x"}}],
    "volume_metadata:create": [{"metadata": {"x": "y"}}],
    "volume_metadata:replace": [{"metadata": {"x": "y"}}],
    "volume_metadata:update": [{"meta": {SECRET: "y"}}],
    "snapshot_metadata:create": [{"metadata": {"x": "y"}}],
    "snapshot_metadata:replace": [{"metadata": {"x": "y"}}],
    "snapshot_metadata:update": [{"meta": {SECRET: "y"}}],
    "volume_type_specs:update": [{SECRET: "y"}],
    "volume_type:create": [{"volume_type": {"name": "mine"}}],
    "qos_spec:create": [{"qos_specs": {"name": "mine"}}],
    "qos_spec:update": [{"qos_specs": {"x": "y"}}],
    "volume_quota:update": [{"quota_set": {"volumes": 20}}],
    "volume_quota_class:update": [{"quota_class_set": {"volumes": 20}}],
    "volume:create": [{"volume": {"size": 1}}],
    "attachment:update": [{"attachment": {"connector": {"host": "x"}}}],
    "image_metadata:create": [{"metadata": {"x": "y"}}],
    "image_metadata:replace": [{"metadata": {"x": "y"}}],
    "image_metadata:update": [{"meta": {SECRET: "y"}}],
    "host:update": [{"status": "disable"}],
    "external_event:create": [{"events": [{"server_uuid": NOBODY, "name": "network-changed"}]}],
    "security_group:create": [{"security_group": {"name": "mine", "description": "x"}}],
    "security_group:update": [{"security_group": {"name": "mine", "description": "x"}}],
    "security_group_rule:create": [{"security_group_rule": {"parent_group_id": NOBODY}}],
    "floating_ip:create": [{"pool": "outside"}],
    "snapshot:create": [{"snapshot": {"volume_id": NOBODY}}],
    "console:create": [{"remote_console": {"protocol": "serial", "type": "serial"}}],
}
"""Bodies of routes that declare none."""

STRICTER = {
    "metadata:update",
    "attachment:update",
    "volume_metadata:update",
    "snapshot_metadata:update",
    "group_spec:update",
    "rbac_policy:update",
}
"""Routes whose own rules ask more of a body than the declared one says."""


class World:
    """The victim's things, each named with SECRET. `ids` holds them by the path segment before their id."""

    def __init__(self, cloud: Running) -> None:
        self.cloud = cloud
        self.admin = httpx.Client(base_url=cloud.url, headers={"X-Auth-Token": cloud.token()})
        self.victim: Person = person(cloud)
        self.ids: dict[str, str] = {}
        self._identity()
        self._image()
        self._network()
        self._compute()
        self._baremetal()
        self._rack()
        self._volume()
        self._older()
        cloud.settle()

    def close(self) -> None:
        self.admin.close()
        self.victim.http.close()

    def value(self, template: str, name: str) -> str:
        """What stands for `{name}` in a path."""
        service, before = template.split("/")[1], template.partition("{" + name + "}")[0].rstrip("/").rpartition("/")[2]
        if before.startswith("{"):
            before = name
        if f"{service}/{before}" in self.ids:
            return self.ids[f"{service}/{before}"]
        assert before in self.ids, f"tests/api/world.py makes nothing that {template} could mean by {name}"
        return self.ids[before]

    def path(self, route: Route) -> str:
        """The route's path with the victim's things in it."""
        return re.sub(r"\{(\w+)\}", lambda match: self.value(route.path, match[1]), route.path)

    def snapshot(self) -> dict[str, Any]:
        """What the victim sees of what is theirs."""
        seen = {}
        for path in (
            f"image/v2/images?owner={self.victim.project_id}", "network/v2.0/networks", "network/v2.0/subnets",
            "network/v2.0/ports", "network/v2.0/routers", "network/v2.0/floatingips", "network/v2.0/security-groups",
            "network/v2.0/subnetpools", "network/v2.0/address-groups", "network/v2.0/rbac-policies",
            "volume/v3/volumes/detail", "volume/v3/snapshots/detail", "volume/v3/backups/detail",
            "volume/v3/groups/detail", "volume/v3/group_snapshots/detail", "compute/v2.1/servers/detail", "compute/v2.1/os-keypairs", "compute/v2.1/os-server-groups",
            f"identity/v3/users/{self.victim.user_id}/application_credentials", "identity/v3/credentials",
            f"identity/v3/OS-TRUST/trusts?trustor_user_id={self.victim.user_id}",
        ):  # fmt: skip
            answer = self.victim.http.get(path, headers=LATEST)
            assert answer.status_code == 200, (path, answer.text)
            seen[path] = answer.json()
        return seen

    # -- making ----------------------------------------------------------------------------------------------------

    def _make(self, http: httpx.Client, path: str, body: Any, *keys: str | int, method: str = "POST") -> Any:
        answer = http.request(method, path, json=body, headers=LATEST)
        assert answer.is_success, (path, answer.status_code, answer.text)
        found = answer.json() if answer.content else None
        for key in keys:
            found = found[key]
        return found

    def _identity(self) -> None:
        v3, user = "/identity/v3", self.victim.user_id
        for path in ("roles", "services", "endpoints", "regions"):
            self.ids[path] = self.admin.get(f"{v3}/{path}").json()[path][0]["id"]
        group = {"group": {"name": SECRET, "domain_id": "default"}}
        self.ids["groups"] = self._make(self.admin, f"{v3}/groups", group, "group", "id")
        rule = {"path": f"/{SECRET}", "method": "GET", "service": "compute"}
        credential = {"application_credential": {"name": SECRET, "access_rules": [rule]}}
        made = self._make(self.victim.http, f"{v3}/users/{user}/application_credentials", credential,
                          "application_credential")  # fmt: skip
        self._given_away(v3, user)
        service = self._make(self.admin, f"{v3}/services", {"service": {"type": "limited"}}, "service", "id")
        about = {"service_id": service, "resource_name": "things"}
        registered = {"registered_limits": [about | {"default_limit": 1}]}
        self.ids["registered_limits"] = self._make(self.admin, f"{v3}/registered_limits", registered,
                                                   "registered_limits", 0, "id")  # fmt: skip
        kept = {"policy": {"type": "text/plain", "blob": SECRET}}
        self.ids["identity/policies"] = self._make(self.admin, f"{v3}/policies", kept, "policy", "id")
        group = {"endpoint_group": {"name": SECRET, "filters": {"service_id": service}}}
        groups = f"{v3}/OS-EP-FILTER/endpoint_groups"
        self.ids["endpoint_groups"] = self._make(self.admin, groups, group, "endpoint_group", "id")
        self._federation(v3)
        limit = about | {"project_id": self.victim.project_id, "resource_limit": 2, "description": SECRET}
        self.ids["limits"] = self._make(self.admin, f"{v3}/limits", {"limits": [limit]}, "limits", 0, "id")
        self.ids |= {
            "application_credentials": made["id"], "access_rules": made["access_rules"][0]["id"], "domains": "default",
            "projects": self.victim.project_id, "users": user, "implies": self.ids["roles"], "tags": SECRET,
            "identity/config": "identity", "identity/option": "list_limit",
        }  # fmt: skip

    def _federation(self, v3: str) -> None:
        """Somebody outside who vouches for users, and a cloud that believes this one."""
        top = f"{v3}/OS-FEDERATION"
        rules = [{"local": [{"user": {"name": "{0}"}}], "remote": [{"type": SECRET}]}]
        provider = f"{top}/identity_providers/{SECRET}"
        self._make(self.admin, f"{top}/mappings/{SECRET}", {"mapping": {"rules": rules}}, method="PUT")
        self._make(self.admin, provider, {"identity_provider": {"domain_id": "default"}}, method="PUT")
        self._make(self.admin, f"{provider}/protocols/{SECRET}", {"protocol": {"mapping_id": SECRET}}, method="PUT")
        other = {"auth_url": f"https://{SECRET}", "sp_url": f"https://{SECRET}"}
        self._make(self.admin, f"{top}/service_providers/{SECRET}", {"service_provider": other}, method="PUT")
        self.ids |= dict.fromkeys(("mappings", "identity_providers", "protocols", "service_providers"), SECRET)

    def _given_away(self, v3: str, user: str) -> None:
        """Keys and credentials of the victim's, and a trust in the administrator."""
        key = {"tenant_id": self.victim.project_id}
        self.ids["OS-EC2"] = self._make(self.victim.http, f"{v3}/users/{user}/credentials/OS-EC2", key,
                                        "credential", "access")  # fmt: skip
        credential = {"type": "cert", "blob": SECRET, "user_id": user, "project_id": self.victim.project_id}
        self.ids["credentials"] = self._make(self.victim.http, f"{v3}/credentials", {"credential": credential},
                                             "credential", "id")  # fmt: skip
        administrator = self.admin.get(f"{v3}/users?name=admin").json()["users"][0]["id"]
        trust = {"trustor_user_id": user, "trustee_user_id": administrator, "impersonation": True, "note": SECRET,
                 "project_id": self.victim.project_id, "roles": [{"name": "member"}]}  # fmt: skip
        self.ids["trusts"] = self._make(self.victim.http, f"{v3}/OS-TRUST/trusts", {"trust": trust}, "trust", "id")

        self._program(v3)

    def _program(self, v3: str) -> None:
        """A program that the administrator lets act for the victim's project, and one that waits for that."""
        user = self.admin.get(f"{v3}/users?name=admin").json()["users"][0]["id"]
        grant = f"{v3}/projects/{self.victim.project_id}/users/{user}/roles/{self.ids['roles']}"
        self._make(self.admin, grant, None, method="PUT")
        with httpx.Client(base_url=self.cloud.url) as anyone:
            program = Program.made(self.admin, anyone, SECRET)
            token = program.granted(self.victim.project_id, [{"id": self.ids["roles"]}])
            waiting = program.asked(self.victim.project_id)
        self.ids |= {"consumers": program.id, "access_tokens": token[0], "authorize": waiting[0]}

    def _image(self) -> None:
        body = {"name": SECRET, "disk_format": "raw", "container_format": "bare", "tags": [SECRET]}
        self.ids["images"] = image = self._make(self.victim.http, "/image/v2/images", body, "id")
        octets = {"Content-Type": "application/octet-stream"}
        self.victim.http.put(f"/image/v2/images/{image}/file", content=SECRET.encode(), headers=octets)
        self._make(self.victim.http, f"/image/v2/images/{image}/members", {"member": SECRET})
        self.ids["members"] = SECRET
        staged = self._make(self.victim.http, "/image/v2/images", body, "id")
        self.victim.http.put(f"/image/v2/images/{staged}/stage", content=SECRET.encode(), headers=octets)
        self._make(self.victim.http, f"/image/v2/images/{staged}/import", {"method": {"name": "glance-direct"}})
        self._metadefs()
        self.ids["image/tasks"] = self.admin.get("/image/v2/tasks").json()["tasks"][0]["id"]

    def _metadefs(self) -> None:
        """A private namespace of the victim's project, with one part of each kind."""
        space = {"namespace": SECRET, "owner": self.victim.project_id, "tags": [{"name": SECRET}],
                 "objects": [{"name": SECRET}], "properties": {SECRET: {"title": SECRET, "type": "string"}},
                 "resource_type_associations": [{"name": SECRET, "prefix": SECRET}]}  # fmt: skip
        self._make(self.admin, "/image/v2/metadefs/namespaces", space)
        for name in ("namespaces", "objects", "properties", "resource_types", "tags"):
            self.ids.setdefault(name, SECRET)

    def _network(self) -> None:
        v2, http = "/network/v2.0", self.victim.http

        def make(path: str, **body: Any) -> str:
            name = path.rstrip("s").replace("-", "_")
            named = {} if path in ("security-group-rules", "floatingips") else {"name": SECRET}
            made: str = self._make(http, f"{v2}/{path}", {name: named | body}, name, "id")
            self.ids[path] = made
            return made

        outside = {"network": {"name": "outside", "router:external": True, "provider:network_type": "flat",
                               "provider:physical_network": "ext"}}  # fmt: skip
        external = self._make(self.admin, f"{v2}/networks", outside, "network", "id")
        subnet = {"network_id": external, "ip_version": 4, "cidr": "203.0.113.0/24", "enable_dhcp": False}
        self._make(self.admin, f"{v2}/subnets", {"subnet": subnet})
        network = make("networks")
        inside = make("subnets", network_id=network, ip_version=4, cidr="10.77.0.0/24")
        group = make("security-groups", description=SECRET)
        make("security-group-rules", security_group_id=group, direction="ingress", description=SECRET)
        self.ids["ports"] = make("ports", network_id=network, security_groups=[group], description=SECRET)
        router = make("routers", external_gateway_info={"network_id": external})
        self._make(http, f"{v2}/routers/{router}/add_router_interface", {"subnet_id": inside}, method="PUT")
        scope = make("address-scopes", ip_version=4)
        make("subnetpools", prefixes=["10.88.0.0/16"], address_scope_id=scope, description=SECRET)
        make("address-groups", addresses=["10.89.0.0/16"], description=SECRET)
        told = {"log": {"name": SECRET, "resource_type": "security_group", "resource_id": group,
                        "project_id": self.victim.project_id}}  # fmt: skip
        self.ids["logs"] = self._make(self.admin, f"{v2}/log/logs", told, "log", "id")
        profile = {"service_profile": {"metainfo": "{}"}}
        made = self._make(self.admin, f"{v2}/service_profiles", profile, "service_profile", "id")
        flavor = {"flavor": {"service_type": "L3_ROUTER_NAT"}}
        self.ids["service_profiles"] = made
        self.ids["network/flavors"] = self._make(self.admin, f"{v2}/flavors", flavor, "flavor", "id")
        # Shared with a project that does not exist: enough to have a policy, and nobody sees more for it.
        policy = {"object_type": "network", "object_id": network, "action": "access_as_shared", "target_tenant": NOBODY}
        made = self._make(http, f"{v2}/rbac-policies", {"rbac_policy": policy}, "rbac_policy", "id")
        agents = self._make(self.admin, f"{v2}/agents", None, "agents", method="GET")
        self.ids |= {"rbac-policies": made, "quotas": self.victim.project_id, "network-ip-availabilities": network,
                     "agents": agents[0]["id"] if agents else SECRET, "network/tags": SECRET, "network/extensions": "router"}  # fmt: skip
        self._make(http, f"{v2}/networks/{network}/tags/{SECRET}", None, method="PUT")
        make("floatingips", floating_network_id=external, port_id=self.ids["ports"], description=SECRET)
        self._breadth(make, external, network)

    def _breadth(self, make: Any, external: str, network: str) -> None:
        """What the network API has beside the things of the first hour."""
        v2, http = "/network/v2.0", self.victim.http
        floating = make("floatingips", floating_network_id=external, description=SECRET)
        other = self._make(http, f"{v2}/ports", {"port": {"network_id": network, "name": SECRET}}, "port", "id")
        forwarding = {"protocol": "tcp", "internal_port_id": other, "internal_port": 80, "external_port": 80,
                      "description": SECRET}  # fmt: skip
        self.ids["port_forwardings"] = self._make(http, f"{v2}/floatingips/{floating}/port_forwardings",
                                                  {"port_forwarding": forwarding}, "port_forwarding", "id")  # fmt: skip
        quality = {"policy": {"name": SECRET, "project_id": self.victim.project_id, "description": SECRET}}
        self.ids["policies"] = policy = self._make(self.admin, f"{v2}/qos/policies", quality, "policy", "id")
        for kind, values in (("bandwidth_limit", {"max_kbps": 9}), ("dscp_marking", {"dscp_mark": 26}),
                             ("minimum_bandwidth", {"min_kbps": 8})):  # fmt: skip
            rule = {f"{kind}_rule": values}
            made = self._make(self.admin, f"{v2}/qos/policies/{policy}/{kind}_rules", rule, f"{kind}_rule", "id")
            self.ids[f"{kind}_rules"] = self.ids[f"alias-{kind.replace('_', '-')}-rules"] = made
        self.ids["rule-types"] = "dscp_marking"
        pair = [self._make(http, f"{v2}/ports", {"port": {"network_id": network}}, "port", "id") for _ in range(2)]
        subports = [{"port_id": pair[1], "segmentation_type": "vlan", "segmentation_id": 7}]
        plain = self._make(self.admin, f"{v2}/default-security-group-rules", None, "default_security_group_rules", 0, "id",
                           method="GET")  # fmt: skip
        self.ids["default-security-group-rules"] = plain
        self.ids["segments"] = self._make(self.admin, f"{v2}/segments?network_id={network}", None, "segments", 0, "id",
                                          method="GET")  # fmt: skip
        self.ids["auto-allocated-topology"] = self.victim.project_id
        make("trunks", port_id=pair[0], sub_ports=subports, description=SECRET)

    def _groups(self, make: Callable[..., dict[str, Any]], volume: dict[str, Any]) -> None:
        """A group of the victim's with a volume and a snapshot of it, and a group type that nobody else sees."""
        private = {"name": SECRET, "is_public": False, "group_specs": {SECRET: SECRET}}
        self.ids["group_types"] = make(self.admin, "group_types", group_type=private)["id"]
        kind = make(self.admin, "group_types", group_type={"name": "together"})["id"]
        body = {"name": SECRET, "group_type": kind, "volume_types": ["__DEFAULT__"]}
        self.ids["volume/groups"] = group = make(self.victim.http, "groups", group=body)["id"]
        make(self.victim.http, "volumes", volume=volume | {"group_id": group, "volume_type": "__DEFAULT__"})
        shot = {"name": SECRET, "group_id": group}
        self.ids["group_snapshots"] = make(self.victim.http, "group_snapshots", group_snapshot=shot)["id"]
        self.ids["group_specs"] = SECRET

    def _older(self) -> None:
        """What older clients of the compute API call what others hold."""
        others = {"os-security-groups": "security-groups", "os-security-group-rules": "security-group-rules",
                  "os-floating-ips": "floatingips", "os-networks": "networks", "os-tenant-networks": "networks",
                  "os-volumes": "volumes", "os-snapshots": "snapshots"}  # fmt: skip
        self.ids |= {name: self.ids[theirs] for name, theirs in others.items()}
        self.ids |= {"os-hosts": "sim1", "os-instance_usage_audit_log": "2026-11-20 10:00:00"}

    def _compute(self) -> None:
        v2, http, project = "/compute/v2.1", self.victim.http, self.victim.project_id
        flavor = {"name": SECRET, "ram": 64, "vcpus": 1, "disk": 1, "os-flavor-access:is_public": False}
        self.ids["flavors"] = tiny = self._make(self.admin, f"{v2}/flavors", {"flavor": flavor}, "flavor", "id")
        self._make(self.admin, f"{v2}/flavors/{tiny}/os-extra_specs", {"extra_specs": {"hw:x": SECRET}})
        self._make(self.admin, f"{v2}/flavors/{tiny}/action", {"addTenantAccess": {"tenant": project}})
        self._make(http, f"{v2}/os-keypairs", {"keypair": {"name": SECRET, "type": "ssh", "public_key": KEY}})
        group = {"server_group": {"name": SECRET, "policy": "affinity"}}
        self.ids["os-server-groups"] = self._make(http, f"{v2}/os-server-groups", group, "server_group", "id")
        aggregate = {"aggregate": {"name": SECRET}}
        self.ids["os-aggregates"] = str(self._make(self.admin, f"{v2}/os-aggregates", aggregate, "aggregate", "id"))
        server = {
            "name": SECRET, "flavorRef": tiny, "imageRef": self.ids["images"], "key_name": SECRET,
            "networks": [{"uuid": self.ids["networks"]}], "metadata": {SECRET: SECRET}, "tags": [SECRET],
            "user_data": base64.b64encode(SECRET.encode()).decode(),
        }  # fmt: skip
        self.ids["servers"] = made = self._make(http, f"{v2}/servers", {"server": server}, "server", "id")
        self.cloud.settle()
        interfaces = self._make(http, f"{v2}/servers/{made}/os-interface", None, "interfaceAttachments", method="GET")
        actions = self._make(http, f"{v2}/servers/{made}/os-instance-actions", None, "instanceActions", method="GET")
        hypervisors = self._make(self.admin, f"{v2}/os-hypervisors", None, "hypervisors", method="GET")
        services = self._make(self.admin, f"{v2}/os-services", None, "services", method="GET")
        self.ids |= {
            "os-interface": interfaces[0]["port_id"], "os-instance-actions": actions[0]["request_id"],
            "os-keypairs": SECRET, "compute/metadata": SECRET, "os-hypervisors": str(hypervisors[0]["id"]),
            "os-services": str(services[0]["id"]), "os-quota-sets": project, "os-quota-class-sets": "default",
            "os-extra_specs": "hw:x", "migrations": "1", "shares": NOBODY, "extensions": "os-keypairs", "ips": SECRET,
            "resource_providers": str(hypervisors[0]["id"]), "allocations": made, "inventories": "VCPU",
            "traits": "COMPUTE_NODE", "resource_classes": "VCPU", "os-console-auth-tokens": SECRET, "explain": "server", "name": made,
            "os-simple-tenant-usage": project,
        }  # fmt: skip

    def _volume(self) -> None:
        v3, http = "/volume/v3", self.victim.http
        self.ids["volume/v3"] = self.victim.project_id
        volume = {"name": SECRET, "size": 1, "metadata": {SECRET: SECRET}}
        latest = {"OpenStack-API-Version": "volume latest"}

        def make(person: httpx.Client, path: str, **body: Any) -> dict[str, Any]:
            answer = person.post(f"{v3}/{path}", json=body, headers=latest)
            assert answer.is_success, (path, answer.text)
            self.cloud.settle()
            found: dict[str, Any] = next(iter(answer.json().values()))
            return found

        self.ids["volumes"] = key = make(http, "volumes", volume=volume)["id"]
        self.ids["snapshots"] = make(http, "snapshots", snapshot={"volume_id": key, "name": SECRET,
                                                                  "metadata": {SECRET: SECRET}})["id"]  # fmt: skip
        self.ids["backups"] = make(http, "backups", backup={"volume_id": key, "name": SECRET})["id"]
        given = make(http, "volumes", volume=volume)["id"]
        self.ids["volume-transfers"] = make(http, "volume-transfers", transfer={"volume_id": given, "name": SECRET})[
            "id"
        ]
        self.ids["os-volume-transfer"] = self.ids["volume-transfers"]
        plugged = self.ids["os-volume_attachments"] = make(http, "volumes", volume=volume)["id"]
        self._make(http, f"/compute/v2.1/servers/{self.ids['servers']}/os-volume_attachments",
                   {"volumeAttachment": {"volumeId": plugged}})  # fmt: skip
        self.ids["attachments"] = make(http, "attachments", attachment={"volume_uuid": key})["id"]
        self._groups(make, volume)
        private = {"name": SECRET, "os-volume-type-access:is_public": False, "extra_specs": {SECRET: SECRET}}
        self.ids["types"] = kind = make(self.admin, "types", volume_type=private)["id"]
        access = {"addProjectAccess": {"project": self.victim.project_id}}
        assert self.admin.post(f"{v3}/types/{kind}/action", json=access).status_code == 202
        make(http, "volumes", volume=volume | {"volume_type": kind})  # no backend has what the type asks for
        self.ids["volume/messages"] = http.get(f"{v3}/messages", headers=latest).json()["messages"][0]["id"]
        self.ids["qos-specs"] = make(self.admin, "qos-specs", qos_specs={"name": SECRET, "x": SECRET})["id"]
        self.ids |= {
            "volume/metadata": SECRET, "extra_specs": SECRET, "volume/encryption": "cipher", "default-types": self.victim.project_id,
            "os-hosts": "hagane@sim", "capabilities": "hagane@sim", "volume/extensions": "backups",
        }  # fmt: skip

    def _rack(self) -> None:
        switch = {"name": SECRET, "driver": "sim", "password": SECRET}
        body = {"physical_network": SECRET, "vlans": "3001-3009", "switches": [switch]}
        self._make(self.admin, f"/hagane/v1/racks/{SECRET}", body, method="PUT")
        self.ids["racks"] = SECRET

    def _baremetal(self) -> None:
        v1, named = "/baremetal/v1", {"name": SECRET}
        system = {"X-Auth-Token": self.cloud.token(system={"all": True}), "OpenStack-API-Version": "baremetal latest"}

        def make(path: str, **body: Any) -> str:
            answer = self.admin.post(f"{v1}/{path}", json=body, headers=system)
            assert answer.is_success, (path, answer.text)
            made: str = answer.json()["uuid"]
            self.ids[f"baremetal/{path.rpartition('/')[2]}"] = made
            return made

        node = make("nodes", driver="fake-hardware", owner=self.victim.project_id, **named)
        group = make("portgroups", node_uuid=node, **named)
        make("ports", node_uuid=node, address="52:54:00:00:00:01", portgroup_uuid=group, **named)
        make("chassis", description=SECRET)
        make("allocations", resource_class="x", owner=self.victim.project_id, **named)
        step = {"interface": "bios", "step": "x", "args": {SECRET: SECRET}, "priority": 1}
        make("deploy_templates", name="CUSTOM_X", steps=[step])
        make("inspection_rules", description=SECRET, actions=[{"op": "log", "args": {"msg": SECRET}}])
        make("runbooks", name="CUSTOM_Y", steps=[{"interface": "bios", "step": SECRET, "order": 1}])
        make("volume/connectors", node_uuid=node, type="iqn", connector_id=SECRET)
        make("volume/targets", node_uuid=node, volume_type="iscsi", volume_id=SECRET, boot_index=0)
        self.ids |= {
            f"baremetal/{name}": SECRET for name in ("indicators", "bios", "history", "vifs", "vendor_passthru")
        }
        self.ids |= {"baremetal/heartbeat": node, "baremetal/traits": "CUSTOM_X", "baremetal/drivers": "redfish",
                     "baremetal/conductors": "hagane"}  # fmt: skip

    # -- bodies ----------------------------------------------------------------------------------------------------

    def bodies(self, route: Route) -> list[Any]:
        """Bodies that the route takes: as it declares, else as this file knows; of actions, one for each."""
        if route.name == "server:action":
            return self.actions()
        if route.name.endswith(":tags"):
            return [{"tags": ["x"]}]
        if route.body is None or route.name in STRICTER:
            return BODIES.get(route.name, [{}])
        return [self.body(route.body.schema())]

    def actions(self) -> list[Any]:
        """A body for every action on a Server that the newest microversion has."""
        service = next(service for service in self.cloud.hagane.app.services if service.type == "compute")
        route = next(route for route in service.routes if route.name == "server:action")
        newest = parse(service.versions.newest) if service.versions else (0, 0)
        table = cast(Any, route.handler).__self__._table
        known = {name: action for name, action in table.items() if not action.until}
        return [{name: self.body(a.body(newest).schema()) if a.body else None} for name, a in known.items()]

    def body(self, schema: dict[str, Any], name: str = "") -> Any:
        """The smallest value that a schema takes, with the victim's things wherever it names one."""
        if "oneOf" in schema:
            return self.body(schema["oneOf"][0], name)
        if "enum" in schema:
            return next(value for value in schema["enum"] if value is not None)
        kind = schema.get("type", "object")
        kind = next(k for k in ([kind] if isinstance(kind, str) else kind) if k != "null")
        match kind:
            case "object":
                fields = schema.get("properties", {})
                wanted = schema.get("required", list(fields)[:1] if fields else [])
                return {key: self.body(fields.get(key, {}), key) for key in wanted}
            case "array":
                return [self.body(schema["items"], name)] * schema.get("minItems", 0)
            case "string":
                return self._text(schema, name)
            case "boolean":
                return True
        return schema.get("minimum", 1)

    def _text(self, schema: dict[str, Any], name: str) -> str:
        for known in ("network", "subnet", "port", "router", "image", "server", "flavor", "project", "user", "group"):
            if name in (f"{known}_id", f"{known}Ref", f"{known}_uuid"):
                return self.ids[f"{known}s"]
        if schema.get("format") in ("uuid", "date-time"):
            return "00000000-0000-4000-8000-000000000000" if schema["format"] == "uuid" else "2026-01-01T00:00:00"
        return {"password": PASSWORD, "cidr": "10.1.0.0/24"}.get(name, "x" * max(1, schema.get("minLength", 1)))


def secrets(world: World, answer: httpx.Response, asked: str) -> list[str]:
    """What an answer gives away: words and ids of the victim that the request itself did not hold."""
    text = answer.content.decode("utf-8", "replace") + json.dumps(dict(answer.headers))
    own = {SECRET, *(value for value in world.ids.values() if len(value) > 30)}
    everybodys = ("roles", "services", "endpoints", "regions", "registered_limits", "os-hypervisors",
                  "default-security-group-rules", "network/flavors")  # fmt: skip
    known = {world.ids[name] for name in everybodys}
    return sorted(word for word in own - known if word in text and word not in asked)
