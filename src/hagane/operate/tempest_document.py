"""What Tempest is told of a cloud: a pure function from what the services say to sections of `tempest.conf`.

Extensions, microversions, formats and backends are the services' own words. Tempest has flags besides for what no
service can be asked about; those of them that Hagane decides are listed here, beside what has no default that suits.
"""

from dataclasses import dataclass, field
from typing import Any

from hagane.network.dns import DOMAIN
from hagane.network.segment import TYPES, UNDERLAY_MTU

Value = str | int | bool | list[str]
Section = dict[str, Value]

COMPUTE: Section = {
    "can_migrate_between_any_hosts": True,
    "change_password": False,
    "dhcp_domain": "",
    "hostname_fqdn_sanitization": True,
    "ide_bus": True,
    "nova_policy_roles": ["admin", "manager", "member", "reader", "service"],
    "pause": True,
    "personality": True,
    "rescue": True,
    "resize": True,
    "serial_console": True,
    "shelve": True,
    "snapshot": True,
    "spice_console": False,
    "stable_rescue": True,
    "suspend": True,
    "swap_volume": True,
    "attach_encrypted_volume": False,
    "unified_limits": False,
    "vnc_console": False,
    "scheduler_enabled_filters": [
        "AvailabilityZoneFilter", "ComputeFilter", "ComputeCapabilitiesFilter", "ImagePropertiesFilter",
        "ServerGroupAntiAffinityFilter", "ServerGroupAffinityFilter", "SameHostFilter", "DifferentHostFilter",
    ],
}  # fmt: skip
SERVICES = {"image": "glance", "compute": "nova", "network": "neutron", "volumev3": "cinder", "object-store": "swift",
            "baremetal": "ironic"}  # fmt: skip
"""Types in the catalog -> names that Tempest gives them."""
SCOPED = ("nova", "neutron", "glance", "cinder", "keystone", "placement", "ironic")
"""Services whose policies know of scopes."""


@dataclass(frozen=True)
class Facts:
    """What was asked of the cloud, and what was made in it."""

    url: str
    region: str
    password: str
    catalog: list[str]  # the types of services
    compute: dict[str, Any]  # the version document's entry
    volume: dict[str, Any]
    placement: dict[str, Any]
    images: tuple[str, str]
    flavors: tuple[str, str]
    network: dict[str, Any]  # the external one
    network_extensions: list[str]
    physical_networks: list[str]  # that Hosts have a bridge for
    volume_extensions: list[str]
    shared_volumes: str  # the type of volumes that several Servers may have; "": none
    container_formats: list[str]
    disk_formats: list[str]
    import_methods: list[str]
    pools: list[dict[str, Any]]
    hosts: list[str]
    folder: str  # where Tempest may write
    image_file: str  # "": there is none that boots
    validation: bool  # log in to guests
    tools: tuple[str, str] | None = None  # an image with real network tools, and a flavor for it
    baremetal: dict[str, Any] = field(default_factory=dict)  # the version document's entry
    drivers: list[dict[str, Any]] = field(default_factory=list)  # of Nodes, in detail
    compliance: dict[str, Any] = field(default_factory=dict)  # what the default domain demands of passwords
    patience: Section = field(default_factory=dict)  # seconds that a Node may take for what


def document(facts: Facts) -> dict[str, Section]:
    """All sections, in the order in which a person reads them."""
    sections: dict[str, Section] = {
        "DEFAULT": {"log_file": f"{facts.folder}/tempest.log"},
        "oslo_concurrency": {"lock_path": f"{facts.folder}/lock"},
        "service_available": _available(facts),
        "auth": _auth(facts),
        "identity": _identity(facts),
        "identity-feature-enabled": {
            "trust": True, "access_rules": True, "domain_specific_drivers": False,
            "security_compliance": bool(_compliance(facts)),
            "enforce_scope": True,
        },
        "enforce_scope": dict.fromkeys(SCOPED, True),
        "compute": _compute(facts),
        "compute-feature-enabled": COMPUTE | {
            **_migration(facts),
            "volume_multiattach": bool(facts.shared_volumes),
        },
        "image": {
            "region": facts.region, "container_formats": facts.container_formats, "disk_formats": facts.disk_formats,
        },
        "image-feature-enabled": {
            "image_format_enforcement": False, "import_image": bool(facts.import_methods), "manage_locations": False,
            "http_store_enabled": False,
        },
        "network": {
            "region": facts.region, "public_network_id": facts.network["id"],
            "floating_network_name": facts.network["name"],
        },
        "network-feature-enabled": {
            "api_extensions": facts.network_extensions, "ipv6": True, "ipv6_subnet_attributes": True,
            "port_security": "port-security" in facts.network_extensions, "floating_ips": True,
        },
        "placement": {"region": facts.region, "max_microversion": facts.placement["max_version"]},
        "volume": _volume(facts),
        "volume-feature-enabled": _volume_features(facts),
        "validation": _validation(facts),
    }  # fmt: skip
    return sections | _neutron(facts) | _scenario(facts) | _baremetal(facts)


def _available(facts: Facts) -> Section:
    there: Section = {name: kind in facts.catalog for kind, name in SERVICES.items()}
    return there | {"horizon": False}


def _auth(facts: Facts) -> Section:
    return {
        "use_dynamic_credentials": True, "create_isolated_networks": True, "admin_username": "admin",
        "admin_password": facts.password, "admin_project_name": "admin", "admin_domain_name": "Default",
    }  # fmt: skip


def _identity(facts: Facts) -> Section:
    told: Section = {"uri_v3": f"{facts.url}/identity/v3", "region": facts.region,
                     "disable_ssl_certificate_validation": True}  # fmt: skip
    return told | _compliance(facts)


def _compliance(facts: Facts) -> Section:
    """What the domain of the tests' users demands of passwords, if it is all that Tempest wants to see in effect."""
    names = ("lockout_failure_attempts", "lockout_duration", "unique_last_password_count")
    if not all(facts.compliance.get(name) for name in names):
        return {}
    return {f"user_{name}": facts.compliance.get(name) or 0 for name in (*names, "minimum_password_age")}


def _compute(facts: Facts) -> Section:
    image, image_alt = facts.images
    flavor, flavor_alt = facts.flavors
    if facts.tools is not None:
        image, flavor = facts.tools
    way = dict(zip(("migration_source_host", "migration_dest_host"), facts.hosts, strict=False))
    return {
        "region": facts.region, "image_ref": image, "image_ref_alt": image_alt, "flavor_ref": flavor,
        "flavor_ref_alt": flavor_alt, "max_microversion": facts.compute["version"],
        "min_compute_nodes": len(facts.hosts),
    } | (way if len(facts.hosts) > 1 else {})  # fmt: skip


def _migration(facts: Facts) -> Section:
    """With a Host's own disks always; with a volume where all Hosts reach it in one way, which they do no file."""
    several, ways = len(facts.hosts) > 1, {pool["capabilities"]["storage_protocol"] for pool in facts.pools}
    return {
        "cold_migration": several, "shelve_migrate": several, "live_migration": several,
        "live_migrate_back_and_forth": several, "block_migration_for_live_migration": several,
        "volume_backed_live_migration": several and bool(ways) and "file" not in ways,
    }  # fmt: skip


def _volume(facts: Facts) -> Section:
    """The first backend's words; the formats are those that every image service takes."""
    told: Section = {"region": facts.region, "max_microversion": facts.volume["version"], "disk_format": ["raw"]}
    if facts.pools:
        of = facts.pools[0]["capabilities"]
        told |= {"storage_protocol": of["storage_protocol"], "vendor_name": of["vendor_name"]}
    if facts.shared_volumes:
        told["volume_type_multiattach"] = facts.shared_volumes
    names = _backends(facts)
    return told | ({"backend_names": names} if len(names) > 1 else {})


def _volume_features(facts: Facts) -> Section:
    return {
        "api_extensions": facts.volume_extensions, "snapshot": True, "clone": True,
        "backup": "backups" in facts.volume_extensions, "multi_backend": len(_backends(facts)) > 1,
        "manage_volume": False, "manage_snapshot": False, "replication": False,
        "extend_attached_volume": True, "volume_revert": True,
    }  # fmt: skip


def _backends(facts: Facts) -> list[str]:
    return sorted({pool["capabilities"]["volume_backend_name"] for pool in facts.pools})


def _validation(facts: Facts) -> Section:
    """Into guests by ssh, as their administrator, through a floating IP; a simulated cloud has no guests."""
    return {
        "run_validation": facts.validation, "connect_method": "floating", "auth_method": "keypair",
        "image_ssh_user": "root", "image_alt_ssh_user": "root", "ip_version_for_ssh": 4,
    }  # fmt: skip


def _neutron(facts: Facts) -> dict[str, Section]:
    """What neutron-tempest-plugin asks beside the extensions."""
    told: Section = {
        "available_type_drivers": [kind for kind in TYPES if kind == "geneve" or facts.physical_networks],
        "provider_vlans": facts.physical_networks,
        "max_mtu": UNDERLAY_MTU,
        "firewall_driver": "ovn",
        "dns_domain": DOMAIN.rstrip("."),
        "create_shared_resources": True,
        "specify_floating_ip_address_available": True,
        "is_igmp_snooping_enabled": False,
        "snat_rules_apply_to_nested_networks": False,
    }
    if facts.tools is not None:
        told["default_image_is_advanced"] = True
    return {"neutron_plugin_options": told}


def _scenario(facts: Facts) -> dict[str, Section]:
    if not facts.image_file:
        return {}
    return {"scenario": {"img_file": facts.image_file, "img_disk_format": "qcow2", "img_container_format": "bare"}}


def _baremetal(facts: Facts) -> dict[str, Section]:
    """For the plugin of the bare-metal service, whose API tests know one driver only, that of simulated machines."""
    if not facts.drivers:
        return {}
    enabled = [name for driver in facts.drivers for name in driver if name.startswith("enabled_")]
    told: Section = {
        name: list(dict.fromkeys(used for driver in facts.drivers for used in driver.get(name, ())))
        for name in dict.fromkeys(enabled)
    }
    names = [str(driver["name"]) for driver in facts.drivers]
    return {
        "baremetal": {
            "driver": "fake-hardware" if "fake-hardware" in names else names[0], "enabled_drivers": names,
            "enabled_hardware_types": names, **told, "max_microversion": str(facts.baremetal["version"]),
            "default_rescue_interface": "agent", "use_provision_network": True, "boot_mode": "uefi",
            "default_boot_option": "local", "partition_netboot": False, "whole_disk_image_ref": facts.images[0],
            **facts.patience,
        },
        "baremetal_feature_enabled": {
            "ipxe_enabled": True, "software_raid": False, "deploy_time_raid": False, "trunks_supported": False,
        },
    }  # fmt: skip


def text(sections: dict[str, Section]) -> str:
    """As an ini file."""
    parts = []
    for name, options in sections.items():
        parts += [f"[{name}]", *(f"{option} = {_value(value)}".rstrip() for option, value in options.items()), ""]
    return "\n".join(parts)


def _value(value: Value) -> str:
    """oslo.config replaces what follows a dollar sign, unless it is doubled."""
    if isinstance(value, bool):
        return str(value).lower()
    return (",".join(value) if isinstance(value, list) else str(value)).replace("$", "$$")
