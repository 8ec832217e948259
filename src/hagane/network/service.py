"""The network API (v2.0): its routes, and what its rows mean to those who read them.

The compiler to OVN reads these tables, and nothing else; it writes only `port.status`.
Work is woken in the transaction of the change, by kind and key; a key whose row is gone means: remove what was made of
it.

kind              key        rows to read
"network"         network    `network` (admin_state_up, mtu, network_type, physical_network, segmentation_id,
                             dns_domain) and its `subnet` rows (network_id): cidr, gateway_ip, enable_dhcp,
                             dns_nameservers, host_routes, ipv6_ra_mode, ipv6_address_mode. A change
                             of a subnet wakes its network, and both wake what has copies (dependent.py).
"port"            port       `port`: mac_address, fixed_ips [{subnet_id, ip_address}], admin_state_up, device_owner,
                             port_security_enabled, security_groups [id], allowed_address_pairs [{ip_address,
                             mac_address?}], extra_dhcp_opts [{opt_name, opt_value, ip_version}], binding_host_id,
                             binding_profile, binding_vnic_type, dns_name. Owner `network:distributed` is the metadata
                             localport; `network:floatingip` only holds an address and becomes nothing in OVN.
                             qos_policy_id, or its network's: `qos_rule` rows (policy_id). Of owner `trunk:subport`:
                             `subport` (port_id) has its tag, and the `trunk` whose port_id carries it.
"router"          router     `router`: admin_state_up, enable_snat, gateway_port_id (a `port`), routes
                             [{destination, nexthop}]; its interfaces are `port` rows with device_id = router and
                             device_owner `network:router_interface`.
"floatingip"      floatingip `floatingip`: floating_ip_address, fixed_ip_address, port_id, router_id (NULL: unbound);
                             of one that stands for no port, its `port_forwarding` rows (floatingip_id).
"security_group"  group      `security_group` (stateful), its `security_group_rule` rows (security_group_id), and its
                             members: `port_security_group` (port_id). Rules of others that name it: remote_group_id.
                             `network_log` rows (enabled) that hear of it: log_row.py.
"group"           "drop"     the group of all Ports with port security, which drops what no rule allows, and logs of it.
"chassis"         name       `network_agent` (removed): a dead chassis that an administrator deleted as an agent.

`generation` is the API's revision_number: raised by every change of intent.
"""

from pathlib import Path

from hagane.api.policy import Policy
from hagane.api.service import Service
from hagane.cloud import Cloud
from hagane.identity.removal import on_project_deleted
from hagane.network import (
    default_rule_row,
    extension,
    flavor_row,
    forward_row,
    log_row,
    port_row,
    project,
    qos_row,
    quota,
    rbac,
    root,
    router_row,
    security_group_row,
    segment_row,
    sequence,
    subnet_row,
    tag,
    tag_api,
    topology_row,
    trunk_row,
)
from hagane.network.address_group import AddressGroup
from hagane.network.address_scope import AddressScope
from hagane.network.agent import AGENT, Agents
from hagane.network.availability import Availability
from hagane.network.base import NetResource
from hagane.network.default_rule import DefaultRule
from hagane.network.fault import envelope, wording
from hagane.network.flavor import Flavor, ServiceProfile
from hagane.network.floating_pool import FloatingPools
from hagane.network.floatingip import FloatingIp
from hagane.network.forward import PortForwarding
from hagane.network.log import Log, Loggable
from hagane.network.network import Network
from hagane.network.port import Port
from hagane.network.qos_policy import QosPolicy
from hagane.network.qos_rule import RULES as QOS_RULES
from hagane.network.qos_type import QosTypes
from hagane.network.quota_api import Quotas
from hagane.network.rbac_policy import RbacPolicy
from hagane.network.router import Router
from hagane.network.security_group import SecurityGroup
from hagane.network.security_group_rule import SecurityGroupRule
from hagane.network.segment_api import Segment
from hagane.network.subnet import Subnet
from hagane.network.subnetpool import SubnetPool
from hagane.network.topology import Topologies
from hagane.network.trunk import Trunk
from hagane.state.table import Table

RESOURCES: tuple[type[NetResource], ...] = (
    Network, Subnet, Port, Router, FloatingIp, SecurityGroup, SecurityGroupRule, SubnetPool, AddressScope,
    AddressGroup, RbacPolicy, PortForwarding, QosPolicy, *QOS_RULES, Trunk, DefaultRule, Segment,
    Log, Flavor, ServiceProfile,
)  # fmt: skip

TABLES: tuple[Table, ...] = (
    Network.table, subnet_row.SUBNET, port_row.PORT, port_row.MEMBERSHIP, router_row.ROUTER, router_row.FLOATING,
    forward_row.FORWARD,
    qos_row.POLICY,
    qos_row.RULE,
    trunk_row.TRUNK,
    trunk_row.SUBPORT,
    log_row.LOG,
    flavor_row.FLAVOR, flavor_row.PROFILE, flavor_row.BOUND,
    segment_row.SEGMENT,
    topology_row.TOPOLOGY,
    default_rule_row.TEMPLATE,
    security_group_row.GROUP, security_group_row.RULE, SubnetPool.table, AddressScope.table, AddressGroup.table,
    rbac.RBAC, quota.QUOTA, tag.TAG, AGENT, sequence.RANGE, sequence.FREED,
)  # fmt: skip


def service(cloud: Cloud) -> Service:
    """The network API with all its routes."""
    policy = Policy.load("network", Path(cloud.config.policy) if cloud.config.policy else None)
    on_project_deleted(cloud, project.deleted)
    resources = [kind(cloud) for kind in RESOURCES]
    routes = [route for resource in resources for route in resource.routes()]
    for part in (
        Quotas(cloud, policy),
        QosTypes(cloud, policy),
        Topologies(cloud, policy),
        Agents(cloud, policy),
        Availability(cloud, policy),
        FloatingPools(cloud, policy),
        Loggable(cloud, policy),
    ):
        routes += part.routes()
    routes += [*tag_api.routes_of(resources), *extension.ROUTES, *root.ROUTES]
    return Service("network", "/network", policy, envelope, wording=wording, title="Networking", routes=routes)
