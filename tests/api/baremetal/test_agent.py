"""Lookup, heartbeat and inspection data: what a ramdisk without an account may do, and a stranger may not."""

from typing import Any

import httpx

from tests.api.baremetal.test_node import enrol, fault
from tests.support import Running

MAC = "52:54:00:aa:00:01"


def at_state(cloud: Running, node: str, state: str) -> None:
    """Put a Node where a ramdisk of ours would run on it, as a deploy driver does."""
    sql = "UPDATE node SET provision_state = :state WHERE id = :id"

    async def change() -> None:
        async def work(tx: Any) -> None:
            await tx.execute(sql, {"state": state, "id": node})

        await cloud.hagane.cloud.db.write(work)

    cloud.run(change)


def anyone(cloud: Running) -> httpx.Client:
    return httpx.Client(base_url=cloud.url + "/baremetal/v1", headers={"X-OpenStack-Ironic-API-Version": "1.115"})


def test_a_ramdisk_from_lookup_to_heartbeat(metal: httpx.Client, cloud: Running) -> None:
    node = enrol(metal)["uuid"]
    # In maintenance nothing is done with a ramdisk: the Node stays where the test puts it.
    assert metal.put(f"/nodes/{node}/maintenance", json={}).status_code == 202
    assert metal.post("/ports", json={"node_uuid": node, "address": MAC}).status_code == 201
    with anyone(cloud) as agent:
        assert fault(agent.get(f"/lookup?addresses={MAC}"), 404) == "Resource could not be found."
        at_state(cloud, node, "wait call-back")
        first = agent.get(f"/lookup?addresses={MAC.upper()},junk").json()
        assert first["node"]["uuid"] == node
        token = first["config"]["agent_token"]
        assert len(token) > 30
        # The token is told once: whoever comes second, a stranger on the same wire, gets none.
        assert agent.get(f"/lookup?addresses={MAC}").json()["config"]["agent_token"] == "******"
        beat = {"callback_url": "http://192.0.2.1:9999", "agent_version": "10.0", "agent_token": token}
        assert agent.post(f"/heartbeat/{node}", json=beat).status_code == 202
        assert fault(agent.post(f"/heartbeat/{node}", json=beat | {"agent_token": "x"}), 400) == (
            "Invalid or missing agent token received."
        )
        moved = beat | {"callback_url": "http://192.0.2.2:9999"}
        assert "Detected change" in fault(agent.post(f"/heartbeat/{node}", json=moved), 400)
    shown = metal.get(f"/nodes/{node}").json()["driver_internal_info"]
    assert shown["agent_url"] == "http://192.0.2.1:9999"
    assert token not in str(shown)
    at_state(cloud, node, "enroll")


def test_nobody_speaks_for_a_node_on_our_networks_from_outside(metal: httpx.Client, cloud: Running) -> None:
    """Its ramdisk comes through the provisioning service. The door of the API is open to anybody, who may know a MAC."""
    mac = "52:54:00:aa:00:03"
    node = enrol(metal, network_interface="neutron")["uuid"]
    assert metal.put(f"/nodes/{node}/maintenance", json={}).status_code == 202
    assert metal.post("/ports", json={"node_uuid": node, "address": mac}).status_code == 201
    beat = {"callback_url": "http://192.0.2.1:9999", "agent_version": "10.0", "agent_token": "x"}
    data = {"inventory": {"interfaces": [{"mac_address": mac}]}}
    with anyone(cloud) as agent:
        for state in ("wait call-back", "inspect wait"):
            at_state(cloud, node, state)
            assert fault(agent.get(f"/lookup?addresses={mac}"), 404) == "Resource could not be found."
            assert fault(agent.get(f"/lookup?node_uuid={node}"), 404) == "Resource could not be found."
            assert fault(agent.post(f"/heartbeat/{node}", json=beat), 404) == f"Node {node} could not be found."
            assert fault(agent.post("/continue_inspection", json=data), 404) == "Resource could not be found."
    assert "agent_secret_token" not in metal.get(f"/nodes/{node}").json()["driver_internal_info"]
    at_state(cloud, node, "enroll")


def test_continue_inspection(metal: httpx.Client, cloud: Running) -> None:
    node, mac = enrol(metal)["uuid"], "52:54:00:aa:00:02"
    metal.post("/ports", json={"node_uuid": node, "address": mac})
    data: dict[str, Any] = {
        "inventory": {"interfaces": [{"mac_address": mac}], "cpu": {"count": 2}}, "lldp_raw": {},
    }  # fmt: skip
    with anyone(cloud) as agent:
        assert fault(agent.post("/continue_inspection", json=data), 404) == "Resource could not be found."
        assert "'inventory' is a required property" in fault(agent.post("/continue_inspection", json={}), 400)
        at_state(cloud, node, "inspect wait")
        for odd in ({"cpu": "many"}, {"memory": [1]}, {"disks": {"a": 1}}, {"disks": [5]}, {"disks": [{"size": "big"}]},
                    {"boot": 5}, {"interfaces": [{"mac_address": mac, "lldp": 5}]}):  # fmt: skip
            wrong = {"inventory": data["inventory"] | odd}
            assert "not of the type" in fault(agent.post("/continue_inspection", json=wrong), 400), odd
        assert "'lldp_raw'" in fault(agent.post("/continue_inspection", json=data | {"lldp_raw": [5]}), 400)
        data["inventory"]["interfaces"].append({"mac_address": "80:00:02:08:fe:80:00:00:00:00:00:00:e4:1d"})
        answer = agent.post("/continue_inspection", json=data)
        assert (answer.status_code, answer.json()) == (202, {"uuid": node})
    cloud.settle()
    assert metal.get(f"/nodes/{node}/inventory").json()["inventory"]["cpu"] == {"count": 2}
    assert metal.get(f"/nodes/{node}/states").json()["provision_state"] == "manageable"
