"""Servers on bare metal over HTTP, by openstacksdk and by hand: a whole life on simulated Nodes."""

import base64
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import openstack
import pytest

from tests.api.compute_shop import KEY, V21, Shop, message, shop
from tests.support import Running

IRONIC = {"X-OpenStack-Ironic-API-Version": "1.104"}
AGENT = {"deploy_interface": "direct", "rescue_interface": "agent", "inspect_interface": "agent"}


@dataclass
class Metal:
    """A shop that sells steel: `nodes` by name, and the flavor `metal`."""

    shop: Shop
    admin: openstack.connection.Connection
    nodes: dict[str, str]

    def node(self, name: str) -> dict[str, Any]:
        answer = self.shop.admin.get(f"/baremetal/v1/nodes/{name}", headers=IRONIC)
        return dict(answer.raise_for_status().json())

    def until(self, name: str, state: str) -> dict[str, Any]:
        until = time.monotonic() + 15
        while (found := self.node(name))["provision_state"] != state:
            assert time.monotonic() < until, found
            time.sleep(0.02)
        return found

    def free(self) -> None:
        """Every Node is available again."""
        for node_id in self.nodes.values():
            self.until(node_id, "available")

    def sdk(self) -> openstack.connection.Connection:
        return self.shop.cloud.connect(**self.shop.alice.auth)


@pytest.fixture(scope="module")
def metal(cloud: Running, http: httpx.Client, admin: openstack.connection.Connection) -> Iterator[Metal]:
    made = shop(cloud, http)
    nodes = {}
    for number in (1, 2):
        name = f"bm{number}"
        node = admin.baremetal.create_node(
            name=name, driver="fake-hardware", resource_class="bm.small", provision_state="enroll", **AGENT
        )
        nodes[name] = node.id
        for index in range(2):
            admin.baremetal.create_port(node_id=node.id, address=f"52:54:07:00:0{number}:0{index}")
        admin.baremetal.set_node_provision_state(node, "manage", wait=True, timeout=20)
        admin.baremetal.set_node_provision_state(node, "provide", wait=True, timeout=20)
    flavor = admin.compute.create_flavor(name="bm.small", ram=64, vcpus=1, disk=1, id="metal")
    specs = {"resources:CUSTOM_BM_SMALL": "1", "resources:VCPU": "0", "resources:MEMORY_MB": "0"}
    admin.compute.create_flavor_extra_specs(flavor, specs)
    yield Metal(made, admin, nodes)
    made.alice.http.close()


def test_a_whole_life_by_the_sdk(metal: Metal) -> None:
    with metal.sdk() as alice:
        alice.compute.create_keypair(name="key", public_key=KEY)
        server = alice.compute.create_server(
            name="db", image_id=metal.shop.image, flavor_id="metal", networks=[{"uuid": metal.shop.network}],
            key_name="key", user_data=base64.b64encode(b"#cloud-config\n").decode(),
        )  # fmt: skip
        server = alice.compute.wait_for_server(server, wait=30)
        assert server.status == "ACTIVE"
        assert server.addresses["net"][0]["OS-EXT-IPS-MAC:mac_addr"].startswith("52:54:07:")
        node = next(found for name in metal.nodes if (found := metal.node(name))["instance_uuid"] == server.id)
        assert (node["provision_state"], node["instance_name"]) == ("active", "db")
        assert node["instance_info"]["configdrive"] == "******"
        for act, status in ((alice.compute.stop_server, "SHUTOFF"), (alice.compute.start_server, "ACTIVE")):
            act(server)
            server = alice.compute.wait_for_server(server, status=status, wait=20)
        alice.compute.reboot_server(server, "HARD")
        metal.shop.wait(server.id)
        alice.compute.rescue_server(server, admin_pass="secret123")
        metal.shop.wait(server.id, "RESCUE")
        alice.compute.unrescue_server(server)
        metal.shop.wait(server.id)
        alice.compute.rebuild_server(server, metal.shop.image, name="db2")
        metal.shop.wait(server.id)
        assert alice.compute.get_server(server).name == "db2"
        alice.compute.delete_server(server)
        alice.compute.wait_for_delete(server, wait=20)
        metal.free()


def test_the_twelve_steps_are_told(metal: Metal) -> None:
    server = metal.shop.make(flavorRef="metal", networks=[{"uuid": metal.shop.network}])
    path, until = f"/servers/{server}/os-instance-actions", time.monotonic() + 10
    action = metal.shop.call("GET", path).json()["instanceActions"][0]
    assert action["action"] == "create"
    names: list[str] = []
    while "reachable" not in names:
        assert time.monotonic() < until, names
        events = metal.shop.call("GET", f"{path}/{action['request_id']}").json()["instanceAction"]["events"]
        names = [event["event"] for event in reversed(events)]
    assert names == ["schedule", "tenant-network", "provisioning-network", "power-on", "dhcp", "ramdisk", "callback",
                     "write-image", "tenant-switch", "reboot", "tenant-dhcp", "reachable"]  # fmt: skip
    assert all(event["result"] == "Success" and event["finish_time"] for event in events)
    metal.shop.delete(server)
    metal.free()


def test_the_administrator_sees_the_node(metal: Metal) -> None:
    server = metal.shop.make(flavorRef="metal", networks=[{"uuid": metal.shop.network}])
    shown = metal.admin.compute.get_server(server)
    node = metal.node(shown.hypervisor_hostname)
    assert node["instance_uuid"] == server
    assert shown.compute_host == "hagane"
    found = {one.name: one for one in metal.admin.compute.hypervisors(details=True)}
    assert found[node["uuid"]].hypervisor_type == "ironic"
    mine = metal.shop.show(server)
    assert "OS-EXT-SRV-ATTR:hypervisor_hostname" not in mine
    assert mine["hostId"]
    metal.shop.delete(server)
    metal.free()


def test_explain_goes_through_to_the_node(metal: Metal) -> None:
    server = metal.shop.make(flavorRef="metal", networks=[{"uuid": metal.shop.network}])
    answer = metal.shop.admin.get(f"/hagane/v1/explain/server/{server}")
    assert answer.status_code == 200, answer.text
    assert any("It is the bare-metal node bm" in fact for fact in answer.json()["facts"]), answer.text
    mine = metal.shop.alice.http.get(f"/hagane/v1/explain/server/{server}")
    assert mine.status_code == 200 and mine.json()["steps"] and not mine.json()["whole"]
    assert "bare-metal node bm" not in mine.text and "openstack baremetal" not in mine.text
    metal.shop.delete(server)
    metal.free()


def test_the_console_ends_with_the_server(metal: Metal) -> None:
    """What the machine prints and takes goes through the BMC; the next tenant's is not heard by the last one's."""
    from websockets.exceptions import ConnectionClosed
    from websockets.sync.client import connect

    server = metal.shop.make(flavorRef="metal", networks="none")
    asked = {"remote_console": {"protocol": "serial", "type": "serial"}}
    made = metal.shop.call("POST", f"/servers/{server}/remote-consoles", json=asked)
    with connect(made.json()["remote_console"]["url"]) as socket:
        socket.send(b"echo hello\r")
        seen = b""
        while b"hello" not in seen:
            more = socket.recv(timeout=5)
            seen += more if isinstance(more, bytes) else more.encode()
        assert "hello" in metal.shop.act(server, **{"os-getConsoleOutput": {}}).json()["output"]
        metal.shop.delete(server)
        metal.free()
        with pytest.raises(ConnectionClosed):
            socket.recv(timeout=5)


def test_refusals(metal: Metal) -> None:
    s = metal.shop
    server = s.make(flavorRef="metal", networks=[{"uuid": s.network}])
    for verb in ("pause", "unpause"):
        answer = s.act(server, **{verb: None})
        assert (answer.status_code, "not supported" in message(answer)) == (501, True), answer.text
    answer = s.act(server, createImage={"name": "x"})
    assert (answer.status_code, "not supported" in message(answer)) == (501, True), answer.text
    assert s.act(server, unrescue=None).status_code == 409
    assert s.act(server, rescue={"adminPass": 1}).status_code == 400
    assert s.act(server, lock=None).status_code == 202
    assert s.act(server, rescue=None).status_code == 409
    assert s.act(server, unlock=None).status_code == 202
    for _ in range(2):
        answer = s.call("POST", f"/servers/{server}/os-interface",
                        json={"interfaceAttachment": {"net_id": s.network}})  # fmt: skip
    assert (answer.status_code, "not enough free physical ports" in message(answer)) == (400, True)
    s.delete(server)
    metal.free()


def test_quota_counts_what_the_flavor_says(metal: Metal) -> None:
    s = metal.shop
    before = s.call("GET", "/limits").json()["limits"]["absolute"]
    server = s.make(flavorRef="metal", networks="none")
    during = s.call("GET", "/limits").json()["limits"]["absolute"]
    assert [during[name] - before[name] for name in ("totalInstancesUsed", "totalCoresUsed", "totalRAMUsed")] == [
        1, 1, 64,
    ]  # fmt: skip
    s.delete(server)
    assert s.call("GET", "/limits").json()["limits"]["absolute"] == before
    metal.free()


def test_a_node_by_name(metal: Metal) -> None:
    """The administrator asks for a certain Node, by zone:host:node and by hypervisor_hostname."""
    s, wanted = metal.shop, metal.nodes["bm2"]
    body = {"name": "one", "imageRef": s.image, "flavorRef": "metal", "networks": "none"}
    for place in ({"availability_zone": f"nova::{wanted}"}, {"hypervisor_hostname": wanted}):
        answer = s.call("POST", "/servers", who=s.admin, json={"server": body | place})
        assert answer.status_code == 202, answer.text
        server = answer.json()["server"]["id"]
        shown = s.wait(server, who=s.admin)
        assert shown["OS-EXT-SRV-ATTR:hypervisor_hostname"] == wanted
        assert s.call("DELETE", f"/servers/{server}", who=s.admin).status_code == 204
        s.wait(server, "gone", who=s.admin)
        metal.free()


def test_the_catalog_has_it(metal: Metal) -> None:
    assert {service.type for service in metal.admin.identity.services()} >= {"baremetal", "compute"}
    assert metal.shop.admin.get(f"{V21}/flavors/metal").status_code == 200
