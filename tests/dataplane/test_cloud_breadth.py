"""Port forwarding, QoS and trunks of a real cloud, by packets."""

import socket
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from hagane.drivers.metadata import space
from tests.dataplane import frames, leaks
from tests.dataplane.cloud import Cloud, running, until
from tests.dataplane.space import Guest, exchange, serve_once
from tests.dataplane.tenant import Tenant

pytestmark = [pytest.mark.real, pytest.mark.slow]

VLAN, SOL_PACKET, PACKET_AUXDATA = 0x8100, 263, 8


@dataclass
class World:
    """Two networks behind a router: `near` and `far` on one, each on its own Host; `beyond` on the other."""

    cloud: Cloud
    tenant: Tenant
    green: Any
    blue: Any
    open: Any
    near: Guest
    far: Guest
    beyond: Guest


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with running(tmp_path_factory.mktemp("breadth")) as cloud:
        tenant = Tenant(cloud)
        assert list(tenant.api.security_groups())
        before = leaks.look(cloud)
        green, blue = tenant.network("green", "10.10.0.0/24"), tenant.network("blue", "10.20.0.0/24")
        tenant.router("edge", green, blue)
        group = tenant.open_group()
        places = ((green, "host1"), (green, "host2"), (blue, "host2"))
        guests = [tenant.machine(network, host, [group]) for network, host in places]
        yield World(cloud, tenant, green, blue, group, *guests)
        tenant.end()
        leaks.none_left(cloud, before)


def opens(connect: Any) -> bool:
    try:
        connect().close()
    except OSError:
        return False
    return True


def test_ports_of_a_floating_ip_lead_to_machines(world: World) -> None:
    """From outside, and from machines on either network behind the router; to other ports there is nothing."""
    api = world.tenant.api
    floating = api.create_ip(floating_network_id=world.tenant.public.id)
    address = floating.floating_ip_address
    rules = [
        api.create_floating_ip_port_forwarding(floating, protocol="tcp", internal_port_id=guest.port.id,
                                               internal_ip_address=guest.ip, internal_port=80, external_port=outer)
        for guest, outer in ((world.near, 8080), (world.beyond, 8081))
    ]  # fmt: skip
    with world.near.listen(80) as first, world.beyond.listen(80) as second:
        for server, outer in ((first, 8080), (second, 8081)):
            link = until(lambda outer=outer: socket.create_connection((address, outer), 1), 15, f"{outer} is open")
            with link, serve_once(server, link) as other:
                exchange(link, other)
        for guest in (world.far, world.beyond):
            link = until(lambda guest=guest: guest.connect(address, 8080), 10, f"{guest.ip} comes in as well")
            with link, serve_once(first, link) as other:
                exchange(link, other)
        assert not opens(lambda: socket.create_connection((address, 8082), 1))
        api.delete_floating_ip_port_forwarding(floating, rules[0])
        until(lambda: not opens(lambda: socket.create_connection((address, 8080), 0.5)), 10, "8080 is shut")
        assert opens(lambda: socket.create_connection((address, 8081), 2))
    api.delete_floating_ip_port_forwarding(floating, rules[1])
    api.delete_ip(floating)


def marks(source: Guest, target: Guest) -> int:
    """The code point (RFC 2474) that a ping of the source has when it arrives."""
    wanted = socket.inet_aton(source.ip) + socket.inet_aton(target.ip)
    with target.wire() as ear:
        assert source.pings(target.ip)
        while True:
            got = ear.recv(4096)
            if got[12:14] == b"\x08\x00" and got[26:34] == wanted:
                return got[15] >> 2


def seconds_for(source: Guest, target: Guest, size: int) -> float:
    with target.listen(7100) as server, source.connect(target.ip, 7100) as client, serve_once(server, client) as other:
        client.settimeout(60)
        other.settimeout(60)
        began, left = time.monotonic(), size
        client.sendall(b"x" * min(size, 1000))
        left -= len(other.recv(65536))
        while left > 0:
            client.sendall(b"x" * min(left, 20_000))
            want = min(left, 20_000)
            while want > 0:
                got = len(other.recv(65536))
                want, left = want - got, left - got
        return time.monotonic() - began


def test_a_policy_marks_and_limits(world: World) -> None:
    api, near, far = world.tenant.api, world.near, world.far
    policy = api.create_qos_policy(name="slow")
    api.create_qos_dscp_marking_rule(policy, dscp_mark=26)
    assert marks(near, far) == 0
    api.update_port(near.port, qos_policy_id=policy.id)
    until(lambda: marks(near, far) == 26, 10, "what it sends is marked")
    assert marks(far, near) == 0
    free = seconds_for(near, far, 600_000)
    limit = api.create_qos_bandwidth_limit_rule(policy, max_kbps=1000, max_burst_kbps=100)
    until(lambda: bool(world.cloud.nb("qos-list", world.green.id).count("rate=1000")), 10, "OVN has the limit")
    until(lambda: seconds_for(near, far, 600_000) > 2.5, 40, "4.8 Mbit take more than 2.5 s at 1 Mbit/s")
    print(f"600 kB took {free:.2f} s without a limit")
    api.delete_qos_bandwidth_limit_rule(limit, policy)
    api.update_port(near.port, qos_policy_id=None)
    until(lambda: marks(near, far) == 0, 10, "no mark any more")
    assert seconds_for(near, far, 600_000) < 2.5
    api.delete_qos_policy(policy)


def test_a_floating_ip_is_marked(world: World) -> None:
    """The answers to a ping from outside bear the mark of the floating IP's policy."""
    api = world.tenant.api
    policy = api.create_qos_policy(name="marked")
    api.create_qos_dscp_marking_rule(policy, dscp_mark=46)
    floating = api.create_ip(floating_network_id=world.tenant.public.id, port_id=world.near.port.id,
                             qos_policy_id=policy.id)  # fmt: skip
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as ear:
        ear.settimeout(1)
        until(lambda: _echo(ear, floating.floating_ip_address) >> 2 == 46, 20, "the answer is marked")
    api.delete_ip(floating)
    api.delete_qos_policy(policy)


def test_a_routers_gateway_is_marked(world: World) -> None:
    """What goes out under the router's own address bears the mark of its gateway's policy."""
    api = world.tenant.api
    policy = api.create_qos_policy(name="gateway")
    api.create_qos_dscp_marking_rule(policy, dscp_mark=34)
    info = {"network_id": world.tenant.public.id}
    made = api.update_router(router(world), external_gateway_info=info | {"qos_policy_id": policy.id})
    outer = made.external_gateway_info["external_fixed_ips"][0]["ip_address"]
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as ear:
        ear.settimeout(1)
        until(lambda: _seen(ear, world.far, world.cloud.here, outer) >> 2 == 34, 20, "it is marked")
    api.update_router(router(world), external_gateway_info=info | {"qos_policy_id": None})
    api.delete_qos_policy(policy)


def _seen(wire: socket.socket, guest: Guest, here: str, outer: str) -> int:
    """The type of service of a guest's ping that arrives here under another address. Raises TimeoutError."""
    assert guest.pings(here)
    while True:
        got, (source, _) = wire.recvfrom(4096)
        if source == outer and got[20] == 8:
            return got[1]


def _echo(wire: socket.socket, address: str) -> int:
    """The type of service of the answer to a ping. Raises TimeoutError."""
    head = struct.pack("!BBHHH", 8, 0, 0, 4711, 1)
    wire.sendto(head[:2] + struct.pack("!H", frames.checksum(head)) + head[4:], (address, 0))
    while True:
        got, (source, _) = wire.recvfrom(4096)
        if source == address and got[20] == 0:
            return got[1]


def tagged(source: str, target: str, number: int, kind: int, payload: bytes) -> bytes:
    return frames.frame(source, target, VLAN, struct.pack("!HH", number, kind) + payload)


def test_a_subport_is_on_its_own_network(world: World) -> None:
    """Frames with its tag at the parent's port come out on the subport's network, and back; the parent's are its own."""
    api, near, beyond = world.tenant.api, world.near, world.beyond
    port = api.create_port(network_id=world.blue.id, security_group_ids=[world.open.id])
    trunk = api.create_trunk(port_id=near.port.id)
    subport = {"port_id": port.id, "segmentation_type": "vlan", "segmentation_id": 100}
    api.add_trunk_subports(trunk, [subport])
    until(lambda: api.get_port(port.id).status == "ACTIVE", 15, "the subport is up")
    assert api.get_trunk(trunk.id).status == "ACTIVE"
    mine, theirs, own = port.mac_address, beyond.mac, port.fixed_ips[0]["ip_address"]
    with near.wire() as parent, beyond.wire() as other:
        parent.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        until(lambda: _crosses(parent, other, mine, theirs, own, beyond.ip), 15, "its frames come out")
        kind, packet = frames.udp(beyond.ip, own, b"and back")
        until(
            lambda: _comes_back(other, parent, frames.frame(theirs, mine, kind, packet)), 15, "and back, with the tag"
        )
    near.reaches(world.far.ip)
    api.delete_trunk_subports(trunk, [subport])
    api.delete_trunk(trunk)
    api.delete_port(port)
    near.reaches(world.far.ip)


def test_a_transparent_network_carries_its_machines_tags(world: World) -> None:
    for passes in (True, False):
        network = world.tenant.api.create_network(name=f"tags-{passes}", is_vlan_transparent=passes)
        world.tenant.networks.append(network)
        world.tenant.api.create_subnet(network_id=network.id, ip_version=4, cidr="10.30.0.0/24")
        one, other = (
            world.tenant.machine(network, host, [], port_security_enabled=False) for host in ("host1", "host2")
        )
        one.reaches(other.ip)
        with one.wire() as near, other.wire() as far:
            far.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
            frame = tagged(one.mac, other.mac, 100, *frames.udp(one.ip, other.ip, b"and back"))
            if passes:
                until(lambda near=near, far=far, frame=frame: _comes_back(near, far, frame), 10, "a tag comes through")
            else:
                with pytest.raises(TimeoutError):
                    _comes_back(near, far, frame)
        world.tenant.drop(one)
        world.tenant.drop(other)


def test_names_are_answered_for(world: World) -> None:
    """By OVN, whichever resolver is asked; without the domain nobody answers."""
    api = world.tenant.api
    api.update_network(world.green, dns_domain="example.org.")
    api.update_port(world.far.port, dns_name="web")
    expected = socket.inet_aton(world.far.ip)
    until(lambda: _asked(world.near, "web.example.org") == expected, 15, "the name is known")
    api.update_network(world.green, dns_domain="")
    until(lambda: not world.cloud.rows("DNS"), 10, "the name is gone")
    api.update_port(world.far.port, dns_name="")


def _asked(guest: Guest, name: str) -> bytes:
    """The address that DNS has for a name (RFC 1035). Raises TimeoutError."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    query = struct.pack("!HHHHHH", 4711, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!HH", 1, 1)
    with space.inside(guest.space, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as asking:
        asking.settimeout(1)
        asking.sendto(query, ("10.10.0.1", 53))
        return asking.recv(512)[-4:]


Meddle = Callable[[World, str], object]
MEDDLED: dict[str, Meddle] = {
    "balancer deleted": lambda w, row: w.cloud.nb("destroy", "Load_Balancer", row),
    "balancer's addresses": lambda w, row: w.cloud.nb("clear", "Load_Balancer", row, "vips"),
    "balancer out of its router": lambda w, row: w.cloud.nb("clear", "Logical_Router", router(w), "load_balancer"),
    "balancer out of a switch": lambda w, row: w.cloud.nb("clear", "Logical_Switch", w.green.id, "load_balancer"),
    "limits deleted": lambda w, row: w.cloud.nb("qos-del", w.green.id),
    "limit of another rate": lambda w, row: w.cloud.nb(
        "set", "QoS", w.cloud.rows("QoS")[0]["_uuid"], "bandwidth:rate=99999"),
    "subport of nobody": lambda w, row: w.cloud.nb("clear", "Logical_Switch_Port", child(w), "parent_name"),
    "subport's tag": lambda w, row: w.cloud.nb("set", "Logical_Switch_Port", child(w), "tag=7"),
}  # fmt: skip


def router(world: World) -> str:
    return str(world.tenant.routers[0].id)


def child(world: World) -> str:
    return str(next(world.tenant.api.ports(device_owner="trunk:subport")).id)


def shape(world: World) -> dict[str, list[Any]]:
    """What OVN holds of forwardings, limits and subports, whatever the rows' own ids are."""
    rows, marks = world.cloud.rows, "external_ids"
    members = {row["_uuid"]: row[marks].get("hagane:key") for row in rows("Load_Balancer")}
    return {
        "balancers": sorted(str((row["name"], row["vips"], row["protocol"])) for row in rows("Load_Balancer")),
        "in routers": sorted(
            str(members.get(key)) for row in rows("Logical_Router") for key in as_list(row["load_balancer"])
        ),
        "in switches": sorted(
            str(members.get(k)) for row in rows("Logical_Switch") for k in as_list(row["load_balancer"])
        ),
        "limits": sorted(str((row["match"], row["bandwidth"], row["action"])) for row in rows("QoS")),
        "held": [len(as_list(row["qos_rules"])) for row in rows("Logical_Switch") if row["name"] == world.green.id],
        "subports": sorted(str((row["name"], row["parent_name"], row["tag"])) for row in rows("Logical_Switch_Port")),
    }


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def test_what_a_stranger_changes_is_put_right(world: World) -> None:
    """Without the full pass: it is heard of, and done by the owner of the row alone."""
    api, near = world.tenant.api, world.near
    policy = api.create_qos_policy(name="healed")
    api.create_qos_bandwidth_limit_rule(policy, max_kbps=50_000)
    api.update_port(near.port, qos_policy_id=policy.id)
    floating = api.create_ip(floating_network_id=world.tenant.public.id)
    rule = api.create_floating_ip_port_forwarding(floating, protocol="tcp", internal_port_id=world.far.port.id,
                                                  internal_ip_address=world.far.ip, internal_port=80,
                                                  external_port=80)  # fmt: skip
    port = api.create_port(network_id=world.blue.id)
    subport = {"port_id": port.id, "segmentation_type": "vlan", "segmentation_id": 100}
    trunk = api.create_trunk(port_id=near.port.id, sub_ports=[subport])
    until(lambda: api.get_port(port.id).status == "ACTIVE", 15, "the subport is up")
    until(lambda: len(world.cloud.rows("Load_Balancer")) == 1 and len(world.cloud.rows("QoS")) == 1, 10, "all is there")
    before = shape(world)
    for what, meddle in MEDDLED.items():
        meddle(world, world.cloud.rows("Load_Balancer")[0]["_uuid"])
        until(lambda: shape(world) == before, 15, f"healed: {what}")
    world.cloud.doctor()
    api.delete_trunk(trunk)
    api.delete_port(port)
    api.delete_floating_ip_port_forwarding(floating, rule)
    api.delete_ip(floating)
    api.update_port(near.port, qos_policy_id=None)
    api.delete_qos_policy(policy)
    until(lambda: not world.cloud.rows("Load_Balancer") and not world.cloud.rows("QoS"), 10, "nothing is left in OVN")


def _crosses(parent: socket.socket, other: socket.socket, mine: str, theirs: str, source: str, target: str) -> bool:
    parent.send(tagged(mine, theirs, 100, *frames.udp(source, target, b"hello from a subport")))
    other.settimeout(1)
    while True:
        got = other.recv(4096)
        if b"hello from a subport" in got:
            return got[12:14] == b"\x08\x00"


def _comes_back(other: socket.socket, parent: socket.socket, frame: bytes) -> bool:
    """The kernel takes a tag out of a frame, and tells of it beside."""
    other.send(frame)
    parent.settimeout(1)
    while True:
        got, notes, _, _ = parent.recvmsg(4096, 128)
        if b"and back" in got:
            inline = got[12:16] == struct.pack("!HH", VLAN, 100)
            return inline or any(struct.unpack_from("=IIIHHH", data)[5] & 0xFFF == 100 for _, _, data in notes)
