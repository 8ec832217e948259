"""The life of Servers that are bare-metal Nodes, on simulated Nodes: orders, actions, ends."""

import asyncio
from pathlib import Path
from typing import Any

from hagane.baremetal.node import NODE
from hagane.network.port_row import PORT
from hagane.placement.host import HOST
from tests.scenarios.steel_world import NODES, PROJECT, V21, Steel, steel


async def test_create_and_delete(tmp_path: Path) -> None:
    async with steel(tmp_path, 1) as w:
        made = await w.create(user_data="I2Nsb3VkLWNvbmZpZwo=")
        server = await w.becomes(made["id"], "ACTIVE")
        node = await w.node((await w.row(made["id"]))["node_id"])
        assert node["provision_state"] == "active"
        assert (node["instance_id"], node["instance_name"]) == (made["id"], "one")
        info = node["instance_info"]
        assert {name: info[name] for name in ("image_source", "root_gb", "display_name", "vcpus", "memory_mb")} == {
            "image_source": w.image_id, "root_gb": "1", "display_name": "one", "vcpus": "1", "memory_mb": "512",
        }  # fmt: skip
        assert info["configdrive"] == "******"  # there, and hidden
        assert server["OS-EXT-SRV-ATTR:hypervisor_hostname"] == node["id"]
        assert server["OS-EXT-SRV-ATTR:host"] == "hagane"
        assert server["OS-EXT-AZ:availability_zone"] == "nova"
        nics = await w.db.fetch("SELECT address, vif FROM nic WHERE vif IS NOT NULL")
        assert [a["OS-EXT-IPS-MAC:mac_addr"] for a in server["addresses"]["net"]] == [nics[0]["address"]]
        steps = [event["event"] for event in reversed(await w.events(made["id"], {"tenant-dhcp", "reachable"}))]
        assert (steps[0], steps[-2:]) == ("schedule", ["tenant-dhcp", "reachable"])
        await w.end(made["id"])
        await w.all_free()
        assert await w.metal_leaks() == {}


async def test_two_servers_race_for_one_node(tmp_path: Path) -> None:
    async with steel(tmp_path, 1) as w:
        made = await asyncio.gather(w.create(), w.create())
        shown = [await w.settled(one["id"]) for one in made]
        assert sorted(server["status"] for server in shown if server) == ["ACTIVE", "ERROR"]
        lost = next(server for server in shown if server and server["status"] == "ERROR")
        assert lost["fault"]["message"] == "No valid host was found. There are not enough hosts available."
        assert "No node of the flavor's resource class is available." in lost["fault"]["details"]
        for one in made:
            await w.end(one["id"])
        await w.all_free()
        assert await w.metal_leaks() == {}


async def test_a_failing_node_is_left(tmp_path: Path) -> None:
    """The Server goes to another Node; the failed one is undeployed, cleaned, and comes last from then on."""
    async with steel(tmp_path, 2) as w:
        first, second = [row["id"] for row in await NODE.select(w.db, order="provision_updated_at, created_at")]
        await w.fails(first, "PowerOn", "no power today")
        made = await w.create()
        await w.becomes(made["id"], "ACTIVE")
        row = await w.row(made["id"])
        assert row["node_id"] == second
        assert [(one["host"], one["why"]) for one in row["tried"]] == [(first, row["tried"][0]["why"])]
        assert "no power today" in row["tried"][0]["why"]
        assert (await w.node_is(first, "available"))["instance_id"] is None
        await w.end(made["id"])
        await w.all_free()
        assert await w.metal_leaks() == {}


async def test_all_nodes_fail(tmp_path: Path) -> None:
    """Three are tried; the fault names each with its cause, and every Node is free again."""
    async with steel(tmp_path, 4) as w:
        for number, node in enumerate(await NODE.select(w.db)):
            await w.fails(node["id"], "PowerOn", f"fuse {number} is blown")
        made = await w.create()
        shown = await w.becomes(made["id"], "ERROR")
        assert shown["fault"]["message"].startswith("Exceeded maximum number of retries.")
        assert shown["fault"]["details"].count("is blown") == 3
        await w.all_free()
        await w.end(made["id"])
        assert await w.metal_leaks() == {}


async def test_delete_while_deploying(tmp_path: Path) -> None:
    async with steel(tmp_path, 1) as w:
        node = (await NODE.select(w.db))[0]
        await w.slow(node["id"], 0.3)
        made = await w.create()

        async def begun() -> bool:
            return (await w.node(node["id"]))["provision_state"] != "available"

        await w.until(begun)
        await w.end(made["id"])
        await w.slow(node["id"], 0.0)
        await w.all_free()
        assert await w.metal_leaks() == {}


async def test_power(tmp_path: Path) -> None:
    """start, stop, reboot; and what the operator does to the machine is what the Server shows."""
    async with steel(tmp_path, 1) as w:
        server = (await w.create())["id"]
        await w.becomes(server, "ACTIVE")
        node = (await w.row(server))["node_id"]
        assert (await w.act(server, **{"os-stop": None})).status_code == 202
        assert (await w.becomes(server, "SHUTOFF"))["OS-EXT-STS:power_state"] == 4
        assert (await w.act(server, **{"os-start": None})).status_code == 202
        assert (await w.becomes(server, "ACTIVE"))["OS-EXT-STS:power_state"] == 1
        before = (await w.bmc(node)).starts
        for kind in ("SOFT", "HARD"):
            assert (await w.act(server, reboot={"type": kind})).status_code == 202
            await w.becomes(server, "ACTIVE")
        assert (await w.bmc(node)).starts == before + 2
        assert (await w.power(node, "power off")).status_code == 202
        await w.becomes(server, "SHUTOFF")
        await w.fails(node, "PowerOn", "the fuse is blown")
        assert (await w.act(server, **{"os-start": None})).status_code == 202
        shown = await w.becomes(server, "SHUTOFF")
        assert "the fuse is blown" in str((await w.row(server))["fault"]), shown
        await w.fails(node, "PowerOn")
        await w.end(server)
        await w.all_free()
        assert await w.metal_leaks() == {}


async def test_rebuild_and_rescue(tmp_path: Path) -> None:
    async with steel(tmp_path, 1) as w:
        server = (await w.create())["id"]
        before = await w.becomes(server, "ACTIVE")
        node = (await w.row(server))["node_id"]
        assert (await w.act(server, rebuild={"imageRef": w.image_id, "name": "two"})).status_code == 202
        shown = await w.becomes(server, "ACTIVE")
        assert (shown["name"], shown["addresses"]) == ("two", before["addresses"])
        assert (await w.row(server))["node_id"] == node
        answer = await w.act(server, rescue={"adminPass": "secret123"})
        assert (answer.status_code, answer.json()) == (200, {"adminPass": "secret123"})
        await w.becomes(server, "RESCUE")
        assert (await w.node(node))["provision_state"] == "rescue"
        assert (await w.act(server, unrescue=None)).status_code == 202
        await w.becomes(server, "ACTIVE")
        assert (await w.node(node))["provision_state"] == "active"
        await w.end(server)
        await w.all_free()
        assert await w.metal_leaks() == {}


async def test_a_rebuild_that_fails(tmp_path: Path) -> None:
    """The Server is in error with the cause; a second rebuild makes it whole."""
    async with steel(tmp_path, 1) as w:
        server = (await w.create())["id"]
        await w.becomes(server, "ACTIVE")
        node = (await w.row(server))["node_id"]
        await w.fails(node, "apply", "the BMC is on fire")
        assert (await w.act(server, rebuild={"imageRef": w.image_id})).status_code == 202
        shown = await w.becomes(server, "ERROR")
        assert "the BMC is on fire" in shown["fault"]["message"]
        await w.fails(node, "apply")
        assert (await w.act(server, rebuild={"imageRef": w.image_id})).status_code == 202
        await w.becomes(server, "ACTIVE")
        await w.end(server)
        await w.all_free()
        assert await w.metal_leaks() == {}


async def test_what_steel_cannot_do(tmp_path: Path) -> None:
    async with steel(tmp_path, 1) as w:
        server = (await w.create())["id"]
        await w.becomes(server, "ACTIVE")
        for action in ({"pause": None}, {"createImage": {"name": "snap"}}):
            answer = await w.act(server, **action)
            assert answer.status_code == 501, answer.text
            assert "The requested functionality is not supported" in answer.text
        assert (await w.settled(server) or {})["status"] == "ACTIVE"
        await w.end(server)


async def _order(w: Steel, **specs: str) -> str:
    """A Server of a flavor with these extra specs beside the usual ones."""
    name = "-".join(f"{key}-{value}" for key, value in specs.items()).replace(":", "_")
    flavor = {"name": name, "ram": 512, "vcpus": 1, "disk": 1, "id": name}
    assert (await w.admin.post(f"{V21}/flavors", json={"flavor": flavor})).status_code == 200
    body = {"extra_specs": {"resources:CUSTOM_BM_SMALL": "1"} | specs}
    assert (await w.admin.post(f"{V21}/flavors/{name}/os-extra_specs", json=body)).status_code == 200
    return str((await w.create(flavorRef=name))["id"])


async def test_traits(tmp_path: Path) -> None:
    async with steel(tmp_path, 1) as w:
        fast = await w.enrol("fast", traits=("CUSTOM_FAST",))
        server = await _order(w, **{"trait:CUSTOM_FAST": "required"})
        await w.becomes(server, "ACTIVE")
        assert (await w.row(server))["node_id"] == fast
        assert (await w.node(fast))["instance_info"]["traits"] == ["CUSTOM_FAST"]
        none = await w.becomes(await _order(w, **{"trait:CUSTOM_GPU": "required"}), "ERROR")
        assert "bm1: it lacks the traits CUSTOM_GPU" in none["fault"]["details"]
        other = await _order(w, **{"trait:CUSTOM_FAST": "forbidden"})
        assert (await w.becomes(other, "ACTIVE"))["OS-EXT-SRV-ATTR:hypervisor_hostname"] != fast
        for one in (server, none["id"], other):
            await w.end(one)


async def test_a_flavor_that_asks_for_two_nodes(tmp_path: Path) -> None:
    async with steel(tmp_path, 0) as w:
        specs = {"extra_specs": {"resources:CUSTOM_BM_SMALL": "2"}}
        assert (await w.admin.post(f"{V21}/flavors/metal/os-extra_specs", json=specs)).status_code == 200
        body = {"name": "x", "imageRef": w.image_id, "flavorRef": "metal", "networks": "none"}
        answer = await w.member.post(f"{V21}/servers", json={"server": body})
        assert answer.status_code == 400
        assert "one whole bare-metal node" in answer.text


async def test_more_networks_than_nics(tmp_path: Path) -> None:
    async with steel(tmp_path, 1) as w:
        wanted = [{"uuid": w.network_id}] * 3
        server = (await w.create(networks=wanted))["id"]
        shown = await w.becomes(server, "ERROR")
        assert "bm1: it has 2 free network interface(s), and 3 are wanted" in shown["fault"]["details"]
        await w.end(server)
        assert await w.metal_leaks() == {}


async def _interfaces(w: Steel, server: str) -> list[dict[str, Any]]:
    return list((await w.member.get(f"{V21}/servers/{server}/os-interface")).json()["interfaceAttachments"])


async def test_attach_and_detach(tmp_path: Path) -> None:
    async with steel(tmp_path, 1) as w:
        server = (await w.create())["id"]
        await w.becomes(server, "ACTIVE")
        path, body = f"{V21}/servers/{server}/os-interface", {"interfaceAttachment": {"net_id": w.network_id}}
        answer = await w.member.post(path, json=body)
        assert answer.status_code == 200, answer.text
        second = answer.json()["interfaceAttachment"]
        nics = await w.db.fetch("SELECT address FROM nic WHERE vif = :vif", {"vif": second["port_id"]})
        assert nics == [{"address": second["mac_addr"]}]
        await w.settled(server)
        answer = await w.member.post(path, json=body)
        assert answer.status_code == 400
        assert "not enough free physical ports" in answer.text
        assert len(await _interfaces(w, server)) == 2
        assert (await w.member.delete(f"{path}/{second['port_id']}")).status_code == 202
        await w.settled(server)
        assert len(await _interfaces(w, server)) == 1
        assert await PORT.get(w.db, id=second["port_id"]) is None
        await w.end(server)
        await w.all_free()
        assert await w.metal_leaks() == {}


async def test_a_port_of_ones_own(tmp_path: Path) -> None:
    """It has the Nic's MAC address as long as the Server has it, and outlives the Server."""
    async with steel(tmp_path, 1) as w:
        port = {"network_id": w.network_id, "name": "mine"}
        made = (await w.member.post("/network/v2.0/ports", json={"port": port})).json()["port"]
        server = (await w.create(networks=[{"port": made["id"]}]))["id"]
        await w.becomes(server, "ACTIVE")
        during = await PORT.get(w.db, id=made["id"])
        nics = await w.db.fetch("SELECT address FROM nic WHERE vif = :vif", {"vif": made["id"]})
        assert during is not None
        assert nics == [{"address": during["mac_address"]}]
        assert during["fixed_ips"] == made["fixed_ips"]
        await w.end(server)
        after = await PORT.get(w.db, id=made["id"])
        assert after is not None
        assert (after["device_id"], after["binding_host_id"]) == ("", "")
        assert after["mac_address"] != during["mac_address"]


async def test_undeployed_behind_its_back(tmp_path: Path) -> None:
    async with steel(tmp_path, 1) as w:
        server = (await w.create())["id"]
        await w.becomes(server, "ACTIVE")
        node = (await w.row(server))["node_id"]
        assert (await w.told(node, "deleted")).status_code == 202
        shown = await w.becomes(server, "ERROR")
        assert shown["fault"]["message"] == "Its bare-metal node is not its own any more."
        await w.all_free()
        assert (await w.act(server, rebuild={"imageRef": w.image_id})).status_code == 202
        await w.becomes(server, "ACTIVE")
        await w.end(server)
        await w.all_free()
        assert await w.metal_leaks() == {}


async def test_delete_in_maintenance(tmp_path: Path) -> None:
    async with steel(tmp_path, 1) as w:
        server = (await w.create())["id"]
        await w.becomes(server, "ACTIVE")
        node = (await w.row(server))["node_id"]
        assert (await w.metal.put(f"{NODES}/{node}/maintenance", json={"reason": "look"})).status_code == 202
        await w.end(server)
        assert (await w.node(node))["instance_id"] is None


async def test_a_protected_node_is_kept(tmp_path: Path) -> None:
    """Its Server cannot be deleted, says why, and can be once the operator allows it."""
    async with steel(tmp_path, 1) as w:
        server = (await w.create())["id"]
        await w.becomes(server, "ACTIVE")
        node = (await w.row(server))["node_id"]
        patch = [{"op": "replace", "path": "/protected", "value": True}]
        assert (await w.metal.patch(f"{NODES}/{node}", json=patch)).status_code == 200
        assert (await w.member.delete(f"{V21}/servers/{server}")).status_code == 204
        shown = await w.becomes(server, "ERROR")
        assert "is protected and cannot be undeployed" in shown["fault"]["message"]
        patch[0]["value"] = False
        assert (await w.metal.patch(f"{NODES}/{node}", json=patch)).status_code == 200
        await w.end(server)
        await w.all_free()
        assert await w.metal_leaks() == {}


async def test_placement_and_hypervisors(tmp_path: Path) -> None:
    """A Node is a provider of one of its class, and a hypervisor of the kind "ironic"."""
    async with steel(tmp_path, 2) as w:
        server = (await w.create())["id"]
        await w.becomes(server, "ACTIVE")
        node = (await w.row(server))["node_id"]
        headers = {"OpenStack-API-Version": "placement 1.39"}

        async def get(path: str) -> dict[str, Any]:
            return dict((await w.admin.get(f"/placement{path}", headers=headers)).json())

        provider = f"/resource_providers/{node}"
        assert (await get(f"{provider}/usages"))["usages"] == {"CUSTOM_BM_SMALL": 1}
        assert (await get(f"{provider}/inventories"))["inventories"]["CUSTOM_BM_SMALL"]["total"] == 1
        held = (await get(f"/allocations/{server}"))["allocations"]
        assert {key: one["resources"] for key, one in held.items()} == {node: {"CUSTOM_BM_SMALL": 1}}
        free = await get("/allocation_candidates?resources=CUSTOM_BM_SMALL:1")
        assert len(free["provider_summaries"]) == 1
        assert node not in free["provider_summaries"]
        shown = (await w.admin.get(f"{V21}/os-hypervisors/detail?with_servers=true")).json()["hypervisors"]
        steel_ones = {one["id"]: one for one in shown if one["hypervisor_type"] == "ironic"}
        assert len(steel_ones) == 2
        assert [one["uuid"] for one in steel_ones[node]["servers"]] == [server]
        assert steel_ones[node]["service"]["host"] == "hagane"
        await w.end(server)


async def test_leased_and_elsewhere(tmp_path: Path) -> None:
    """A Node that is leased to another project, or is not in the zone that was asked for, is not given away."""
    async with steel(tmp_path, 1, lessee="somebody") as w:
        shown = await w.becomes((await w.create())["id"], "ERROR")
        assert "bm1: it is leased to another project" in shown["fault"]["details"]
        await w.end(shown["id"])
        mine = await w.enrol("mine", lessee=PROJECT)
        server = (await w.create())["id"]
        assert (await w.becomes(server, "ACTIVE"))["OS-EXT-SRV-ATTR:hypervisor_hostname"] == mine
        await w.end(server)
        await w.db.write(lambda tx: HOST.update(tx, {"name": "sim1"}, {"zone": "far"}))
        shown = await w.becomes((await w.create(availability_zone="far"))["id"], "ERROR")
        assert "mine: it is in the zone nova, not far" in shown["fault"]["details"]
        await w.end(shown["id"])
