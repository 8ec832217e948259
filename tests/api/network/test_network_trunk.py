"""Trunks over HTTP, and as the tagged ports that OVN is to have."""

import time
from collections.abc import Callable
from typing import Any

from hagane.ovn.northbound import Table
from tests.api.network.net import ZERO, Net
from tests.api.network.test_network_compiled import rows
from tests.support import Running


def sub(port: dict[str, Any], number: Any, kind: str = "vlan") -> dict[str, Any]:
    return {"port_id": port["id"], "segmentation_type": kind, "segmentation_id": number}


def becomes(look: Callable[[], Any], wanted: Any, seconds: float = 10.0) -> None:
    """What OVN says takes a moment to be written down."""
    deadline = time.monotonic() + seconds
    while (seen := look()) != wanted:
        assert time.monotonic() < deadline, f"{seen} instead of {wanted}"
        time.sleep(0.02)


def ports(net: Net, count: int) -> list[dict[str, Any]]:
    network, _ = net.wired()
    return [net.port(network) for _ in range(count)]


def test_a_trunk_has_the_keys_of_the_real_service(alice: Net, bob: Net) -> None:
    parent, one, two = ports(alice, 3)
    made = alice.make("trunk", name="t", port_id=parent["id"], sub_ports=[sub(one, "100")])
    assert set(made) == {
        "id", "name", "project_id", "tenant_id", "description", "tags", "revision_number", "created_at", "updated_at",
        "admin_state_up", "status", "port_id", "sub_ports",
    }  # fmt: skip
    assert (made["status"], made["sub_ports"]) == ("DOWN", [sub(one, 100)])
    taken = alice.show("port", one)
    assert (taken["device_owner"], taken["device_id"]) == ("trunk:subport", "")
    path = f"/trunks/{made['id']}"
    added = alice.ask("PUT", f"{path}/add_subports", {"sub_ports": [sub(two, 101)]})
    assert (added["id"], len(added["sub_ports"])) == (made["id"], 2)
    assert added["revision_number"] == made["revision_number"] + 1
    assert alice.get(f"{path}/get_subports") == {"sub_ports": added["sub_ports"]}
    left = alice.ask("PUT", f"{path}/remove_subports", {"sub_ports": [{"port_id": one["id"]}]})
    assert left["sub_ports"] == [sub(two, 101)]
    assert alice.show("port", one)["device_owner"] == ""
    assert alice.get("/trunks", port_id=parent["id"], status="DOWN")["trunks"][0]["id"] == made["id"]
    assert alice.get("/trunks", port_id=parent["id"], status="ACTIVE")["trunks"] == []
    bob.refused("GET", path, None, 404, "TrunkNotFound", f"Trunk {made['id']} could not be found.")
    bob.refused("PUT", f"{path}/add_subports", {"sub_ports": []}, 404, "TrunkNotFound")
    alice.ask("PUT", f"{path}/tags/red", status=201)
    alice.delete("trunk", made)
    assert alice.show("port", two)["device_owner"] == ""


def test_what_is_in_use_stays(alice: Net) -> None:
    parent, one, other = ports(alice, 3)
    made = alice.make("trunk", port_id=parent["id"], sub_ports=[sub(one, 5)])
    text = f"Port {parent['id']} is currently a parent port for trunk {made['id']}."
    alice.refused("DELETE", f"/ports/{parent['id']}", None, 409, "PortInUseAsTrunkParent", text)
    text = f"Port {one['id']} is currently a subport for trunk {made['id']}."
    alice.refused("DELETE", f"/ports/{one['id']}", None, 409, "PortInUseAsSubPort", text)
    alice.refused("POST", "/trunks", {"trunk": {"port_id": one["id"]}}, 409, "TrunkPortInUse",
                  f"Port {one['id']} is in use by another trunk.")  # fmt: skip
    alice.refused("POST", "/trunks", {"trunk": {"port_id": parent["id"]}}, 409, "ParentPortInUse")
    alice.change("trunk", made, admin_state_up=False)
    alice.refused("DELETE", f"/trunks/{made['id']}", None, 409, "TrunkDisabled")
    alice.refused("PUT", f"/trunks/{made['id']}/add_subports", {"sub_ports": [sub(other, 6)]}, 409, "TrunkDisabled",
                  f"Trunk {made['id']} is currently disabled.")  # fmt: skip
    alice.change("trunk", made, admin_state_up=True)
    alice.delete("trunk", made)
    alice.delete("port", parent)


def test_what_cannot_be_is_refused(alice: Net, bob: Net) -> None:
    parent, one, two = ports(alice, 3)
    made = alice.make("trunk", port_id=parent["id"], sub_ports=[sub(one, 5)])
    path = f"/trunks/{made['id']}"

    def refuse(entry: Any, status: int, error: str, text: str = "") -> None:
        alice.refused("PUT", f"{path}/add_subports", {"sub_ports": [entry]}, status, error, text)

    refuse(sub(two, 5), 409, "DuplicateSubPort", "segmentation_type vlan and segmentation_id 5 already in use")
    refuse(sub(two, 4095), 400, "InvalidInput", "Segmentation ID '4095' is not in range")
    refuse(sub(two, "x"), 400, "InvalidInput", "segmentation_id 'x' is not an integer")
    refuse(sub(two, 6, "geneve"), 400, "InvalidInput", "Unknown segmentation_type 'geneve'")
    refuse(sub(two, None, "inherit"), 400, "InvalidInput", "Unknown segmentation_type 'geneve'")
    refuse({"port_id": two["id"]}, 400, "InvalidInput", "missing segmentation information")
    refuse(sub(parent, 6), 409, "ParentPortInUse")
    refuse(sub(one, 6), 409, "TrunkPortInUse")
    refuse({"port_id": ZERO, "segmentation_type": "vlan", "segmentation_id": 1}, 404, "PortNotFound")
    refuse("x", 400, "InvalidInput", "Invalid data format for subport: 'x' is not a dict")
    busy = alice.port(alice.wired()[0], device_id="x")
    refuse(sub(busy, 6), 409, "PortInUse")
    foreign = bob.port(bob.wired()[0])
    refuse(sub(foreign, 6), 404, "PortNotFound")
    alice.refused("PUT", f"{path}/remove_subports", {"sub_ports": [{"port_id": two["id"]}]}, 404, "SubPortNotFound",
                  f"SubPort {two['id']} on trunk {made['id']} could not be found.")  # fmt: skip
    alice.refused("POST", "/trunks", {"trunk": {"port_id": two["id"], "sub_ports": [{}]}}, 400, "HTTPBadRequest")


def test_subports_are_up_with_their_parent(cloud: Running, root: Net, alice: Net) -> None:
    parent, one = ports(alice, 2)
    made = alice.make("trunk", port_id=parent["id"], sub_ports=[sub(one, 100)])
    [row] = rows(cloud, f"port:{one['id']}", Table.PORT)
    assert (row["parent_name"], row["tag"]) == (parent["id"], 100)
    host = root.get("/agents")["agents"][0]["host"]
    root.change("port", parent, **{"binding:host_id": host})
    becomes(lambda: alice.show("trunk", made)["status"], "ACTIVE")
    becomes(lambda: alice.show("port", one)["status"], "ACTIVE")
    alice.delete("trunk", made)
    [row] = rows(cloud, f"port:{one['id']}", Table.PORT)
    assert (row["parent_name"], row["tag"]) == (None, None)
    becomes(lambda: alice.show("port", one)["status"], "DOWN")


def test_trunks_are_counted(root: Net, alice: Net) -> None:
    used = root.get(f"/quotas/{alice.project_id}/details")["quota"]["trunk"]
    assert used["limit"] == -1
    root.ask("PUT", f"/quotas/{alice.project_id}", {"quota": {"trunk": used["used"]}})
    [port] = ports(alice, 1)
    alice.refused("POST", "/trunks", {"trunk": {"port_id": port["id"]}}, 409, "OverQuota")
    root.ask("DELETE", f"/quotas/{alice.project_id}", status=204)
    made = alice.make("trunk", port_id=port["id"])
    alice.delete("trunk", made)
    assert root.get(f"/quotas/{alice.project_id}/details")["quota"]["trunk"]["used"] == used["used"]


def test_a_parent_tells_of_its_trunk(alice: Net) -> None:
    network, _ = alice.wired()
    parent, child, other = alice.port(network), alice.port(network), alice.port(network)
    trunk = alice.make("trunk", port_id=parent["id"], sub_ports=[
        {"port_id": child["id"], "segmentation_type": "vlan", "segmentation_id": 7}])  # fmt: skip
    below = {"port_id": child["id"], "segmentation_type": "vlan", "segmentation_id": 7,
             "mac_address": child["mac_address"]}  # fmt: skip
    told = {"trunk_id": trunk["id"], "sub_ports": [below]}
    assert alice.show("port", parent)["trunk_details"] == told
    listed = {port["id"]: port for port in alice.get("/ports", network_id=network["id"])["ports"]}
    assert listed[parent["id"]]["trunk_details"] == told
    assert not any("trunk_details" in listed[port["id"]] for port in (child, other))
    assert alice.get("/ports", id=parent["id"], fields="id")["ports"] == [{"id": parent["id"]}]
    assert alice.get("/ports", id=parent["id"], fields="trunk_details")["ports"] == [{"trunk_details": told}]
