"""Tempest's configuration: a pure function of what the services say."""

from dataclasses import replace

from hagane.operate.tempest_document import Facts, document, text

FACTS = Facts(
    url="http://cloud:8774", region="RegionOne", password="pa$$word", catalog=["identity", "image", "compute", "network"],
    compute={"version": "2.96"}, volume={"version": "3.71"}, placement={"max_version": "1.39"}, images=("a", "b"),
    flavors=("x", "y"), network={"id": "n", "name": "public"}, network_extensions=["port-security", "router"],
    physical_networks=[],
    volume_extensions=["backups"], shared_volumes="", container_formats=["bare"], disk_formats=["qcow2", "raw"],
    import_methods=[], pools=[], hosts=["host1"], folder="/tests", image_file="", validation=False,
)  # fmt: skip


def test_a_small_cloud() -> None:
    told = document(FACTS)
    assert told["service_available"] == {"glance": True, "nova": True, "neutron": True, "cinder": False, "swift": False,
                                         "ironic": False, "horizon": False}  # fmt: skip
    assert "baremetal" not in told
    assert told["compute-feature-enabled"]["cold_migration"] is False
    assert told["compute-feature-enabled"]["volume_multiattach"] is False
    assert told["image-feature-enabled"]["import_image"] is False
    assert told["validation"]["run_validation"] is False
    assert "storage_protocol" not in told["volume"]
    assert "scenario" not in told
    assert told["neutron_plugin_options"]["available_type_drivers"] == ["geneve"]
    assert "default_image_is_advanced" not in told["neutron_plugin_options"]


def test_what_the_cloud_has_is_said() -> None:
    pool = {"capabilities": {"volume_backend_name": "file", "storage_protocol": "file", "vendor_name": "Open Source"}}
    other = {"capabilities": pool["capabilities"] | {"volume_backend_name": "ceph"}}
    told = document(
        replace(
            FACTS,
            hosts=["host1", "host2"],
            physical_networks=["ext", "rack"],
            pools=[pool, other],
            shared_volumes="many",
            validation=True,
            image_file="/g",
            tools=("t", "z"),
        )
    )
    assert told["compute"]["min_compute_nodes"] == 2
    assert (told["compute"]["migration_source_host"], told["compute"]["migration_dest_host"]) == ("host1", "host2")
    assert told["compute-feature-enabled"]["cold_migration"] is True
    assert told["compute-feature-enabled"]["live_migration"] is True
    assert told["compute-feature-enabled"]["volume_backed_live_migration"] is False
    assert (told["volume"]["storage_protocol"], told["volume"]["volume_type_multiattach"]) == ("file", "many")
    assert told["volume"]["backend_names"] == ["ceph", "file"]
    assert told["volume-feature-enabled"]["multi_backend"] is True
    assert told["scenario"]["img_file"] == "/g"
    assert (told["compute"]["image_ref"], told["compute"]["flavor_ref"]) == ("t", "z")
    assert told["neutron_plugin_options"]["default_image_is_advanced"] is True
    assert told["neutron_plugin_options"]["available_type_drivers"] == ["geneve", "vlan", "flat"]
    assert told["neutron_plugin_options"]["provider_vlans"] == ["ext", "rack"]


def test_what_nodes_may_have_is_said() -> None:
    drivers = [
        {"name": "redfish", "enabled_boot_interfaces": ["ipxe", "pxe"], "enabled_raid_interfaces": ["no-raid"]},
        {"name": "fake-hardware", "enabled_boot_interfaces": ["fake", "ipxe"]},
    ]
    facts = replace(FACTS, catalog=["baremetal"], baremetal={"version": "1.115"}, drivers=drivers)
    told = document(replace(facts, patience={"active_timeout": 900}))
    assert told["service_available"]["ironic"] is told["enforce_scope"]["ironic"] is True
    assert told["baremetal"]["driver"] == "fake-hardware"
    assert told["baremetal"]["enabled_hardware_types"] == ["redfish", "fake-hardware"]
    assert told["baremetal"]["enabled_boot_interfaces"] == ["ipxe", "pxe", "fake"]
    assert told["baremetal"]["enabled_raid_interfaces"] == ["no-raid"]
    assert (told["baremetal"]["max_microversion"], told["baremetal"]["active_timeout"]) == ("1.115", 900)


def test_what_passwords_must_be_like_is_said_if_it_is_enough_to_be_tested() -> None:
    assert document(FACTS)["identity-feature-enabled"]["security_compliance"] is False
    demands = {"lockout_failure_attempts": 2, "lockout_duration": 5, "unique_last_password_count": 2}
    told = document(replace(FACTS, compliance=demands))
    assert told["identity-feature-enabled"]["security_compliance"] is True
    assert told["identity"]["user_lockout_duration"] == 5
    assert told["identity"]["user_minimum_password_age"] == 0


def test_as_a_file() -> None:
    lines = text(document(FACTS)).splitlines()
    assert "admin_password = pa$$$$word" in lines  # oslo.config halves them again
    assert "run_validation = false" in lines
    assert "api_extensions = port-security,router" in lines
    assert "dhcp_domain =" in lines
