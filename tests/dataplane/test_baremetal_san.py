"""A Server of steel from a volume, on a real rack: its target dies and comes back, then its Node dies while it writes,
and the Server is on another Node, with its file and its address; the old machine still runs, and reaches nothing.

The first machine has UEFI and the second a BIOS; both start by a virtual CD.
"""

import json
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.dataplane.cloud import Clock, until
from tests.dataplane.servers import Servers
from tests.dataplane.steel import API, READY, Steel, steel
from tests.dataplane.tenant import Tenant

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(600)]
RACK = """
name = "rack1"
[[machine]]
name = "bm1"
boot_mode = "uefi"
[[machine]]
name = "bm2"
"""
METAL = {"resources:CUSTOM_BM_SMALL": "1", "resources:VCPU": "0", "resources:MEMORY_MB": "0", "resources:DISK_GB": "0"}
WRITES = (
    "(while :; do head -c 512 /dev/urandom | dd of=/dev/sda bs=512 seek=1000000 conv=fsync; done) >/dev/null 2>&1 &"
)
READ = "dd if=/dev/sda bs=512 skip=1000000 count=1 iflag=direct 2>/dev/null | md5sum"
SLOW = 180.0  # seconds that a start may take on a machine that is busy with other things


@dataclass
class World:
    steel: Steel
    servers: Servers
    order: dict[str, Any]
    network: Any
    group: Any
    volume: str


@pytest.fixture
def w(tmp_path: Path) -> Iterator[World]:
    with steel(tmp_path, RACK, baremetal={}) as made:
        links(made)
        tenant = Tenant(made.cloud)
        network = tenant.network("steel", "10.77.0.0/24")
        tenant.router("steel", network)
        servers = Servers(tenant, tmp_path)
        conn = made.cloud.conn
        flavor = conn.compute.create_flavor(name="bm.small", ram=384, vcpus=1, disk=1)
        conn.compute.create_flavor_extra_specs(flavor, METAL)
        volume = conn.block_storage.create_volume(name="root", size=1, image_id=servers.image.id)
        has(made, volume.id, "available")
        disk = {"uuid": volume.id, "source_type": "volume", "destination_type": "volume", "boot_index": 0}
        order = {"image_id": "", "flavor_id": flavor.id, "block_device_mapping": [disk]}
        yield World(made, servers, order, network, tenant.open_group("steel"), volume.id)
        servers.end()
        for name in ("bm1", "bm2"):
            made.free(name)
        conn.block_storage.delete_volume(volume.id)
        conn.compute.delete_flavor(flavor)
        tenant.end()


def links(made: Steel) -> None:
    """The second Nic of the second machine hangs where it does; nobody has asked its ramdisk."""
    asked = "SELECT nic.id, nic.link FROM nic JOIN node ON node.id = node_id WHERE node.name = 'bm2' ORDER BY nic.created_at"
    first, second = made.sql(asked)
    link = json.loads(first["link"]) | {"port_id": "bm2-1"}
    made.api.put("/nodes/bm2/maintenance", json={}, microversion=API)
    body = [{"op": "add", "path": "/local_link_connection", "value": link}]
    answer = made.api.patch(f"/ports/{second['id']}", json=body, microversion=API)
    assert answer.status_code == 200, answer.text
    made.api.delete("/nodes/bm2/maintenance", microversion=API)


def has(made: Steel, volume: str, status: str) -> None:
    storage = made.cloud.conn.block_storage
    until(lambda: storage.get_volume(volume).status == status, 60, f"the volume is {status}")


def targets(made: Steel) -> list[int]:
    """Pids of the target daemons in networks for storage."""
    return [int(file.read_text()) for file in (made.cloud.site.run_folder / "export").glob("*-prov-*.pid")]


def test_a_server_outlives_its_target_and_its_node(w: World) -> None:
    one = w.servers.order("anvil", w.network, w.group, **w.order)
    clock = Clock()
    w.servers.active(one)
    node = w.steel.sql("SELECT name FROM node WHERE instance_id = ?", one.id)[0]["name"]
    assert (
        w.servers.reached(one, "echo kept > /root/kept; sync; cat /sys/class/iscsi_session/session1/state", SLOW)
        == "LOGGED_IN"
    )
    print(f"{node} runs from its volume after {clock.seconds} s")
    disks = w.servers.ssh(one, "cat /proc/mounts; cat /sys/block/vda/stat")  # its own disk was not written to
    assert disks.startswith("/dev/sda2 / ") or "/dev/sda2 / " in disks
    assert disks.splitlines()[-1].split()[4] == "0"

    for pid in targets(w.steel):
        os.kill(pid, signal.SIGKILL)
    assert w.servers.reached(one, "echo after >> /root/kept; sync; cat /root/kept", 60) == "kept\nafter"

    w.servers.ssh(one, WRITES)
    w.steel.fault(node, "bmc-dead")
    address = w.servers.fixed(one)
    compute = w.steel.cloud.conn.compute
    refused = compute.post(f"/servers/{one.id}/action", json={"evacuate": {}}, microversion="2.90")
    assert refused.status_code == 400 and "still in use" in refused.text
    w.steel.api.put(f"/nodes/{node}/maintenance", json={"reason": "dead"}, microversion=API)
    clock = Clock()
    answer = compute.post(f"/servers/{one.id}/action", json={"evacuate": {}}, microversion="2.90")
    assert answer.status_code == 200, answer.text
    w.servers.active(one)
    assert w.servers.reached(one, "cat /root/kept", SLOW) == "kept\nafter"
    print(f"it is back after {clock.seconds} s")
    other = w.steel.sql("SELECT name FROM node WHERE instance_id = ?", one.id)[0]["name"]
    assert other != node and w.servers.fixed(one) == address
    assert w.steel.qemu(node) != 0, "the old machine runs on"
    assert "detected conn error" in w.steel.console(node)
    written = w.servers.ssh(one, f"{READ}; sleep 5; {READ}").splitlines()
    assert written[0] == written[1]

    w.servers.delete(one)
    has(w.steel, w.volume, "available")
    until(lambda: targets(w.steel) == [], 30, "no target is left")
    w.steel.mend(node)
    w.steel.api.delete(f"/nodes/{node}/maintenance", microversion=API)
    until(lambda: w.steel.row(node)["provision_state"] in (READY, "error"), 200, f"{node} is undeployed")
    w.steel.free(node)
