"""openstacksdk, as programs use it: an operator furnishes the cloud, a tenant builds on it, both tear down.

operator   people ─▶ flavors ─▶ image ─▶ Nodes, until they are available
smith      key, group, network, router ─▶ volume ─▶ server ─▶ second volume ─▶ snapshot ─▶ floating IP ─▶ bare metal
both       what is listed and shown ─▶ tear down ─▶ nothing is left
"""

import hashlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openstack
import pytest
from openstack.connection import Connection

from tests.clients.place import CONTENT, FINGERPRINT, KEY, SMITH, Place

pytestmark = pytest.mark.slow
SECONDS = 120
WAIT: dict[str, Any] = {"interval": 0.1, "wait": SECONDS}
STEEL = {"resources:CUSTOM_BM_SMALL": "1", "resources:VCPU": "0", "resources:MEMORY_MB": "0", "resources:DISK_GB": "0"}
NODE = {
    "driver": "fake-hardware", "resource_class": "bm.small", "deploy_interface": "direct", "rescue_interface": "agent",
    "properties": {"cpus": 8, "memory_mb": 16384, "local_gb": 100},
}  # fmt: skip


@pytest.fixture
def admin(place: Place) -> Iterator[Connection]:
    with connection(place.admin) as made:
        yield made


def connection(auth: dict[str, Any]) -> Connection:
    return openstack.connect(auth=auth, region_name="RegionOne", load_yaml_config=False, load_envvars=False)


def test_a_story(place: Place, admin: Connection, tmp_path: Path) -> None:
    before = place.look()
    furnish(admin)
    image = upload(admin, place.image(tmp_path))
    steel(admin)
    with connection(place.smith()) as smith:
        order_network(smith)
        order_volume(smith, image)
        order_server(smith)
        second_volume(smith)
        snapshot(smith)
        floating_ip(smith)
        bare_metal(smith, admin, image)
        listed(smith)
        with_one_call(smith, image)
        tear_down(smith)
    clear_away(admin, image)
    place.nothing_left(before)


# The operator


def furnish(admin: Connection) -> None:
    project = admin.identity.create_project(name="forge", domain_id="default", description="Iron and steel")
    user = admin.identity.create_user(name="smith", domain_id="default", password=SMITH, default_project_id=project.id)
    admin.identity.assign_project_role_to_user(project, user, admin.identity.find_role("member"))
    assert [a.role["id"] for a in admin.identity.role_assignments(user_id=user.id)] == [
        admin.identity.find_role("member").id
    ]
    quota = admin.set_volume_quotas(project.id, volumes=5, gigabytes=20)
    assert quota is None and admin.get_volume_quotas(project.id).volumes == 5
    flavor = admin.compute.create_flavor(name="vm.small", ram=256, vcpus=1, disk=1)
    assert (flavor.ram, flavor.vcpus, flavor.disk, flavor.is_public) == (256, 1, 1, True)
    metal = admin.compute.create_flavor(name="bm.small", ram=16384, vcpus=8, disk=100)
    admin.compute.create_flavor_extra_specs(metal, STEEL)
    assert admin.compute.fetch_flavor_extra_specs(metal).extra_specs == STEEL


def upload(admin: Connection, file: Path) -> str:
    with file.open("rb") as data:
        image = admin.create_image(
            "iron", data=data, disk_format="raw", container_format="bare", visibility="public", min_disk=1, wait=True
        )
    shown = admin.image.get_image(image.id)
    assert (shown.status, shown.size, shown.min_disk) == ("active", len(CONTENT), 1)
    assert shown.hash_value == hashlib.sha512(CONTENT).hexdigest()
    assert admin.image.download_image(shown).content == CONTENT
    return str(image.id)


def steel(admin: Connection) -> None:
    """Two machines, enrolled, managed and made available."""
    made = []
    for name in ("anvil", "vise"):
        node = admin.baremetal.create_node(name=name, provision_state="enroll", **NODE)
        address = f"52:54:0a:00:00:0{len(name)}"
        port = admin.baremetal.create_port(node_id=node.id, address=address, is_pxe_enabled=True)
        assert (port.address, port.node_id) == (address, node.id)
        made.append(node)
    for verb, state in (("manage", "manageable"), ("provide", "available")):
        for node in made:
            admin.baremetal.set_node_provision_state(node, verb)
        admin.baremetal.wait_for_nodes_provision_state(made, state, timeout=SECONDS)
    nodes = {node.name: node for node in admin.baremetal.nodes(details=True)}
    assert {name: node.provision_state for name, node in nodes.items()} == {"anvil": "available", "vise": "available"}
    assert all(node.power_state == "power off" and node.driver == "fake-hardware" for node in nodes.values())


# The tenant


def order_network(smith: Connection) -> None:
    made = smith.compute.create_keypair(name="key", public_key=KEY)
    assert made.fingerprint == FINGERPRINT
    group = smith.network.create_security_group(name="door", description="ssh and ping")
    for more in ({"protocol": "tcp", "port_range_min": 22, "port_range_max": 22}, {"protocol": "icmp"}):
        rule = smith.network.create_security_group_rule(
            security_group_id=group.id, direction="ingress", remote_ip_prefix="0.0.0.0/0", **more
        )
        assert (rule.protocol, rule.ether_type) == (more["protocol"], "IPv4")
    network = smith.network.create_network(name="floor")
    subnet = smith.network.create_subnet(
        name="floor-4", network_id=network.id, ip_version=4, cidr="10.20.0.0/24", dns_nameservers=["198.51.100.53"]
    )
    assert (subnet.gateway_ip, subnet.allocation_pools) == ("10.20.0.1", [{"start": "10.20.0.2", "end": "10.20.0.254"}])
    public = smith.network.find_network("public")
    router = smith.network.create_router(name="gate", external_gateway_info={"network_id": public.id})
    assert router.external_gateway_info["network_id"] == public.id
    smith.network.add_interface_to_router(router, subnet=subnet.id)
    owned = list(smith.network.ports(device_id=router.id))
    assert [port.fixed_ips[0]["ip_address"] for port in owned] == ["10.20.0.1"]


def order_volume(smith: Connection, image: str) -> None:
    volume = smith.block_storage.create_volume(name="root", size=2, image_id=image, metadata={"of": "ore"})
    volume = smith.block_storage.wait_for_status(volume, "available", **WAIT)
    assert (volume.size, volume.is_bootable, volume.metadata) == (2, True, {"of": "ore"})
    assert volume.volume_image_metadata["image_id"] == image


def order_server(smith: Connection) -> None:
    """From the volume, which outlives it."""
    root = smith.block_storage.find_volume("root")
    mapping = {"uuid": root.id, "source_type": "volume", "destination_type": "volume", "boot_index": 0,
               "delete_on_termination": False}  # fmt: skip
    server = smith.compute.create_server(
        name="bellows", flavor_id=smith.compute.find_flavor("vm.small").id, key_name="key", metadata={"role": "air"},
        block_device_mapping=[mapping], networks=[{"uuid": smith.network.find_network("floor").id}],
        security_groups=[{"name": "door"}],
    )  # fmt: skip
    server = smith.compute.wait_for_server(server, **WAIT)
    assert not server.image, "a server of a volume has no image"
    assert (server.flavor.name, server.key_name) == ("vm.small", "key")
    assert (server.metadata, server.security_groups) == ({"role": "air"}, [{"name": "door"}])
    [address] = server.addresses["floor"]
    assert (address["version"], address["OS-EXT-IPS:type"]) == (4, "fixed")
    [attachment] = smith.compute.volume_attachments(server)
    assert (attachment.volume_id, attachment.device, attachment.delete_on_termination) == (root.id, "/dev/vda", False)
    root = smith.block_storage.get_volume(root)
    assert (root.status, [one["server_id"] for one in root.attachments]) == ("in-use", [server.id])
    assert [one.action for one in smith.compute.server_actions(server)] == ["create"]


def second_volume(smith: Connection) -> None:
    """It comes and goes while the server runs."""
    server = smith.compute.find_server("bellows")
    data = smith.create_volume(size=1, name="data", wait=True, timeout=SECONDS)
    attached = smith.compute.create_volume_attachment(server, volume_id=data.id)
    assert (attached.volume_id, attached.device) == (data.id, "/dev/vdb")
    data = smith.block_storage.wait_for_status(data, "in-use", **WAIT)
    assert data.attachments[0]["device"] == "/dev/vdb"
    assert len(list(smith.compute.volume_attachments(server))) == 2
    smith.compute.delete_volume_attachment(server, data)
    data = smith.block_storage.wait_for_status(data, "available", **WAIT)
    assert data.attachments == []
    smith.block_storage.extend_volume(data, 2)
    data = smith.block_storage.get_volume(data)
    assert smith.block_storage.wait_for_status(data, "available", **WAIT).size == 2


def snapshot(smith: Connection) -> None:
    data = smith.block_storage.find_volume("data")
    shot = smith.block_storage.create_snapshot(volume_id=data.id, name="shot", description="before the fire")
    shot = smith.block_storage.wait_for_status(shot, "available", **WAIT)
    assert (shot.volume_id, shot.size, shot.description) == (data.id, 2, "before the fire")
    copy = smith.block_storage.create_volume(name="copy", snapshot_id=shot.id)
    copy = smith.block_storage.wait_for_status(copy, "available", **WAIT)
    assert (copy.size, copy.snapshot_id) == (2, shot.id)


def floating_ip(smith: Connection) -> None:
    server = smith.compute.find_server("bellows")
    [port] = smith.network.ports(device_id=server.id)
    made = smith.network.create_ip(floating_network_id=smith.network.find_network("public").id)
    assert (made.status, made.port_id) == ("DOWN", None)
    bound = smith.network.update_ip(made, port_id=port.id)
    assert (bound.port_id, bound.fixed_ip_address) == (port.id, port.fixed_ips[0]["ip_address"])
    until(lambda: smith.network.get_ip(made).status == "ACTIVE")
    shown = smith.get_server("bellows")  # this one fills in which address reaches it from outside
    assert (shown.public_v4, shown.private_v4) == (made.floating_ip_address, bound.fixed_ip_address)


def bare_metal(smith: Connection, admin: Connection, image: str) -> None:
    server = smith.compute.create_server(
        name="hammer", flavor_id=smith.compute.find_flavor("bm.small").id, image_id=image, key_name="key",
        networks=[{"uuid": smith.network.find_network("floor").id}],
    )  # fmt: skip
    server = smith.compute.wait_for_server(server, **WAIT)
    assert (server.flavor.name, server.image.id) == ("bm.small", image)
    node = next(node for node in admin.baremetal.nodes(details=True) if node.instance_id == server.id)
    assert (node.provision_state, node.power_state) == ("active", "power on")
    [address] = server.addresses["floor"]
    assert [address["OS-EXT-IPS-MAC:mac_addr"]] == [port.address for port in admin.baremetal.ports(node=node.id)]
    assert admin.compute.get_server(server).hypervisor_hostname == node.id
    smith.compute.stop_server(server)
    assert smith.compute.wait_for_server(server, status="SHUTOFF", **WAIT).power_state == 4
    assert admin.baremetal.get_node(node).power_state == "power off"


def listed(smith: Connection) -> None:
    """Everything by its name, as the lists show it."""
    servers = {server.name: server.status for server in smith.compute.servers()}
    assert servers == {"bellows": "ACTIVE", "hammer": "SHUTOFF"}
    assert {v.name: v.status for v in smith.block_storage.volumes()} == {
        "root": "in-use", "data": "available", "copy": "available"
    }  # fmt: skip
    assert [(s.name, s.size) for s in smith.block_storage.snapshots()] == [("shot", 2)]
    assert {n.name for n in smith.network.networks()} == {"floor", "public"}
    assert {g.name for g in smith.network.security_groups()} == {"default", "door"}
    assert [i.status for i in smith.network.ips()] == ["ACTIVE"]
    assert [k.name for k in smith.compute.keypairs()] == ["key"]
    assert smith.compute.get_limits().absolute.instances_used == 2
    assert smith.block_storage.get_limits().absolute.total_gigabytes_used == 8
    assert [r.name for r in smith.search_resources("network.router", "gate")] == ["gate"]


def with_one_call(smith: Connection, image: str) -> None:
    """The way of short programs: a volume of the image, a server on it, an address from outside, and all away again."""
    server = smith.create_server(
        "tongs", image=image, flavor="vm.small", boot_from_volume=True, volume_size=1, terminate_volume=True,
        network="floor", auto_ip=True, wait=True, timeout=SECONDS,
    )  # fmt: skip
    assert server.status == "ACTIVE" and smith.get_server("tongs").public_v4
    assert len(list(smith.block_storage.volumes())) == 4
    assert smith.delete_server("tongs", wait=True, timeout=SECONDS, delete_ips=True)
    until(lambda: len(list(smith.block_storage.volumes())) == 3)
    assert len(list(smith.network.ips())) == 1


# The end


def tear_down(smith: Connection) -> None:
    for name in ("bellows", "hammer"):
        server = smith.compute.find_server(name)
        smith.compute.delete_server(server)
        smith.compute.wait_for_delete(server, **WAIT)
    for ip in smith.network.ips():
        smith.network.delete_ip(ip)
    for shot in smith.block_storage.snapshots():
        smith.block_storage.delete_snapshot(shot)
        smith.block_storage.wait_for_delete(shot, **WAIT)
    for volume in list(smith.block_storage.volumes()):
        smith.block_storage.wait_for_status(volume, "available", **WAIT)
        smith.block_storage.delete_volume(volume)
        smith.block_storage.wait_for_delete(volume, **WAIT)
    leave_network(smith)


def leave_network(smith: Connection) -> None:
    router, subnet = smith.network.find_router("gate"), smith.network.find_subnet("floor-4")
    smith.network.remove_interface_from_router(router, subnet=subnet.id)
    smith.network.delete_router(router)
    smith.network.delete_network(smith.network.find_network("floor"))
    smith.network.delete_security_group(smith.network.find_security_group("door"))
    smith.compute.delete_keypair("key")
    assert not [*smith.compute.servers(), *smith.block_storage.volumes(), *smith.network.ports(), *smith.network.ips()]


def clear_away(admin: Connection, image: str) -> None:
    for node in admin.baremetal.nodes():
        admin.baremetal.wait_for_nodes_provision_state([node], "available", timeout=SECONDS)
        admin.baremetal.delete_node(node)
    admin.image.delete_image(image)
    for name in ("vm.small", "bm.small"):
        admin.compute.delete_flavor(admin.compute.find_flavor(name))
    project = admin.identity.find_project("forge")
    admin.delete_network_quotas(project.id)
    admin.delete_volume_quotas(project.id)
    for group in list(admin.network.security_groups(project_id=project.id)):
        admin.network.delete_security_group(group)
    admin.identity.delete_user(admin.identity.find_user("smith"))
    admin.identity.delete_project(project)


def until(reached: Callable[[], bool]) -> None:
    end = time.monotonic() + SECONDS
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.05)
