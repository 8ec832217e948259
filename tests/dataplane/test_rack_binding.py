"""Nics of a real rack carry Ports: filtered at the gateway, moved, repaired, taken over, or put straight on the wire."""

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator
from itertools import pairwise
from os import kill
from pathlib import Path

import pytest

from hagane.baremetal import plug
from hagane.errors import HaganeError
from hagane.lab import ovs, rack_gateway
from hagane.lab.process import pid_of
from hagane.network.port_row import PORT
from hagane.state.database import Row, Tx
from tests.dataplane.racklab import Metal, RackLab, rack_lab
from tests.dataplane.space import Guest, blocked

pytestmark = pytest.mark.real
PREFIX = "rbind"


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[RackLab]:
    async with rack_lab(tmp_path, PREFIX) as made:
        yield made


async def tenants(lab: RackLab, net: str, *names: str) -> list[tuple[Row, Metal]]:
    """Machines of the rack on a network, each with its address."""
    found = []
    for name in names:
        node, metal = await lab.metal(name)
        vif = await lab.port(net)
        await lab.give(node, vif["id"])
        [port] = await lab.plugged(node, "tenant")
        assert port["binding_vif_details"]["binding"] == "guarded"
        found.append((node, metal.has(port)))
    return found


async def open_to(source: Guest, target: str, port: int) -> bool:
    return not await asyncio.to_thread(blocked, source, target, port, wait=0.7)


async def test_guarded_nics_are_filtered(lab: RackLab) -> None:
    """Security groups hold between two machines of one switch, and to a virtual one; foreign addresses do not pass."""
    net = await lab.network("tenant", "10.9.0.0/24")
    group = (await lab.admin.post("/network/v2.0/security-groups", json={"security_group": {"name": "g"}})).json()
    group_id = group["security_group"]["id"]

    async def rule(**more: object) -> str:
        body = {"security_group_id": group_id, "direction": "ingress", "ethertype": "IPv4", **more}
        answer = await lab.admin.post("/network/v2.0/security-group-rules", json={"security_group_rule": body})
        return str(answer.json()["security_group_rule"]["id"])

    tcp = {"protocol": "tcp", "port_range_min": 8001, "port_range_max": 8001}
    ping, web = await rule(protocol="icmp"), await rule(**tcp)
    (_, one), (_, two) = await tenants(lab, net, "bm1", "bm2")
    virtual = await lab.virtual(net, security_groups=[group_id])
    for metal in (one, two):
        path = f"/network/v2.0/ports/{metal.port.id}"
        answer = await lab.admin.put(path, json={"port": {"security_groups": [group_id]}})
        assert answer.status_code == 200, answer.text
    await lab.pings(one, two.ip)
    await lab.pings(virtual, two.ip)
    servers = [two.listen(8001), two.listen(8002), virtual.listen(8001), virtual.listen(8002)]
    for source, target in ((one, two), (virtual, two), (one, virtual)):
        assert await open_to(source, target.ip, 8001), (source.space, target.space)
        assert not await open_to(source, target.ip, 8002), (source.space, target.space)
    link = await asyncio.to_thread(one.connect, two.ip, 8001)
    for gone in (ping, web):
        await lab.admin.delete(f"/network/v2.0/security-group-rules/{gone}")

    async def cut() -> bool:
        return not await asyncio.to_thread(one.pings, two.ip, wait=0.3)

    await lab.until(cut)
    assert not await open_to(one, two.ip, 8001)
    link.close()
    await rule(protocol="icmp")
    await lab.pings(one, two.ip)
    # An address that is not its own, a MAC that is not its own: neither leaves the gateway.
    one.ip_batch("address add 10.9.0.77/24 dev eth0")
    with pytest.raises(HaganeError):
        await asyncio.to_thread(one.run, "ping", "-c1", "-W1", "-I", "10.9.0.77", two.ip)
    one.ip_batch("address delete 10.9.0.77/24 dev eth0", "link set eth0 address 52:54:02:66:66:66")
    assert not await asyncio.to_thread(one.pings, two.ip)
    one.ip_batch(f"link set eth0 address {one.mac}")
    await lab.pings(one, two.ip)
    for server in servers:
        server.close()


async def test_ramdisk_reaches_its_service_only_and_moves_to_its_tenant(lab: RackLab) -> None:
    service = (await lab.service()).removeprefix("http://")
    (node, one), (other, two) = await lab.metal("bm1"), await lab.metal("bm2")
    for a_node, metal in ((node, one), (other, two)):
        [mine] = await lab.plugged(a_node, "provisioning", dhcp={"bootfile-name": "http://172.30.16.2/boot.ipxe"})
        metal.port.fixed_ips = mine["fixed_ips"]
    lease = await asyncio.to_thread(one.dhcp, "bootfile")
    assert lease["ip"] == one.ip and lease["bootfile"] == "http://172.30.16.2/boot.ipxe"
    await asyncio.to_thread(two.dhcp)
    for metal in (one, two):
        (await asyncio.to_thread(metal.connect, service, 80)).close()
    assert not await asyncio.to_thread(one.pings, two.ip)
    net = await lab.network("tenant", "10.9.0.0/24")
    virtual = await lab.virtual(net, port_security_enabled=False)
    vif = await lab.port(net)
    await lab.give(node, vif["id"])
    before = await lab.vsctl("tor1", "get", "Open_vSwitch", ".", "next_cfg")
    [moved] = await lab.plugged(node, "tenant")
    one.has(moved)
    await lab.pings(one, virtual.ip)
    assert await lab.vsctl("tor1", "get", "Open_vSwitch", ".", "next_cfg") == before  # no switch was touched
    one.ip_batch(f"route add {service}/32 dev eth0")
    with pytest.raises(OSError, match=r"timed out|unreachable|No route"):
        await asyncio.to_thread(one.connect, service, 80, wait=1)
    await lab.unplug(node)
    await lab.until(lambda: _is_not(lab.answers(one, virtual.ip)))


async def _is_not(what: object) -> bool:
    return not await what  # type: ignore[misc]


async def test_wiped_switch_is_right_again(lab: RackLab) -> None:
    net = await lab.network("tenant", "10.9.0.0/24")
    (node, one), (_, two) = await tenants(lab, net, "bm1", "bm2")
    await lab.pings(one, two.ip)

    async def pulled_and_plugged(tx: Tx) -> None:
        await plug.unplug(tx, lab.cloud, node)
        await plug.plug(tx, lab.cloud, node, "tenant")

    await lab.in_tx(pulled_and_plugged)  # OVN sees nothing of it, and says nothing
    await lab.so(node)
    await lab.pings(one, two.ip)
    wipe = [word for name in ("bm1-0", "bm2-0", "gw1", "gw2")
            for word in ("--", "set", "Port", name, "vlan_mode=trunk", "trunks=4095", "tag=[]")]  # fmt: skip
    await lab.vsctl("tor1", *wipe)
    started = time.monotonic()
    await lab.pings(one, two.ip, 5)
    print(f"wiped switch right again after {time.monotonic() - started:.2f} s")
    # Patches that somebody takes away come back as well.
    for bridge in ("br-trunk", "br-int"):
        for gateway in ("gw1", "gw2"):
            ports = [
                name for name in (await lab.vsctl(gateway, "list-ports", bridge)).split() if name[:2] in ("ht", "hn")
            ]
            assert len(ports) == 2
            words = [word for name in ports for word in ("--", "del-port", bridge, name)]
            await lab.vsctl(gateway, *words)
    await lab.pings(one, two.ip, 5)
    answer = await lab.admin.get("/hagane/v1/explain/switch/tor1")
    assert any("Somebody changed" in step["message"] for step in answer.json()["steps"])


async def test_ports_leave_a_dead_gateway(lab: RackLab) -> None:
    net = await lab.network("tenant", "10.9.0.0/24")
    [(_, one)] = await tenants(lab, net, "bm1")
    virtual = await lab.virtual(net, port_security_enabled=False)
    await lab.pings(one, virtual.ip)
    [row] = await PORT.select(lab.db, {"id": one.port.id})
    assert row["binding_host_id"] == "gw1"
    pinging = await asyncio.create_subprocess_exec(
        "ip", "netns", "exec", one.space, "ping", "-D", "-i", "0.05", "-w", "12", "-W", "1", virtual.ip,
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    await asyncio.sleep(1)
    for daemon in rack_gateway.daemons(lab.rack_, "gw1"):
        if (pid := pid_of(daemon)) is not None:
            kill(pid, signal.SIGKILL)

    async def moved() -> bool:
        [now] = await PORT.select(lab.db, {"id": one.port.id})
        return bool(now["binding_host_id"] == "gw2")

    began = time.monotonic()
    await lab.until(moved, 10)
    print(f"moved in the database after {time.monotonic() - began:.2f} s")
    said, _ = await pinging.communicate()
    times = [float(line[1:].partition("]")[0]) for line in said.decode().splitlines() if "bytes from" in line]
    gap = max(after - before for before, after in pairwise(times))
    print(f"gateway died: no answer for {gap:.2f} s")
    assert gap < 3
    await lab.pings(one, virtual.ip)
    await ovs.up(lab.rack_.ovs("gw1"))
    await rack_gateway.up(lab.rack_, "gw1")
    await lab.until(lab.all_up, 30)
    await lab.pings(one, virtual.ip)


async def test_direct_nic_is_on_the_wire_and_gets_its_address(lab: RackLab) -> None:
    """Without port security on a VLAN network: the SwitchPort is in the network's VLAN, DHCP comes from a gateway."""
    net = await lab.network("wire", "10.7.0.0/24", **{
        "provider:network_type": "vlan", "provider:physical_network": "rack1", "provider:segmentation_id": 77,
    })  # fmt: skip
    found = []
    for name in ("bm1", "bm2"):
        node, metal = await lab.metal(name)
        vif = await lab.port(net, port_security_enabled=False, device_owner="baremetal:none")
        await lab.give(node, vif["id"])
        [port] = await lab.plugged(node, "tenant")
        assert port["binding_vif_details"]["binding"] == "direct" and port["status"] == "ACTIVE"
        metal.port.fixed_ips = port["fixed_ips"]
        found.append(metal)
    one, two = found
    assert "77" in await lab.vsctl("tor1", "get", "Port", "bm1-0", "tag")
    lease = await asyncio.to_thread(one.dhcp)
    assert lease["ip"] == one.ip
    await asyncio.to_thread(two.dhcp)
    await lab.pings(one, two.ip)
    virtual = await lab.virtual(net)
    await lab.pings(virtual, one.ip)

    async def told() -> bool:
        with contextlib.suppress(OSError):
            (await asyncio.to_thread(one.connect, "169.254.169.254", 80)).close()
            return True
        return False

    await lab.until(told)
    # Nobody filters here, and the API has said so: no group may be put on such a Port.
    path = f"/network/v2.0/ports/{(await lab.port(net, port_security_enabled=False))['id']}"
    groups = (await lab.admin.get("/network/v2.0/security-groups")).json()["security_groups"]
    answer = await lab.admin.put(path, json={"port": {"security_groups": [groups[0]["id"]]}})
    assert answer.status_code == 400, answer.text


async def test_group_carries_its_port_before_the_machine_speaks_lacp(lab: RackLab) -> None:
    """Two Nics as one: the switch aggregates them, and one alone works, as firmware needs it."""
    node, one = await lab.metal("bm1")
    nics = (await lab.admin.get(f"/baremetal/v1/nodes/{node['id']}/ports")).json()["ports"]
    body = {"node_uuid": node["id"], "address": one.mac, "mode": "802.3ad"}
    group = (await lab.admin.post("/baremetal/v1/portgroups", json=body)).json()["uuid"]
    patch = [{"op": "add", "path": "/portgroup_uuid", "value": group}]
    assert (await lab.admin.patch(f"/baremetal/v1/ports/{nics[0]['uuid']}", json=patch)).status_code == 200
    first, second = next(described for described in lab.file.node if described.name == "bm1").nic
    body = {"node_uuid": node["id"], "address": second.mac, "portgroup_uuid": group, "pxe_enabled": False,
            "local_link_connection": (lab.file.link(first) or {}) | {"port_id": "bm1-1"}}  # fmt: skip
    assert (await lab.admin.post("/baremetal/v1/ports", json=body)).status_code == 201
    net = await lab.network("tenant", "10.9.0.0/24")
    virtual = await lab.virtual(net, port_security_enabled=False)
    vif = await lab.port(net)
    await lab.give(node, vif["id"])
    [port] = await lab.plugged(node, "tenant")
    bond = f"bond{port['binding_vif_details']['vlan']}"
    assert "bm1-0" not in (await lab.vsctl("tor1", "list-ports", "br-tor")).split()
    assert len((await lab.vsctl("tor1", "get", "Port", bond, "interfaces")).split(",")) == 2
    one.has(port)
    await lab.pings(one, virtual.ip)


async def test_guarded_and_direct_meet_on_a_vlan(lab: RackLab) -> None:
    """On one VLAN network: one machine filtered at the gateway, one on the wire, one virtual."""
    net = await lab.network("wire", "10.7.0.0/24", **{
        "provider:network_type": "vlan", "provider:physical_network": "rack1", "provider:segmentation_id": 77,
    })  # fmt: skip
    found = {}
    for name, secure in (("bm1", True), ("bm2", False)):
        node, metal = await lab.metal(name)
        vif = await lab.port(net, **({} if secure else {"port_security_enabled": False}))
        await lab.give(node, vif["id"])
        [port] = await lab.plugged(node, "tenant")
        found[port["binding_vif_details"]["binding"]] = metal.has(port)
    guarded, direct = found["guarded"], found["direct"]
    virtual = await lab.virtual(net, port_security_enabled=False)
    await lab.pings(guarded, direct.ip)
    await lab.pings(guarded, virtual.ip)
    await lab.pings(virtual, direct.ip)
    assert not await asyncio.to_thread(direct.pings, guarded.ip)  # its default group lets no stranger in
    assert not await asyncio.to_thread(virtual.pings, guarded.ip)
