"""Nics are plugged, moved and pulled; switches and gateways die in between; nothing is left behind."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hagane.baremetal import rack as racks
from hagane.baremetal import service_port
from hagane.drivers.switch.base import SwitchGroup, SwitchPort
from hagane.errors import Conflict, DeviceFailed, Invalid, NotFound
from hagane.network.port_row import PORT
from hagane.network.security_group_row import RULE
from hagane.reconcile.ovn.engine import ChassisSeen, SimOvn
from tests.scenarios.rack_world import OTHER, RackWorld, beside, rack_world

T1, T2 = ("tor1", "e1"), ("tor2", "e1")


@pytest.fixture
async def w(tmp_path: Path) -> AsyncIterator[RackWorld]:
    async with rack_world(tmp_path) as made:
        yield made


async def test_service_role_makes_one_port_and_takes_it_away(w: RackWorld) -> None:
    node = await w.node(T1, T2)
    [port] = await w.plugged(node, "provisioning", dhcp={"bootfile-name": "http://172.30.16.2/boot"})
    assert (port["device_owner"], port["device_id"]) == ("baremetal:provisioning", node["id"])
    assert port["mac_address"] == "52:54:02:00:01:00"
    assert (port["binding_host_id"], port["binding_vif_type"], port["status"]) == ("gw1", "other", "ACTIVE")
    assert port["binding_vif_details"]["binding"] == "guarded"
    assert port["extra_dhcp_opts"][0]["opt_value"] == "http://172.30.16.2/boot"
    vlan = port["binding_vif_details"]["vlan"]
    assert w.switches["tor1"].ports["e1"] == SwitchPort(native=vlan)
    assert "e1" not in w.switches["tor2"].ports  # that Nic carries nothing, and never did
    assert [patch.vlan for patch in w.gateways["gw1"].patches().values()] == [vlan]
    assert w.gateways["gw1"].patches() == w.gateways["gw2"].patches()
    await w.unplug(node)
    await w.until(lambda: _no_patches(w))
    assert await PORT.get(w.db, id=port["id"]) is None
    answer = await w.admin.delete(f"/baremetal/v1/nodes/{node['id']}")
    assert answer.status_code == 204, answer.text
    await w.until(lambda: _no_leaks(w))
    assert w.switches["tor1"].ports["e1"] == SwitchPort()


async def _no_patches(w: RackWorld) -> bool:
    return not any(gateway.patches() for gateway in w.gateways.values())


async def _no_leaks(w: RackWorld) -> bool:
    return not await w.leaks()


async def test_change_of_role_touches_no_switch(w: RackWorld) -> None:
    node = await w.node(T1, T2)
    [first] = await w.plugged(node, "provisioning")
    net = await w.network("tenant", "10.0.0.0/24", w.member)
    vif = await w.port(net, w.member)
    await w.give(node, vif["id"])
    commits = w.switches["tor1"].commits, w.switches["tor2"].commits
    [second] = await w.plugged(node, "tenant")
    assert second["id"] == vif["id"]
    assert second["mac_address"] == "52:54:02:00:01:00"
    assert second["binding_vif_details"]["vlan"] == first["binding_vif_details"]["vlan"]
    assert (w.switches["tor1"].commits, w.switches["tor2"].commits) == commits
    assert await PORT.get(w.db, id=first["id"]) is None
    [patch] = w.gateways["gw1"].patches().values()
    assert patch.port_id == vif["id"]
    [third] = await w.plugged(node, "cleaning")
    assert third["device_owner"] == "baremetal:cleaning"
    free = await PORT.get(w.db, id=vif["id"])
    assert free is not None
    assert (free["binding_vif_type"], free["binding_host_id"], free["status"]) == ("unbound", "", "DOWN")
    assert free["mac_address"] == "52:54:02:00:01:00"  # what its neighbours know, it will have again
    await w.unplug(node)
    free = await PORT.get(w.db, id=vif["id"])
    assert free is not None
    assert free["mac_address"] != "52:54:02:00:01:00"  # a Nic's, for its next tenant
    assert (w.switches["tor1"].commits, w.switches["tor2"].commits) == commits


async def test_same_call_again_changes_nothing(w: RackWorld) -> None:
    node = await w.node(T1)
    [port] = await w.plugged(node, "provisioning", dhcp={"a": "b"})
    [again] = await w.plug(node, "provisioning", dhcp={"a": "b"})
    assert again == port
    assert (await PORT.get(w.db, id=port["id"])) == port


async def test_direct_needs_the_switch_and_filters_nothing(w: RackWorld) -> None:
    node = await w.node(T1)
    net = await w.network("wire", "10.2.0.0/24", **{"provider:network_type": "vlan",
                          "provider:physical_network": "rack1", "provider:segmentation_id": 77})  # fmt: skip
    vif = await w.port(net, port_security_enabled=False)
    await w.give(node, vif["id"])
    [port] = await w.plugged(node, "tenant")
    assert port["status"] == "ACTIVE"
    assert port["binding_vif_details"]["binding"] == "direct"
    assert w.switches["tor1"].ports["e1"].native == 77
    assert w.switches["tor1"].ports["up1"].tagged >= {77, 1001}
    await w.until(lambda: _no_patches(w))
    # Asked to filter, it has to go through the gateway; the API says so by its binding, and it happens.
    path = f"/network/v2.0/ports/{vif['id']}"
    answer = await w.admin.put(path, json={"port": {"port_security_enabled": True}})
    assert answer.status_code == 200, answer.text
    assert answer.json()["port"]["binding:vif_details"]["binding"] == "guarded"
    await w.so(node)
    assert w.switches["tor1"].ports["e1"].native == 1001
    assert [patch.port_id for patch in w.gateways["gw1"].patches().values()] == [vif["id"]]
    answer = await w.admin.put(path, json={"port": {"port_security_enabled": False, "security_groups": []}})
    assert answer.json()["port"]["binding:vif_details"]["binding"] == "direct"
    await w.so(node)
    assert w.switches["tor1"].ports["e1"].native == 77
    await w.admin.put(path, json={"port": {"admin_state_up": False}})
    await w.until(lambda: _native(w, "tor1", 1001))  # a dead end
    await w.admin.put(path, json={"port": {"admin_state_up": True}})
    await w.until(lambda: _native(w, "tor1", 77))
    answer = await w.admin.put(path, json={"port": {"mac_address": "52:54:02:99:99:99"}})
    assert answer.json()["NeutronError"]["type"] == "PortBound"
    answer = await w.admin.put(f"/network/v2.0/networks/{net}", json={"network": {"provider:segmentation_id": 78}})
    assert answer.status_code == 200, answer.text
    await w.so(node)
    assert w.switches["tor1"].ports["e1"].native == 78


async def _native(w: RackWorld, switch: str, vlan: int) -> bool:
    return w.switches[switch].ports["e1"].native == vlan


async def test_nics_leave_their_group_with_its_vlan(w: RackWorld) -> None:
    node = await w.node(T1, T2, group=True)
    [port] = await w.plugged(node, "provisioning")
    await w.unplug(node)
    for nic in (await w.admin.get(f"/baremetal/v1/nodes/{node['id']}/ports")).json()["ports"]:
        patch = [{"op": "remove", "path": "/portgroup_uuid"}]
        answer = await w.admin.patch(f"/baremetal/v1/ports/{nic['uuid']}", json=patch)
        assert answer.status_code == 200, answer.text
    [alone] = await w.plugged(node, "provisioning")
    assert alone["binding_vif_details"]["vlan"] == port["binding_vif_details"]["vlan"]
    group = (await w.admin.get("/baremetal/v1/portgroups")).json()["portgroups"][0]
    assert (await w.admin.delete(f"/baremetal/v1/portgroups/{group['uuid']}")).status_code == 204
    await w.unplug(node)
    assert (await w.admin.delete(f"/baremetal/v1/nodes/{node['id']}")).status_code == 204
    await w.until(lambda: _no_leaks(w))


async def test_security_that_nobody_could_enforce_is_refused(w: RackWorld) -> None:
    node = await w.node(T1)
    net = await w.network("wire", "10.2.0.0/24", **{"provider:network_type": "vlan",
                          "provider:physical_network": "rack1"})  # fmt: skip
    vif = await w.port(net, port_security_enabled=False)
    await w.give(node, vif["id"])
    await w.put_rack(gateways=[])
    await w.plugged(node, "tenant")
    answer = await w.admin.put(f"/network/v2.0/ports/{vif['id']}", json={"port": {"port_security_enabled": True}})
    assert answer.status_code == 409
    assert answer.json()["NeutronError"]["type"] == "PortBindingError"
    assert "it has no gateway" in answer.json()["NeutronError"]["message"]
    await w.unplug(node)
    await w.admin.put(f"/network/v2.0/ports/{vif['id']}", json={"port": {"port_security_enabled": True}})
    with pytest.raises(Conflict, match="it has no gateway"):
        await w.plug(node, "tenant")


async def test_nics_without_a_way_are_refused_in_words(w: RackWorld) -> None:
    with pytest.raises(Conflict, match="has no Link"):
        await w.plug(await w.node(None), "provisioning")
    node = await w.node(("tor1", "up1"))
    with pytest.raises(Conflict, match="is the trunk of gateway gw1"):
        await w.plug(node, "provisioning")
    await w.plug(await w.node(T1), "provisioning")
    with pytest.raises(Conflict, match="carries Nic"):
        await w.plug(await w.node(T1), "provisioning")
    with pytest.raises(Invalid, match="no role"):
        await w.plug(node, "party")
    with pytest.raises(NotFound, match="no network 'nowhere'"):
        await w.plug(await w.node(T2, provisioning_network="nowhere"), "provisioning")


async def test_a_tenants_network_of_that_name_is_not_taken(w: RackWorld) -> None:
    await w.network("lure", "10.3.0.0/24", w.client("member,reader", OTHER))
    with pytest.raises(NotFound):
        await w.plug(await w.node(T1, provisioning_network="lure"), "provisioning")


async def test_nodes_in_the_ramdisk_see_the_service_only(w: RackWorld) -> None:
    node = await w.node(T1)
    [port] = await w.plugged(node, "provisioning")
    group = service_port.group_id(w.network_id)
    assert port["security_groups"] == [group]
    assert await RULE.select(w.db, {"security_group_id": group}) == []
    service = await w.port(
        w.network_id, device_id=service_port.device(w.network_id), device_owner="network:provisioning"
    )
    address = service["fixed_ips"][0]["ip_address"]
    await w.plug(node, "provisioning")
    rules = await RULE.select(w.db, {"security_group_id": group})
    assert {(rule["direction"], rule["remote_ip_prefix"]) for rule in rules} == {
        ("ingress", f"{address}/32"), ("egress", f"{address}/32")
    }  # fmt: skip
    await w.admin.delete(f"/network/v2.0/security-group-rules/{rules[0]['id']}")
    await w.plug(node, "provisioning")
    assert len(await RULE.select(w.db, {"security_group_id": group})) == 2


async def test_group_of_nics_carries_one_port(w: RackWorld) -> None:
    node = await w.node(T1, T2, group=True)
    vif = await w.port(await w.network("tenant", "10.0.0.0/24"))
    await w.give(node, vif["id"])
    [port] = await w.plugged(node, "tenant")
    vlan = port["binding_vif_details"]["vlan"]
    assert port["mac_address"] == "52:54:03:00:00:01"
    assert len(port["binding_profile"]["local_link_information"]) == 2
    for switch in w.switches.values():
        assert switch.groups == {f"bond{vlan}": SwitchGroup(native=vlan)}
        assert switch.ports["e1"].group == f"bond{vlan}"
    assert len(w.gateways["gw1"].patches()) == 1
    [service] = await w.plugged(node, "provisioning")
    assert service["mac_address"] == "52:54:02:00:01:00"  # of the Nic that boots


async def test_dead_switch_delays_itself_only(w: RackWorld) -> None:
    one, other = await w.node(T1), await w.node(T2)
    w.switches["tor1"].dead = True
    await w.plug(one, "provisioning")
    await w.plugged(other, "provisioning")
    await w.until(lambda: _says(w, one, "does not answer"))
    assert "port e1 of switch tor1" in await w.pending(one)

    async def explained() -> bool:
        found = (await w.admin.get("/hagane/v1/explain/switch/tor1")).json()
        said = [wait["reason"] for wait in found["waits"]]
        return said == ["The switch does not answer."] and bool(found["state"].startswith("down"))

    await w.until(explained)
    w.switches["tor1"].dead = False
    await w.so(one)


async def _says(w: RackWorld, node: dict[str, object], text: str) -> bool:
    return text in await w.pending(node)


async def test_one_commit_for_all_that_waits_and_never_two_at_a_time(w: RackWorld) -> None:
    nodes = [await w.node(("tor1", f"e{n}")) for n in range(8)]
    switch = w.switches["tor1"]
    switch.delay = 0.05
    before = switch.commits
    for node in nodes:
        await w.plug(node, "provisioning")
    await asyncio.gather(*(w.so(node) for node in nodes))
    assert switch.commits - before <= 3
    assert switch.most_at_once == 1


async def test_lost_answer_is_no_lost_change(w: RackWorld) -> None:
    node = await w.node(T1)
    w.switches["tor1"].lost = True
    await w.plugged(node, "provisioning")
    assert w.switches["tor1"].ports["e1"].native == 1001


async def test_refusal_of_one_port_holds_up_no_other(w: RackWorld) -> None:
    switch = w.switches["tor1"]
    switch._any = False
    switch.ports |= {"up1": SwitchPort(native=1), "e1": SwitchPort(native=1)}
    good, bad = await w.node(T1), await w.node(("tor1", "e99"))
    await w.plug(bad, "provisioning")
    await w.plugged(good, "provisioning")
    await w.until(lambda: _says(w, bad, "there is no such port"))


async def test_a_switch_that_only_says_yes_is_caught(w: RackWorld) -> None:
    node = await w.node(T1)
    w.switches["tor1"].ignored = frozenset({"e1"})
    await w.plug(node, "provisioning")
    await w.until(lambda: _says(w, node, "port e1: native is 1 instead of 1001"))
    w.switches["tor1"].ignored = frozenset()
    w.switches["tor1"].meddle("e2", SwitchPort(native=1))  # it is looked at again
    await w.so(node)


async def test_refusing_switch_says_why(w: RackWorld) -> None:
    node = await w.node(T1)

    async def says() -> bool:
        w.switches["tor1"].fault = DeviceFailed("Wrong password.")  # at every exchange
        return await _says(w, node, "Wrong password.")

    assert not await says()
    await w.plug(node, "provisioning")
    await w.until(says)
    w.switches["tor1"].fault = None
    await w.so(node)
    assert w.switches["tor1"].ports["e1"].native == 1001


async def test_meddling_is_repaired_and_told(w: RackWorld) -> None:
    node = await w.node(T1)
    await w.plugged(node, "provisioning")
    w.switches["tor1"].meddle("e1", SwitchPort(native=1))

    async def right() -> bool:
        return w.switches["tor1"].ports["e1"].native == 1001

    await w.until(right, 3)

    async def told() -> bool:
        answer = await w.admin.get("/hagane/v1/explain/switch/tor1")
        return any("Somebody changed e1" in step["message"] for step in answer.json()["steps"])

    await w.until(told, 3)
    found = (await w.admin.get("/hagane/v1/findings")).json()["findings"]
    assert any("Switch tor1" in one["what"] and "Somebody changed e1" in one["what"] for one in found)
    [(owner, _)] = w.gateways["gw1"].patches().items()
    w.gateways["gw1"].meddle(owner, None)

    async def back() -> bool:
        return owner in w.gateways["gw1"].patches()

    await w.until(back, 3)


async def test_dead_gateway_gives_its_ports_to_another(w: RackWorld) -> None:
    node = await w.node(T1)
    [port] = await w.plugged(node, "provisioning")
    w.gateways["gw1"].power(on=False)

    async def on(name: str) -> bool:
        row = await PORT.get(w.db, id=port["id"])
        return row is not None and row["binding_host_id"] == name

    await w.until(lambda: on("gw2"), 5)
    assert (await w.rack())["gateways"][0]["state"] == "down"
    await w.until(lambda: _trunk(w, "tor1", on=False))
    w.gateways["gw2"].power(on=False)
    await asyncio.sleep(1)
    assert await _trunk(w, "tor2", on=True)  # the last one stays, whatever it looks like
    w.gateways["gw2"].power(on=True)
    await w.until(lambda: _state(w, "gw2", "up"))
    w.gateways["gw1"].power(on=True)
    await w.until(lambda: w.all_up())
    assert await on("gw2")  # it stays where it is
    await w.until(lambda: _trunk(w, "tor1", on=True))
    await w.so(node)


async def _state(w: RackWorld, name: str, state: str) -> bool:
    return any(one["name"] == name and one["state"] == state for one in (await w.rack())["gateways"])


async def _trunk(w: RackWorld, switch: str, *, on: bool) -> bool:
    return w.switches[switch].ports["up1"].enabled is on


async def test_gateway_that_ovn_calls_dead_gives_its_ports_away(tmp_path: Path) -> None:
    """Its database answers, and its ovn-controller does nothing."""
    ovn = SimOvn([ChassisSeen(name, name) for name in ("gw1", "gw2")])
    async with rack_world(tmp_path, ovn=ovn) as w:
        node = await w.node(T1)
        [port] = await w.plugged(node, "provisioning")
        assert port["binding_host_id"] == "gw1"
        ovn._chassis = [ChassisSeen("gw1", "gw1", alive=False), ChassisSeen("gw2", "gw2")]
        w.gateways["gw1"].power(on=True)  # it has news

        async def moved() -> bool:
            row = await PORT.get(w.db, id=port["id"])
            return row is not None and row["binding_host_id"] == "gw2"

        await w.until(moved)
        shown = (await w.admin.get("/hagane/v1/explain/rack_gateway/gw1")).json()
        assert "does not keep up with OVN" in shown["state"]


async def test_killed_in_the_middle_goes_on(tmp_path: Path) -> None:
    async with rack_world(tmp_path) as w:
        switches, gateways = w.switches, w.gateways
        node = await w.node(T1, T2, group=True)
        switches["tor1"].delay = 5
        await w.plug(node, "provisioning")
        network_id = w.network_id
    switches["tor1"].delay = 0
    async with beside(tmp_path, switches, gateways) as w:
        w.network_id = network_id
        await w.so(node)
        assert switches["tor1"].ports["e1"].group == switches["tor2"].ports["e1"].group == "bond1001"
        await w.unplug(node)
        answer = await w.admin.delete(f"/baremetal/v1/nodes/{node['id']}")
        assert answer.status_code == 204, answer.text
        await w.until(lambda: _no_leaks(w))
        assert not switches["tor1"].groups


async def test_enrolled_anew_takes_over_wire_and_vlan(w: RackWorld) -> None:
    node = await w.node(T1)
    [old] = await w.plugged(node, "provisioning")
    w.switches["tor1"].dead = True  # so that nobody can clear the port
    await w.admin.delete(f"/baremetal/v1/nodes/{node['id']}")
    again = await w.node(T1)
    [new] = await w.plug(again, "provisioning")
    assert new["binding_vif_details"]["vlan"] == old["binding_vif_details"]["vlan"]
    third = await w.node(T2)
    [other] = await w.plug(third, "provisioning")
    assert other["binding_vif_details"]["vlan"] != new["binding_vif_details"]["vlan"]
    w.switches["tor1"].dead = False
    await w.so(again)


async def test_cable_to_another_port_takes_the_network_along(w: RackWorld) -> None:
    node = await w.node(T1)
    [port] = await w.plugged(node, "provisioning")
    await w.admin.put(f"/baremetal/v1/nodes/{node['id']}/maintenance")
    [nic] = (await w.admin.get(f"/baremetal/v1/nodes/{node['id']}/ports")).json()["ports"]

    async def cable(name: str) -> int:
        patch = [{"op": "replace", "path": "/local_link_connection/port_id", "value": name}]
        return (await w.admin.patch(f"/baremetal/v1/ports/{nic['uuid']}", json=patch)).status_code

    assert await cable("e7") == 200
    await w.so(node)
    vlan = port["binding_vif_details"]["vlan"]
    assert w.switches["tor1"].ports["e7"].native == vlan
    await w.until(lambda: _is_dead(w, "e1"))
    [again] = await PORT.select(w.db, {"id": port["id"]})
    assert again["binding_profile"]["local_link_information"][0]["port_id"] == "e7"
    assert await cable("up1") == 409  # the trunk of a gateway
    await w.unplug(node)
    assert await cable("e8") == 200
    await w.until(lambda: _is_dead(w, "e7"))


async def _is_dead(w: RackWorld, name: str) -> bool:
    return w.switches["tor1"].ports[name] == SwitchPort()


async def test_deleted_port_leaves_a_dead_end(w: RackWorld) -> None:
    node = await w.node(T1)
    vif = await w.port(await w.network("tenant", "10.0.0.0/24"))
    await w.give(node, vif["id"])
    await w.plugged(node, "tenant")
    answer = await w.admin.delete(f"/network/v2.0/ports/{vif['id']}")
    assert answer.status_code == 204
    await w.until(lambda: _no_patches(w))


async def test_no_vlan_left_is_said(w: RackWorld) -> None:
    for number in range(10):
        await w.plug(await w.node(("tor1", f"e{number}")), "provisioning")
    with pytest.raises(Conflict, match="no private VLAN left: all of 1001-1010 are taken"):
        await w.plug(await w.node(("tor1", "e10")), "provisioning")


async def test_networks_get_none_of_the_private_vlans(w: RackWorld) -> None:
    node = await w.node(T1)
    await w.plugged(node, "provisioning")
    vlan = {"provider:network_type": "vlan", "provider:physical_network": "rack1"}
    answer = await w.admin.post("/network/v2.0/networks", json={"network": vlan | {"provider:segmentation_id": 1001}})
    assert answer.json()["NeutronError"]["type"] == "VlanIdInUse"
    answer = await w.admin.post("/network/v2.0/networks", json={"network": vlan})
    assert answer.json()["network"]["provider:segmentation_id"] == 2
    assert await racks.trunk_tags(w.db, (await w.rack())["id"]) == {2, 1001}


async def test_two_processes_on_one_store(tmp_path: Path, postgres_url: str) -> None:
    """Both plug and both reconcile: every Nic gets a VLAN of its own, no switch is spoken to by two at a time."""
    ovn = SimOvn([])
    async with (
        rack_world(tmp_path, postgres_url, ovn) as one,
        beside(tmp_path, one.switches, one.gateways, postgres_url, ovn) as other,
    ):
        other.network_id = one.network_id
        nodes = [await one.node(("tor1", f"e{number}")) for number in range(6)]
        for switch in one.switches.values():
            switch.delay = 0.02
        worlds = [one, other] * 3
        ports = await asyncio.gather(*(w.plug(node, "provisioning") for w, node in zip(worlds, nodes, strict=True)))
        await asyncio.gather(*(one.so(node) for node in nodes))
        assert len({port["binding_vif_details"]["vlan"] for [port] in ports}) == 6
        assert one.switches["tor1"].most_at_once == 1
        assert len(one.gateways["gw1"].patches()) == 6
        await asyncio.gather(*(w.unplug(node) for w, node in zip(worlds, nodes, strict=True)))
        await one.until(lambda: _no_patches(one))
