"""The `openstack` command, as people type it: an operator furnishes the cloud, a tenant builds on it, both tear down.

Every command is a process of its own with the unmodified client; scripts/story/prefork.py spares it the imports.
"""

import hashlib
import json
import shlex
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from story.client import Client
from story.screen import Screen
from tests.clients.place import CONTENT, FINGERPRINT, KEY, SMITH, Place

pytestmark = pytest.mark.slow
SECONDS = 120
STEEL = "--property resources:CUSTOM_BM_SMALL=1 --property resources:VCPU=0 --property resources:MEMORY_MB=0"


class Shell:
    """One person at a shell."""

    def __init__(self, client: Client, who: str) -> None:
        self._client, self._who = client, who

    def run(self, line: str) -> str:
        return self._client.run(self._who, *shlex.split(line))

    def json(self, line: str) -> Any:
        return json.loads(self.run(f"{line} -f json"))

    def names(self, line: str, column: str = "Name") -> list[str]:
        return sorted(row[column] for row in self.json(line))

    def until(self, line: str, field: str, wanted: str) -> dict[str, Any]:
        """What a `show` says when a field has reached its value."""
        return until(lambda: (shown := self.json(line))[field] == wanted and shown)


# The client's own --wait sleeps five seconds between two looks: here it is used once.
def until(look: Callable[[], Any]) -> Any:
    end = time.monotonic() + SECONDS
    while not (found := look()):
        assert time.monotonic() < end
        time.sleep(0.1)
    return found


@pytest.fixture
def client(place: Place, tmp_path: Path) -> Iterator[Client]:
    made = Client(Screen(), place.clouds_of(tmp_path), tmp_path)
    yield made
    made.close()


def test_a_story(place: Place, client: Client, tmp_path: Path) -> None:
    before = place.look()
    admin, smith = Shell(client, "admin"), Shell(client, "smith")
    furnish(admin)
    upload(admin, place.image(tmp_path))
    steel(admin)
    order_network(smith, tmp_path)
    order_server(smith)
    second_volume(smith)
    snapshot(smith)
    floating_ip(smith)
    bare_metal(smith, admin)
    listed(smith)
    tear_down(smith)
    clear_away(admin)
    place.nothing_left(before)


# The operator


def furnish(admin: Shell) -> None:
    project = admin.json("project create forge --description 'Iron and steel'")
    assert (project["name"], project["enabled"]) == ("forge", True)
    admin.json(f"user create smith --project forge --password {SMITH}")
    admin.run("role add --project forge --user smith member")
    [assignment] = admin.json("role assignment list --user smith --project forge --names")
    assert (assignment["Role"], assignment["User"]) == ("member", "smith@Default")
    admin.run("quota set --volumes 5 --gigabytes 20 --instances 4 --floating-ips 3 forge")
    limits = {row["Resource"]: row["Limit"] for row in admin.json("quota show forge")}
    assert [limits[name] for name in ("volumes", "gigabytes", "instances", "floating_ips")] == [5, 20, 4, 3]
    admin.json("flavor create vm.small --ram 256 --disk 1 --vcpus 1")
    metal = admin.json(f"flavor create bm.small --ram 16384 --disk 100 --vcpus 8 {STEEL}")
    assert metal["properties"]["resources:CUSTOM_BM_SMALL"] == "1"
    flavors = {row["Name"]: row["RAM"] for row in admin.json("flavor list")}
    assert (flavors["vm.small"], flavors["bm.small"]) == (256, 16384)


def upload(admin: Shell, file: Path) -> None:
    made = admin.json(
        f"image create iron --file {file} --disk-format raw --public --min-disk 1 --property os_distro=ore"
    )
    shown = admin.json("image show iron")
    assert (shown["status"], shown["size"], shown["visibility"]) == ("active", len(CONTENT), "public")
    assert (shown["id"], shown["min_disk"]) == (made["id"], 1)
    assert shown["properties"]["os_hash_value"] == hashlib.sha512(CONTENT).hexdigest()
    assert shown["properties"]["os_distro"] == "ore"
    again = file.with_name("again.raw")
    admin.run(f"image save --file {again} iron")
    assert again.read_bytes() == CONTENT


def steel(admin: Shell) -> None:
    made = admin.json(
        "baremetal node create --name anvil --driver fake-hardware --resource-class bm.small --deploy-interface direct "
        "--property cpus=8 --property memory_mb=16384 --property local_gb=100"
    )
    assert made["provision_state"] == "enroll"
    admin.json(f"baremetal port create 52:54:0b:00:00:01 --node {made['uuid']} --pxe-enabled true")
    admin.run("baremetal node manage anvil")
    admin.until("baremetal node show anvil", "provision_state", "manageable")
    checks = {row["Interface"]: row["Result"] for row in admin.json("baremetal node validate anvil")}
    assert (checks["power"], checks["network"]) == (True, True)
    admin.run("baremetal node provide anvil")
    admin.until("baremetal node show anvil", "provision_state", "available")
    [row] = admin.json("baremetal node list")
    assert (row["name"], row["power_state"], row["provision_state"]) == ("anvil", "power off", "available")


# The tenant


def order_network(smith: Shell, folder: Path) -> None:
    (folder / "key.pub").write_text(KEY)
    assert smith.json(f"keypair create key --public-key {folder / 'key.pub'}")["fingerprint"] == FINGERPRINT
    smith.json("security group create door --description 'ssh and ping'")
    smith.json("security group rule create door --protocol tcp --dst-port 22 --remote-ip 0.0.0.0/0")
    smith.json("security group rule create door --protocol icmp")
    rules = {(r["IP Protocol"], r["Port Range"]) for r in smith.json("security group rule list door --ingress")}
    assert rules == {("tcp", "22:22"), ("icmp", "")}
    network = smith.json("network create floor")
    assert (network["status"], network["router:external"]) == ("ACTIVE", False)
    subnet = smith.json(
        "subnet create floor-4 --network floor --subnet-range 10.30.0.0/24 --dns-nameserver 198.51.100.53"
    )
    assert (subnet["gateway_ip"], subnet["dns_nameservers"]) == ("10.30.0.1", ["198.51.100.53"])
    smith.json("router create gate --external-gateway public")
    smith.run("router add subnet gate floor-4")
    assert smith.json("router show gate")["interfaces_info"][0]["ip_address"] == "10.30.0.1"


def order_server(smith: Shell) -> None:
    """From a volume, which outlives it."""
    smith.json("volume create root --size 2 --image iron --property of=ore")
    root = smith.until("volume show root", "status", "available")
    assert (root["size"], root["bootable"], root["properties"]) == (2, True, {"of": "ore"})
    assert root["volume_image_metadata"]["image_name"] == "iron"
    server = smith.json(
        "server create bellows --flavor vm.small --volume root --network floor --key-name key "
        "--security-group door --property role=air --wait"
    )
    assert (server["status"], server["key_name"], server["properties"]) == ("ACTIVE", "key", {"role": "air"})
    shown = smith.json("server show bellows")
    assert shown["image"] == "N/A (booted from volume)"
    assert shown["volumes_attached"] == [{"id": root["id"], "delete_on_termination": False}]
    assert shown["security_groups"] == [{"name": "door"}]
    assert smith.json("volume show root")["status"] == "in-use"
    assert smith.names("server event list bellows", "Action") == ["create"]


def second_volume(smith: Shell) -> None:
    """It comes and goes while the server runs."""
    smith.json("volume create data --size 1")
    smith.until("volume show data", "status", "available")
    smith.json("server add volume bellows data")
    data = smith.until("volume show data", "status", "in-use")
    assert data["attachments"][0]["device"] == "/dev/vdb"
    assert smith.names("server volume list bellows", "Device") == ["/dev/vda", "/dev/vdb"]
    smith.run("server remove volume bellows data")
    assert smith.until("volume show data", "status", "available")["attachments"] == []
    smith.run("volume set data --size 2 --description coal")
    assert smith.until("volume show data", "size", 2)["description"] == "coal"  # type: ignore[arg-type]


def snapshot(smith: Shell) -> None:
    smith.json("volume snapshot create shot --volume data --description 'before the fire'")
    shot = smith.until("volume snapshot show shot", "status", "available")
    assert (shot["size"], shot["description"]) == (2, "before the fire")
    smith.json("volume create copy --snapshot shot")
    assert smith.until("volume show copy", "status", "available")["snapshot_id"] == shot["id"]


def floating_ip(smith: Shell) -> None:
    made = smith.json("floating ip create public --description door")
    assert (made["status"], made["port_id"]) == ("DOWN", None)
    smith.run(f"server add floating ip bellows {made['floating_ip_address']}")
    shown = smith.until(f"floating ip show {made['id']}", "status", "ACTIVE")
    inside = shown["fixed_ip_address"]
    assert smith.json("server show bellows")["addresses"] == {"floor": [inside, made["floating_ip_address"]]}
    assert smith.names("port list --server bellows", "Status") == ["ACTIVE"]


def bare_metal(smith: Shell, admin: Shell) -> None:
    smith.json("server create hammer --flavor bm.small --image iron --network floor --key-name key")
    server = smith.until("server show hammer", "status", "ACTIVE")
    assert server["image"].split(" ")[0] == "iron"
    node = admin.json("baremetal node show anvil")
    assert (node["instance_uuid"], node["provision_state"], node["power_state"]) == (server["id"], "active", "power on")
    [port] = smith.json("port list --server hammer")
    assert port["MAC Address"] == "52:54:0b:00:00:01"
    smith.run("server stop hammer")
    smith.until("server show hammer", "status", "SHUTOFF")
    assert admin.json("baremetal node show anvil")["power_state"] == "power off"


def listed(smith: Shell) -> None:
    """Everything by its name, as the lists show it."""
    servers = {row["Name"]: (row["Status"], row["Image"], row["Flavor"]) for row in smith.json("server list")}
    assert servers == {
        "bellows": ("ACTIVE", "N/A (booted from volume)", "vm.small"), "hammer": ("SHUTOFF", "iron", "bm.small"),
    }  # fmt: skip
    volumes = {row["Name"]: (row["Status"], row["Size"]) for row in smith.json("volume list")}
    assert volumes == {"root": ("in-use", 2), "data": ("available", 2), "copy": ("available", 2)}
    assert smith.names("volume snapshot list") == ["shot"]
    assert smith.names("network list") == ["floor", "public"]
    assert smith.names("router list") == ["gate"]
    assert smith.names("security group list") == ["default", "door"]
    assert smith.names("keypair list") == ["key"]
    limits = {row["Name"]: row["Value"] for row in smith.json("limits show --absolute")}
    assert (limits["instances_used"], limits["total_gigabytes_used"], limits["total_volumes_used"]) == (2, 8, 3)


# The end


def tear_down(smith: Shell) -> None:
    smith.run("server delete bellows hammer")
    until(lambda: smith.names("server list") == [])
    [address] = smith.names("floating ip list", "Floating IP Address")
    smith.run(f"floating ip delete {address}")
    smith.run("volume snapshot delete shot")
    until(lambda: smith.names("volume snapshot list") == [])
    smith.until("volume show root", "status", "available")
    smith.run("volume delete root data copy")
    smith.run("router remove subnet gate floor-4")
    smith.run("router delete gate")
    smith.run("network delete floor")
    smith.run("security group delete door")
    smith.run("keypair delete key")
    until(lambda: smith.names("volume list") == [])
    assert [smith.names(f"{kind} list") for kind in ("server", "port", "router", "keypair")] == [[], [], [], []]


def clear_away(admin: Shell) -> None:
    admin.until("baremetal node show anvil", "provision_state", "available")
    admin.run("baremetal node delete anvil")
    admin.run("image delete iron")
    admin.run("flavor delete vm.small bm.small")
    admin.run("quota delete forge")
    for group in admin.names("security group list --project forge", "ID"):
        admin.run(f"security group delete {group}")
    admin.run("user delete smith")
    admin.run("project delete forge")
