"""The network API's errors by the names that its clients know: {"NeutronError": {"type": name, "message": text}}.

`raise error("PortNotFound", port_id=x)`: the name gives the kind (and so the status code) and the sentence.
"""

from typing import Any

from hagane.errors import Conflict, Forbidden, HaganeError, Invalid, NotFound, Unavailable

_NOT_FOUND = {
    "NetworkNotFound": "Network {id} could not be found.",
    "SubnetNotFound": "Subnet {id} could not be found.",
    "SegmentNotFound": "Segment {id} could not be found.",
    "SubnetPoolNotFound": "Subnet pool {id} could not be found.",
    "AddressScopeNotFound": "Address scope {id} could not be found.",
    "PortNotFound": "Port {id} could not be found.",
    "RouterNotFound": "Router {id} could not be found",
    "RouterInterfaceNotFound": "Router {router_id} does not have an interface with id {port_id}",
    "RouterInterfaceNotFoundForSubnet": "Router {router_id} has no interface on subnet {subnet_id}",
    "FloatingIPNotFound": "Floating IP {id} could not be found",
    "ExternalGatewayForFloatingIPNotFound": (
        "External network {network_id} is not reachable from subnet {subnet_id}.  Therefore, cannot associate Port "
        "{port_id} with a Floating IP."
    ),
    "PortForwardingNotFound": "Port Forwarding {id} could not be found.",
    "SecurityGroupNotFound": "Security group {id} does not exist",
    "DefaultSecurityGroupRuleNotFound": "Default Security Group rule {id} does not exist",
    "SecurityGroupRuleNotFound": "Security group rule {id} does not exist",
    "AddressGroupNotFound": "Address group {id} could not be found.",
    "AddressesNotFound": "Addresses {addresses} not found in the address group {id}.",
    "QosPolicyNotFound": "QoS policy {id} could not be found.",
    "QosRuleNotFound": "QoS rule {id} for policy {policy_id} could not be found.",
    "RbacPolicyNotFound": "RBAC policy of type {object_type} with ID {id} not found",
    "TrunkNotFound": "Trunk {id} could not be found.",
    "SubPortNotFound": "SubPort {port_id} on trunk {id} could not be found.",
    "TagNotFound": "Tag {tag} could not be found.",
    "TagResourceNotFound": "Resource {resource} {id} could not be found.",
    "AgentNotFound": "Agent {id} could not be found.",
    "AvailabilityZoneNotFound": "AvailabilityZone {zone} could not be found.",
    "FlavorNotFound": "Flavor {id} could not be found.",
    "FlavorServiceProfileBindingNotFound": "Service Profile {id} is not associated with flavor {flavor_id}.",
    "ServiceProfileNotFound": "Service Profile {id} could not be found.",
    "ServiceProfileDriverNotFound": "Service Profile driver {driver} could not be found.",
    "LogResourceNotFound": "Log resource {id} could not be found.",
    "ResourceNotFound": "Resource {id} could not be found.",
    "TargetResourceNotFound": "Target resource {id} could not be found.",
    "ExtensionNotFound": "Extension with alias {alias} does not exist",
    "QuotaResourceUnknown": "Unknown quota resources {unknown}.",
    "TenantQuotaNotFound": "Quota for project {project_id} could not be found.",
    "HTTPNotFound": "The resource could not be found.",
}
_CONFLICT = {
    "NetworkInUse": "Unable to complete operation on network {id}. {reason}.",
    "SegmentInUse": "Segment '{id}' cannot be deleted: {reason}.",
    "SubnetInUse": "Unable to complete operation on subnet {id}: {reason}.",
    "SubnetPoolInUse": "Unable to complete operation on subnet pool {id}. {reason}.",
    "SubnetPoolQuotaExceeded": "Per-project subnet pool prefix quota exceeded.",
    "SubnetAllocationError": "Failed to allocate subnet: {reason}.",
    "AddressScopeInUse": (
        "Unable to complete operation on address scope {id}. There are one or more subnet pools in use on the "
        "address scope."
    ),
    "AddressScopePrefixConflict": (
        "Failed to associate address scope: subnetpools within an address scope must have unique prefixes."
    ),
    "ServicePortInUse": "Port {id} cannot be deleted directly via the port API: {reason}.",
    "PortInUseAsTrunkParent": "Port {port_id} is currently a parent port for trunk {id}.",
    "PortInUseAsSubPort": "Port {port_id} is currently a subport for trunk {id}.",
    "TrunkPortInUse": "Port {port_id} is in use by another trunk.",
    "ParentPortInUse": "Port {port_id} is currently in use and is not eligible for use as a parent port.",
    "DuplicateSubPort": "segmentation_type {type} and segmentation_id {number} already in use on trunk {id}.",
    "SubPortMtuGreaterThanTrunkPortMtu": (
        "MTU {mtu} of subport {port_id} cannot be greater than MTU {most} of trunk {id}."
    ),
    "TrunkDisabled": "Trunk {id} is currently disabled.",
    "PortInUse": (
        "Unable to complete operation on port {id} for network {network_id}. Port already has an attached device "
        "{device_id}."
    ),
    "PortBindingError": "Unable to bind port {id}: {reason}",
    "PortBound": (
        "Unable to complete operation on port {id}, port is already bound, port type: {vif_type}, old_mac {old_mac}, "
        "new_mac {new_mac}."
    ),
    "MacAddressInUse": "Unable to complete operation for network {network_id}. The mac address {mac} is in use.",
    "IpAddressInUse": "Unable to complete operation for network {network_id}. The IP address {ip} is in use.",
    "IpAddressAlreadyAllocated": "IP address {ip} already allocated in subnet {subnet_id}",
    "IpAddressGenerationFailure": "No more IP addresses available on network {network_id}.",
    "IpAddressGenerationFailureNoMatchingSubnet": (
        "No valid service subnet for the given device owner, network {network_id}, service type {service_type}."
    ),
    "VlanIdInUse": (
        "Unable to create the network. The VLAN {vlan_id} on physical network {physical_network} is in use."
    ),
    "TunnelIdInUse": "Unable to create the network. The tunnel ID {tunnel_id} is in use.",
    "FlatNetworkInUse": "Unable to create the flat network. Physical network {physical_network} is in use.",
    "IpamValueInvalid": "{reason}",
    "DefaultExternalNetworkExists": "A default external network already exists: {id}.",
    "InvalidSharedSetting": (
        "Unable to reconfigure sharing settings for network {name}. Multiple projects are using it."
    ),
    "ExternalNetworkInUse": (
        "External network {id} cannot be updated to be made non-external, since it has existing gateway ports."
    ),
    "NetworkMTUSubnetConflict": "MTU of {id} is not valid, subnet requires a minimum of {mtu}",
    "OverlappingAllocationPools": "Found overlapping allocation pools: {pool_1} {pool_2} for subnet {cidr}.",
    "GatewayConflictWithAllocationPools": "Gateway ip {ip} conflicts with allocation pool {pool}.",
    "GatewayIpInUse": "Current gateway ip {ip} already in use by port {port_id}. Unable to update.",
    "DeviceIDNotOwnedByTenant": (
        "The following device_id {device_id} is not owned by your project or matches another project router."
    ),
    "UnsupportedPortDeviceOwner": ("Operation {op} is not supported for device_owner {device_owner} on port {id}."),
    "RouterInUse": "Router {id} {reason}",
    "RouterInterfaceInUseByFloatingIP": (
        "Router interface for subnet {subnet_id} on router {router_id} cannot be deleted, as it is required by one or "
        "more floating IPs."
    ),
    "RouterInterfaceInUseByRoute": (
        "Router interface for subnet {subnet_id} on router {router_id} cannot be deleted, as it is required by one or "
        "more routes."
    ),
    "RouterExternalGatewayInUseByFloatingIp": (
        "Gateway cannot be updated for router {router_id}, since a gateway to external network {network_id} is "
        "required by one or more floating IPs."
    ),
    "RouterInterfaceAttachmentConflict": "Error {reason} while attempting the operation.",
    "FloatingIPPortAlreadyAssociated": (
        "Cannot associate floating IP {address} ({id}) with port {port_id} using fixed IP {fixed_ip}, as that fixed "
        "IP already has a floating IP on external network {network_id}."
    ),
    "Conflict": "{reason}",
    "FlavorInUse": "Flavor {id} is used by some service instance.",
    "FlavorServiceProfileBindingExists": "Service Profile {id} is already associated with flavor {flavor_id}.",
    "ServiceProfileInUse": "Service Profile {id} is used by some service instance.",
    "FipInUseByPortForwarding": "Floating IP {id} in use by Port Forwarding resources.",
    "PortHasBindingFloatingIP": (
        "Cannot create port forwarding to floating IP {address} ({id}) with port {port_id} using fixed IP {fixed_ip}, "
        "as that port already has a binding floating IP."
    ),
    "FipAssociated": (
        "Unable to complete the operation on port {port_id} because the port still has an associated floating IP."
    ),
    "AddressPairAndPortSecurityRequired": (
        "Port Security must be enabled in order to have allowed address pairs on a port."
    ),
    "PortSecurityPortHasSecurityGroup": (
        "Port has security group associated. Cannot disable port security or IP address until security group is "
        "removed."
    ),
    "SecurityGroupInUse": "Security Group {id} in use.",
    "SecurityGroupConflict": "Error {reason} while attempting the operation.",
    "SecurityGroupCannotRemoveDefault": "Insufficient rights for removing default security group.",
    "SecurityGroupCannotUpdateDefault": "Updating default security group not allowed.",
    "SecurityGroupDefaultAlreadyExists": "Default security group already exists.",
    "SecurityGroupRuleExists": "Security group rule already exists. Rule id is {rule_id}.",
    "DefaultSecurityGroupRuleExists": "Default Security group rule already exists. Rule id is {rule_id}.",
    "DuplicateSecurityGroupRuleInPost": "Duplicate Security Group Rule in POST.",
    "AddressGroupInUse": "Address group {id} is in use on one or more security group rules.",
    "AgentInUse": (
        "Agent {id} is the chassis {chassis} of OVN, which is alive: it goes when ovn-controller ends there."
    ),
    "QosPolicyInUse": "QoS Policy {id} is used by {object_type} {object_id}.",
    "QoSPolicyDefaultAlreadyExists": "A default QoS policy exists for project {project_id}.",
    "QoSRulesConflict": "Rule {type} conflicts with rule {rule_id} which already exists in QoS Policy {id}.",
    "QoSRuleParameterConflict": (
        "Unable to add the rule with value {value} to the policy {id} as the existing rule of type {rule} has value "
        "{existing}."
    ),
    "DuplicateRbacPolicy": "An RBAC policy already exists with those values.",
    "RbacPolicyInUse": (
        "RBAC policy on object {id} cannot be removed because other objects depend on it.\nDetails: {details}"
    ),
    "AutoAllocationFailure": "Deployment error: {reason}.",
    "OverQuota": "Quota exceeded for resources: {overs}.",
}
_INVALID = {
    "HTTPBadRequest": "{reason}",
    "BadRequest": "Bad {resource} request: {reason}.",
    "InvalidInput": "Invalid input for operation: {reason}.",
    "InvalidIpForNetwork": ("IP address {ip} is not a valid IP for any of the subnets on the specified network."),
    "InvalidIpForSubnet": "IP address {ip} is not a valid IP for the specified subnet.",
    "SubnetsNotAllAssociatedWithSegments": (
        "All of the subnets on network '{network_id}' must either all be associated with segments or all not "
        "associated with any segment."
    ),
    "SubnetSegmentAssociationChangeNotAllowed": (
        "A subnet that is already associated with a segment cannot have its segment association changed."
    ),
    "NetworkIdsDontMatch": ("The subnet's network id, '{network_id}', doesn't match the network_id of segment '{id}'"),
    "InvalidAllocationPool": "The allocation pool {pool} is not valid.",
    "OutOfBoundsAllocationPool": "The allocation pool {pool} spans beyond the subnet cidr {cidr}.",
    "InvalidCIDR": "Invalid CIDR {value} given as IP prefix.",
    "InvalidSubnetServiceType": ("Subnet service type {service_type} does not correspond to a valid device owner."),
    "InvalidActionForType": "Invalid action '{action}' for object type '{kind}'. Valid actions: {actions}",
    "InvalidInputSubnetServiceType": "Subnet service type {service_type} is not a string.",
    "HostRoutesExhausted": (
        "Unable to complete operation for {id}. The number of host routes exceeds the limit {quota}."
    ),
    "DNSNameServersExhausted": (
        "Unable to complete operation for {id}. The number of DNS nameservers exceeds the limit {quota}."
    ),
    "AllocationOnAutoAddressSubnet": (
        "IPv6 address {ip} cannot be directly assigned to a port on subnet {subnet_id} as the subnet is configured "
        "for automatic addresses"
    ),
    "ExternalIpAddressExhausted": "Unable to find any IP address on external network {id}.",
    "EmptySubnetPoolPrefixList": "Empty subnet pool prefix list.",
    "PrefixVersionMismatch": "Cannot mix IPv4 and IPv6 prefixes in a subnet pool.",
    "UnsupportedMinSubnetPoolPrefix": "Prefix '{prefix}' not supported in IPv{version} pool.",
    "IllegalSubnetPoolPrefixBounds": (
        "Illegal prefix bounds: {prefix_type}={prefixlen}, {base_prefix_type}={base_prefixlen}."
    ),
    "IllegalSubnetPoolPrefixUpdate": "Illegal update to prefixes: {reason}.",
    "IllegalSubnetPoolUpdate": "Illegal subnetpool update : {reason}.",
    "MinPrefixSubnetAllocationError": (
        "Unable to allocate subnet with prefix length {prefixlen}, minimum allowed prefix is {limit}."
    ),
    "MaxPrefixSubnetAllocationError": (
        "Unable to allocate subnet with prefix length {prefixlen}, maximum allowed prefix is {limit}."
    ),
    "SubnetPoolDeleteError": "Unable to delete subnet pool: {reason}.",
    "IllegalSubnetPoolIpVersionAssociationToAddressScope": (
        "Illegal subnetpool association: subnetpool {id} cannot associate with address scope {scope_id} because "
        "subnetpool ip_version is not {ip_version}."
    ),
    "AddressScopeUpdateError": "Unable to update address scope {id} : {reason}.",
    "NetworkSubnetPoolAffinityError": (
        "Subnets hosted on the same network must be allocated from the same subnet pool."
    ),
    "NetworkAddressScopeAffinityError": (
        "Subnets of the same address family hosted on the same network must all participate in the same address scope."
    ),
    "AllowedAddressPairsMissingIP": "AllowedAddressPair must contain ip_address",
    "DuplicateAddressPairInRequest": ("Request contains duplicate address pair: mac_address {mac} ip_address {ip}."),
    "AllowedAddressPairExhausted": "The number of allowed address pair exceeds the maximum {quota}.",
    "PortSecurityAndIPRequiredForSecurityGroups": (
        "Port security must be enabled and port must have an IP address in order to use security groups."
    ),
    "InvalidRoutes": "Invalid format for routes: {routes}, {reason}",
    "RoutesExhausted": (
        "Unable to complete operation for {router_id}. The number of routes exceeds the maximum {quota}."
    ),
    "SecurityGroupInvalidPortRange": "For TCP/UDP protocols, port_range_min must be <= port_range_max",
    "SecurityGroupInvalidProtocolForPort": (
        "Ports cannot be specified for protocol {protocol}. Ports are only supported for {protocols}."
    ),
    "SecurityGroupInvalidPortValue": "Invalid value for port {port}",
    "SecurityGroupInvalidIcmpValue": "Invalid value for ICMP {field} ({attr}) {value}. It must be 0 to 255.",
    "SecurityGroupMissingIcmpType": (
        "ICMP code (port-range-max) {value} is provided but ICMP type (port-range-min) is missing."
    ),
    "SecurityGroupEthertypeConflictWithProtocol": "Invalid ethertype {ethertype} for protocol {protocol}.",
    "SecurityGroupRuleInvalidProtocol": (
        "Security group rule protocol {protocol} not supported. Only protocol values {values} and integer "
        "representations [0 to 255] are supported."
    ),
    "SecurityGroupRuleInvalidEtherType": (
        "Security group rule for ethertype '{ethertype}' not supported. Allowed values are {values}."
    ),
    "SecurityGroupRuleParameterConflict": "Conflicting value ethertype {ethertype} for CIDR {cidr}",
    "SecurityGroupMultipleRemoteEntites": (
        "Only one of remote_ip_prefix or remote_group_id or remote_address_group_id may be provided."
    ),
    "SecurityGroupProtocolRequiredWithPorts": "Must also specify protocol if port range is given.",
    "SecurityGroupNotSingleGroupRules": "Only allowed to update rules for one security profile at a time",
    "SecurityGroupRulesNotSingleProject": "Multiple project_ids in bulk security group rule create not allowed",
    "AddressesAlreadyExist": "Addresses {addresses} already exist in the address group {id}.",
    "SubnetMismatchForPort": "Subnet on port {port_id} does not match the requested subnet {subnet_id}.",
    "InvalidServiceType": "Invalid service type: {service_type}.",
    "ServiceProfileEmpty": "Service Profile needs either a driver or metainfo.",
    "InvalidLogResourceType": "Invalid log resource_type: {resource_type}.",
    "InvalidResourceConstraint": (
        "Invalid resource constraint between resource (security_group {id}) and target resource (port {port_id})."
    ),
    "QuotaMissingTenant": "Tenant-id was missing from quota request.",
}
_UNAVAILABLE = {
    "FlavorDisabled": "Flavor is not enabled.",
    "ServiceProfileDisabled": "Service Profile is not enabled.",
    "NoNetworkAvailable": "Unable to create the network. No project network is available for allocation.",
}
_FORBIDDEN = {
    "PolicyNotAuthorized": "{rule} is disallowed by policy",
    "PolicyRemoveAuthorizationError": ("Failed to remove provided policy {id} because you are not authorized."),
    "NotAuthorized": "Not authorized.",
    "AdminRequired": "User does not have admin privileges: {reason}.",
}

_CATALOG: dict[str, tuple[type[HaganeError], str]] = {
    name: (kind, text)
    for kind, texts in (
        (NotFound, _NOT_FOUND),
        (Conflict, _CONFLICT),
        (Invalid, _INVALID),
        (Unavailable, _UNAVAILABLE),
        (Forbidden, _FORBIDDEN),
    )
    for name, text in texts.items()
}


def error(name: str, /, **values: Any) -> HaganeError:
    """An error of the network API by its name. The sentence's gaps are filled with `values`."""
    kind, text = _CATALOG[name]
    return kind(text.format(**values), code=name)


def bad_request(reason: str) -> HaganeError:
    """A refusal of the API layer itself, before any resource was looked at."""
    return error("HTTPBadRequest", reason=reason)


def invalid(reason: str) -> HaganeError:
    """Input that is well formed and yet cannot be. The sentence gets its full stop here."""
    return error("InvalidInput", reason=reason)
