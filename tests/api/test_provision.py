"""The provisioning service of a simulated cloud: who gets what from it, and what is not reachable through it."""

import hashlib
import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from hagane.baremetal import service_port
from hagane.baremetal.nic import Nics
from hagane.baremetal.node import NODE
from hagane.baremetal.provision import Fetched, NodeImage, Provision, Start
from hagane.drivers.metadata.base import Reply
from hagane.drivers.provision.sim import SimProvision
from hagane.errors import Invalid, Unavailable
from hagane.network import network as networks
from hagane.reconcile.provision import ProvisionPart
from hagane.state import work
from hagane.state.database import Row, Tx
from tests.api.people import Person, person
from tests.support import Running

VERSION = {"x-openstack-ironic-api-version": "1.90"}


@pytest.fixture(scope="module")
def admin(cloud: Running) -> Iterator[Person]:
    who = person(cloud)
    who.http.headers["X-Auth-Token"] = cloud.token()
    who.http.headers["X-OpenStack-Ironic-API-Version"] = "1.90"
    yield who
    who.http.close()


@pytest.fixture(scope="module")
def network(admin: Person) -> str:
    body = {"network": {"name": f"provisioning-{uuid4()}"}}
    made = admin.http.post("/network/v2.0/networks", json=body).json()["network"]["id"]
    subnet = {"network_id": made, "ip_version": 4, "cidr": "172.30.16.0/24"}
    admin.http.post("/network/v2.0/subnets", json={"subnet": subnet}).raise_for_status()
    return str(made)


class Plugged:
    """A Node whose Nic carries a Port of a role."""

    def __init__(self, cloud: Running, admin: Person, network: str, role: str = "provisioning", **more: Any) -> None:
        self.cloud, self.network = cloud, network
        body = {"driver": "ipmi", "network_interface": "noop", "properties": {"boot_mode": "bios"}} | more
        answer = admin.http.post("/baremetal/v1/nodes", json=body)
        assert answer.status_code == 201, answer.text
        self.id = answer.json()["uuid"]
        self.mac = "52:54:00:" + ":".join(f"{byte:02x}" for byte in uuid4().bytes[:3])
        nic = {"node_uuid": self.id, "address": self.mac}
        self.nic = admin.http.post("/baremetal/v1/ports", json=nic).json()["uuid"]
        self.ip = cloud.run(lambda: cloud.hagane.cloud.db.write(lambda tx: self._plug(tx, role)))

    async def _plug(self, tx: Tx, role: str) -> str:
        node, net = await NODE.get(tx, id=self.id), await networks.get(tx, self.network)
        assert node is not None and net is not None
        port = await service_port.port(tx, node, role, net, self.mac, None)
        await Nics.table.update(tx, {"id": self.nic}, {"plugged": port["id"]})
        return str(port["fixed_ips"][0]["ip_address"])

    def row(self) -> Row:
        found = self.cloud.run(lambda: NODE.get(self.cloud.hagane.cloud.db, id=self.id))
        assert found is not None
        return found

    def change(self, **changes: Any) -> None:
        self.cloud.run(lambda: self.cloud.hagane.cloud.db.write(lambda tx: NODE.update(tx, {"id": self.id}, changes)))

    def ask(self, target: str, **more: Any) -> Reply:
        return ask(self.cloud, self.network, self.ip, target, **more)


def ask(cloud: Running, network: str, client: str, target: str, **more: Any) -> Reply:
    url(cloud, network)
    driver = cloud.hagane.cloud.use(ProvisionPart).driver
    assert isinstance(driver, SimProvision)
    return cloud.run(lambda: driver.ask(network, client, target, **more))


def provision(cloud: Running) -> Provision:
    return cloud.hagane.cloud.use(Provision)  # type: ignore[type-abstract]


def url(cloud: Running, network: str) -> str:
    """The service's URL, once it is there."""
    until = time.monotonic() + 10
    while True:
        try:
            return cloud.run(lambda: provision(cloud).url(cloud.hagane.cloud.db, network))
        except Unavailable:
            assert time.monotonic() < until
            time.sleep(0.05)


def start(cloud: Running, node: Plugged, role: str = "provisioning") -> Start:
    base = url(cloud, node.network)

    async def plan() -> Start:
        return provision(cloud).boot_plan(node.row(), network_id=node.network, base_url=base, role=role)

    row = node.row()
    node.row = lambda: row  # type: ignore[method-assign]  # the plan is made inside the cloud's own loop
    return cloud.run(plan)


def content(reply: Reply) -> bytes:
    if reply.piece is None:
        return reply.body
    return reply.piece.path.read_bytes()[reply.piece.start : reply.piece.start + reply.piece.length]


def image(admin: Person, data: bytes, kind: str = "raw") -> str:
    body = {"disk_format": kind, "container_format": "bare", "name": "i"}
    made = str(admin.http.post("/image/v2/images", json=body).json()["id"])
    octets = {"Content-Type": "application/octet-stream"}
    admin.http.put(f"/image/v2/images/{made}/file", content=data, headers=octets).raise_for_status()
    return made


def test_a_node_gets_its_script_and_a_stranger_nothing(cloud: Running, admin: Person, network: str) -> None:
    info: dict[str, Any] = {"deploy_kernel": image(admin, b"K" * 5000), "deploy_ramdisk": image(admin, b"R" * 7000)}
    node = Plugged(cloud, admin, network, driver_info=info)
    base = url(cloud, network)
    script = node.ask("/boot.ipxe").body.decode()
    assert f"kernel {base}/kernel ipa-api-url={base}/baremetal " in script
    assert content(node.ask("/kernel")) == b"K" * 5000
    part = node.ask("/ramdisk", headers={"range": "bytes=6990-"})
    assert (part.status, content(part), part.headers["content-range"]) == (206, b"R" * 10, "bytes 6990-6999/7000")
    assert node.ask("loader/undionly.kpxe", method="TFTP").status == 200
    for path in ("/boot.ipxe", "/kernel", "/ramdisk", "/loader/undionly.kpxe", "/baremetal/v1", "/baremetal/v1/lookup"):
        assert ask(cloud, network, "172.30.16.250", path).status == 404
    for path in ("/", "/identity/v3", "/baremetal/v1/nodes", "/../etc/passwd", "/loader/../../etc/passwd", "/image/x",
                 "/baremetal/../identity/v3", f"/baremetal/v1/nodes/{node.id}"):  # fmt: skip
        assert node.ask(path).status == 404, path


def test_files_of_this_machine_are_not_read(cloud: Running, admin: Person, network: str) -> None:
    info: dict[str, Any] = {"deploy_kernel": "file:///etc/passwd", "deploy_ramdisk": "file:///etc/passwd"}
    answer = Plugged(cloud, admin, network, driver_info=info).ask("/kernel")
    assert (answer.status, answer.piece) == (503, None)
    assert b"file_url_allowed_paths" in answer.body


def test_a_port_that_no_nic_carries_is_nobodys(cloud: Running, admin: Person, network: str) -> None:
    node = Plugged(cloud, admin, network)
    assert node.ask("/baremetal/v1").status == 200
    db = cloud.hagane.cloud.db
    cloud.run(lambda: db.write(lambda tx: Nics.table.update(tx, {"id": node.nic}, {"plugged": None})))
    assert node.ask("/baremetal/v1").status == 404


def test_an_agent_speaks_of_its_own_node_only(cloud: Running, admin: Person, network: str) -> None:
    node, other = Plugged(cloud, admin, network), Plugged(cloud, admin, network)
    assert node.ask("/baremetal/v1/lookup?addresses=" + node.mac, headers=VERSION).status == 404  # nothing runs there
    for one in (node, other):
        one.change(provision_state="wait call-back")
    found = node.ask(f"/baremetal/v1/lookup?node_uuid={other.id}&addresses={other.mac}", headers=VERSION)
    answer = json.loads(found.body)
    assert (found.status, answer["node"]["uuid"]) == (200, node.id)
    beat = {"callback_url": f"http://{node.ip}:9999", "agent_token": answer["config"]["agent_token"],
            "agent_version": "9.0"}  # fmt: skip
    post: dict[str, Any] = {"method": "POST", "body": json.dumps(beat).encode(), "headers": VERSION}
    assert node.ask(f"/baremetal/v1/heartbeat/{other.id}", **post).status == 404
    for elsewhere in (f"http://{other.ip}:9999", "http://127.0.0.1:9999", "http://localhost:9999", "http://x.test",
                      f"http://{node.ip}@{other.ip}:9999", f"http://{node.ip}:0", f"http://{node.ip}:x"):  # fmt: skip
        astray = post | {"body": json.dumps(beat | {"callback_url": elsewhere}).encode()}
        answer = node.ask(f"/baremetal/v1/heartbeat/{node.id}", **astray)
        assert (answer.status, b"callback_url" in answer.body) == (400, True), elsewhere
    assert node.ask(f"/baremetal/v1/heartbeat/{node.id}", **post).status == 202
    for one in (node, other):
        one.change(provision_state="manageable")


def test_an_image_is_given_once_to_one_node(cloud: Running, admin: Person, network: str) -> None:
    data = bytes(range(256)) * 400
    info: dict[str, Any] = {"instance_info": {"image_source": image(admin, data)}}
    node, other = Plugged(cloud, admin, network, **info), Plugged(cloud, admin, network, **info)
    heard: list[tuple[str, Fetched, str]] = []
    provision(cloud).listen(lambda *what: heard.append(what))
    base, row = url(cloud, network), node.row()
    made: NodeImage = cloud.run(lambda: provision(cloud).image(row, base_url=base))
    assert (made.size, made.format) == (len(data), "raw")
    assert made.hash_value == hashlib.sha512(data).hexdigest()
    target = made.url.removeprefix(base)
    assert other.ask(target).status == 404
    assert provision(cloud).progress(node.id) is None
    assert node.ask(target, method="HEAD").length == len(data)
    assert provision(cloud).progress(node.id) is None
    broken = node.ask(target)
    assert broken.piece is not None and broken.ended is not None
    broken.piece.sent(1000)
    broken.ended(False)
    progress = provision(cloud).progress(node.id)
    assert progress is not None and (progress.sent, progress.total) == (1000, len(data))
    part = node.ask(target, headers={"range": "bytes=0-99"})
    assert part.ended is not None
    part.ended(True)
    again = node.ask(target)  # what broke off may be asked for again
    assert content(again) == data and again.ended is not None
    again.ended(True)
    assert node.ask(target).status == 404
    assert [(what, when) for key, what, when in heard if key == node.id] == [
        (Fetched.IMAGE, "begun"), (Fetched.IMAGE, "begun"), (Fetched.IMAGE, "begun"), (Fetched.IMAGE, "done")
    ]  # fmt: skip


def test_another_format_is_turned_into_raw_bytes(cloud: Running, admin: Person, network: str, tmp_path: Path) -> None:
    raw, qcow2 = tmp_path / "raw", tmp_path / "qcow2"
    raw.write_bytes(b"disk" * (1 << 18))
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, qcow2], check=True)
    source = image(admin, qcow2.read_bytes(), "qcow2")
    node = Plugged(cloud, admin, network, instance_info={"image_source": source})
    base, row = url(cloud, network), node.row()
    made = cloud.run(lambda: provision(cloud).image(row, base_url=base))
    assert (made.size, made.hash_value) == (1 << 20, hashlib.sha512(raw.read_bytes()).hexdigest())
    assert content(node.ask(made.url.removeprefix(base))) == raw.read_bytes()
    missing = row | {"instance_info": {"image_source": str(uuid4())}}
    with pytest.raises(Exception, match="no image"):
        cloud.run(lambda: provision(cloud).image(missing, base_url=base))


def test_plans_by_boot_interface(cloud: Running, admin: Person, network: str) -> None:
    base = url(cloud, network)
    ipxe = start(cloud, Plugged(cloud, admin, network))
    assert ipxe.dhcp["tag:ipxe,67"] == f"{base}/boot.ipxe"
    assert (ipxe.device, ipxe.mode, ipxe.media) == ("pxe", "bios", {})
    http = start(cloud, Plugged(cloud, admin, network, boot_interface="http", properties={"boot_mode": "uefi"}))
    assert (http.device, http.mode, http.http_uri) == ("http", "uefi", f"{base}/boot.iso")
    redfish: dict[str, Any] = {"driver": "redfish", "driver_info": {"redfish_address": "http://127.0.0.1:8000"},
                               "boot_interface": "redfish-virtual-media"}  # fmt: skip
    media = Plugged(cloud, admin, network, **redfish)
    first, second = start(cloud, media), start(cloud, media)
    assert first == second and first.device == "cdrom"
    assert first.media["cd"].startswith(f"http://127.0.0.1:8775/{media.id}/{network}/provisioning/")
    with pytest.raises(Invalid, match="uefi mode only"):
        start(cloud, Plugged(cloud, admin, network, boot_interface="http"))
    shell = {"kernel_append_params": "quiet; reboot"}
    with pytest.raises(Invalid, match="act upon"):
        start(cloud, Plugged(cloud, admin, network, driver_info=shell))


def test_nodes_that_asked_too_early_are_woken_when_it_is_up(cloud: Running, admin: Person, network: str) -> None:
    url(cloud, network)
    part, db = cloud.hagane.cloud.use(ProvisionPart), cloud.hagane.cloud.db

    async def again() -> list[dict[str, Any]]:
        await db.write(lambda tx: work.wake(tx, "node", "asked-too-early", delay=3600))
        part._served.clear()
        await part.look()
        return await db.fetch("SELECT due FROM work WHERE kind = 'node' AND key = 'asked-too-early'")

    left = cloud.run(again)
    assert not left or left[0]["due"] <= time.time()


def test_a_network_takes_its_service_along(cloud: Running, admin: Person) -> None:
    body = {"network": {"name": "short-lived"}}
    made = str(admin.http.post("/network/v2.0/networks", json=body).json()["network"]["id"])
    subnet = {"network_id": made, "ip_version": 4, "cidr": "172.30.17.0/24"}
    admin.http.post("/network/v2.0/subnets", json={"subnet": subnet}).raise_for_status()
    assert url(cloud, made).startswith("http://172.30.17.")
    driver = cloud.hagane.cloud.use(ProvisionPart).driver
    assert isinstance(driver, SimProvision) and made in driver.endpoints
    assert admin.http.delete(f"/network/v2.0/networks/{made}").status_code == 204
    cloud.run(cloud.hagane.cloud.use(ProvisionPart).look)
    assert made not in driver.endpoints
