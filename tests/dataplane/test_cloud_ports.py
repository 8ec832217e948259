"""Ports of a real cloud, by packets: addresses, the same network, across routers, out and in."""

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from hagane.lab.process import tool
from tests.dataplane import leaks
from tests.dataplane.cloud import Clock, Cloud, pings_from_here, running, until
from tests.dataplane.space import Guest, exchange, serve_once
from tests.dataplane.tenant import Tenant

pytestmark = [pytest.mark.real, pytest.mark.slow]


@dataclass
class World:
    """Two networks behind a router: `near` and `next` on one Host, `far` on the other, `beyond` on the other network."""

    cloud: Cloud
    tenant: Tenant
    green: Any
    blue: Any
    router: Any
    open: Any
    near: Guest
    next: Guest
    far: Guest
    beyond: Guest


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with running(tmp_path_factory.mktemp("ports")) as cloud:
        yield cloud


@pytest.fixture(scope="module")
def world(cloud: Cloud) -> Iterator[World]:
    tenant = Tenant(cloud)
    assert list(tenant.api.security_groups())  # the project's default one comes with the first look, and stays
    before = leaks.look(cloud)
    green = tenant.network("green", "10.10.0.0/24", "fd00:10::/64", dns_nameservers=["10.10.0.53"],
                           host_routes=[{"destination": "10.99.0.0/16", "nexthop": "10.10.0.77"}])  # fmt: skip
    blue = tenant.network("blue", "10.20.0.0/24", "fd00:20::/64")
    router = tenant.router("edge", green, blue)
    group = tenant.open_group()
    places = ((green, "host1"), (green, "host1"), (green, "host2"), (blue, "host2"))
    guests = [tenant.machine(network, host, [group]) for network, host in places]
    yield World(cloud, tenant, green, blue, router, group, *guests)
    tenant.end()
    leaks.none_left(cloud, before)


def tcp(source: Guest, target: Guest, address: str) -> None:
    with target.listen(7000) as server, source.connect(address, 7000) as client, serve_once(server, client) as other:
        exchange(client, other)


def test_dhcp_tells_address_mtu_routes_and_resolvers(world: World) -> None:
    lease = world.near.lease
    assert lease["ip"] == world.near.ip
    assert lease["mask"] == "24"
    assert lease["mtu"] == str(world.tenant.api.get_network(world.green.id).mtu)
    assert lease["dns"] == "10.10.0.53"
    assert lease["serverid"] == "10.10.0.1"
    meta = next(world.tenant.api.ports(network_id=world.green.id, device_owner="network:distributed"))
    routes = lease["staticroutes"].split()
    pairs = dict(zip(routes[::2], routes[1::2], strict=True))
    assert pairs == {"169.254.169.254/32": meta.fixed_ips[0]["ip_address"], "10.99.0.0/16": "10.10.0.77",
                     "0.0.0.0/0": "10.10.0.1"}  # fmt: skip
    assert world.beyond.lease["dns"] == world.cloud.dns  # the cloud's own, where the subnet names none


def test_active_when_plugged_and_down_when_not(world: World) -> None:
    tenant = world.tenant
    port = tenant.port(world.green, "host1", [world.open])
    assert tenant.api.get_port(port.id).status == "DOWN"
    guest = tenant.plugged(port)
    clock = Clock()
    tenant.status(guest, "ACTIVE")
    up = clock.seconds
    guest.unplug()
    clock = Clock()
    tenant.status(guest, "DOWN")
    print(f"ACTIVE after {up} s, DOWN after {clock.seconds} s")
    guest.plug()
    tenant.status(guest, "ACTIVE")
    tenant.drop(guest)


def test_a_port_bound_elsewhere_cannot_be_claimed_here(world: World) -> None:
    """A tap with a Port's id on a Host that the Port is not bound to gets nothing."""
    port = world.tenant.port(world.green, "host1", [world.open])
    honest = world.tenant.machine(world.green, "host2", [world.open])  # host2 knows by now whose the other one is
    stray = Guest(world.cloud, "host2", port).make().plug()
    honest.unplug()
    world.tenant.status(honest, "DOWN")
    honest.plug()
    world.tenant.status(honest, "ACTIVE")  # host2 has looked at both by now
    assert world.tenant.api.get_port(port.id).status == "DOWN"
    with pytest.raises(AssertionError):
        stray.dhcp(seconds=1.0)
    stray.end()
    world.tenant.drop(honest)
    world.tenant.api.delete_port(port)
    # What OVN 23.03 installs of a stray's port security, it sometimes forgets to take back: the next Port that gets the
    # number of this one would be filtered by it. A stray is nothing that we make, so only this test has to clear it up.
    control = next(world.cloud.site.folder("host2").run.rglob("ovn-controller*.ctl"))
    tool("ovn-appctl", "-t", control, "inc-engine/recompute")


@pytest.mark.parametrize("pair", ["near next", "near far", "far near", "near beyond", "beyond near", "far beyond"])
def test_ping_and_tcp_within_and_across(world: World, pair: str) -> None:
    one, other = (getattr(world, name) for name in pair.split())
    one.reaches(other.ip)
    tcp(one, other, other.ip)


@pytest.mark.parametrize("pair", ["near next", "near far", "near beyond", "beyond far"])
def test_ipv6_by_slaac(world: World, pair: str) -> None:
    """The address that the machine makes from the router's advertisement is the one that the API foretold."""
    one, other = (getattr(world, name) for name in pair.split())
    for guest in (one, other):
        until(lambda guest=guest: f" {guest.ip6}/64" in guest.run("ip", "-6", "address", "show", "dev", "eth0"), 20,
              f"SLAAC gives {guest.ip6}")  # fmt: skip
    one.reaches(other.ip6)
    tcp(one, other, other.ip6)


@pytest.mark.parametrize("pair", ["near far", "near beyond"])
def test_frames_of_the_full_mtu(world: World, pair: str) -> None:
    one, other = (getattr(world, name) for name in pair.split())
    mtu = int(one.lease["mtu"])
    assert one.pings(other.ip, size=mtu - 28, whole=True)
    assert not one.pings(other.ip, size=mtu - 27, whole=True)
    assert one.pings(other.ip, size=mtu * 2)  # in fragments


def test_out_through_snat_the_peer_sees_the_router(world: World) -> None:
    gateway = world.router.external_gateway_info["external_fixed_ips"][0]["ip_address"]
    with socket.create_server((world.cloud.here, 0)) as server:
        server.settimeout(5)
        for guest in (world.near, world.far, world.beyond):
            guest.reaches(world.cloud.here)
            with guest.connect(world.cloud.here, server.getsockname()[1]):
                link, peer = server.accept()
                link.close()
                assert peer[0] == gateway


def test_in_and_out_through_a_floating_ip(world: World) -> None:
    api = world.tenant.api
    floating = api.create_ip(floating_network_id=world.tenant.public.id, port_id=world.far.port.id)
    address = floating.floating_ip_address
    until(lambda: pings_from_here(address), 10, "the floating IP answers")
    until(lambda: api.get_ip(floating.id).status == "ACTIVE", 10, "it is ACTIVE")
    with world.far.listen(7001) as server:
        with socket.create_connection((address, 7001), timeout=3) as client, serve_once(server, client) as link:
            exchange(client, link)
        with world.beyond.connect(address, 7001):  # from inside, through both translations
            server.accept()[0].close()
    with (
        socket.create_server((world.cloud.here, 0)) as server,
        world.far.connect(world.cloud.here, server.getsockname()[1]),
    ):
        server.settimeout(5)
        link, peer = server.accept()
        link.close()
        assert peer[0] == address
    moved = api.update_ip(floating, port_id=world.near.port.id)
    until(lambda: pings_from_here(address), 10, "it answers for another port")
    assert moved.fixed_ip_address == world.near.ip
    api.delete_ip(floating)
    until(lambda: not pings_from_here(address, wait=0.3), 10, "it is gone")


def test_dhcp_tells_where_the_metadata_service_has_moved(world: World) -> None:
    network = world.cloud.conn.network
    [port] = network.ports(network_id=world.green.id, device_owner="network:distributed")
    before = list(port.fixed_ips)
    network.update_port(port, fixed_ips=[one | {"ip_address": "10.10.0.200"} for one in before])

    def told() -> bool:
        rows = world.cloud.rows("DHCP_Options")
        return any("169.254.169.254/32,10.10.0.200" in row["options"].get("classless_static_route", "") for row in rows)

    until(told, 10, "machines are sent to the new address")
    network.update_port(port, fixed_ips=before)
    until(lambda: not told(), 10, "and to the old one again")


def test_extra_dhcp_options(world: World) -> None:
    options = [
        {"opt_name": "domain-name", "opt_value": "special.example"},
        {"opt_name": "mtu", "opt_value": "1300"},
        {"opt_name": "tftp-server", "opt_value": "10.10.0.9"},
        {"opt_name": "bootfile-name", "opt_value": "boot me.efi"},
        {"opt_name": "ntp-server", "opt_value": "10.10.0.123"},
    ]
    guest = world.tenant.machine(world.green, "host1", [world.open], extra_dhcp_opts=options)
    lease = guest.dhcp("domain", "tftp", "bootfile", "ntpsrv")
    assert lease["ip"] == guest.ip
    assert lease["mtu"] == "1300"
    assert lease["domain"] == "special.example"
    assert lease["tftp"] == "10.10.0.9"
    assert lease.get("bootfile") == "boot me.efi"
    assert lease["ntpsrv"] == "10.10.0.123"
    world.tenant.api.update_port(guest.port, extra_dhcp_opts=[{"opt_name": "mtu", "opt_value": "1280"}])
    until(lambda: guest.dhcp()["mtu"] == "1280", 10, "a changed option is told")
    world.tenant.drop(guest)


def test_dhcpv6_gives_the_address_of_the_port(world: World) -> None:
    api = world.tenant.api
    network = world.tenant.network("six", "10.30.0.0/24")
    api.create_subnet(network_id=network.id, ip_version=6, cidr="fd00:30::/64", ipv6_ra_mode="dhcpv6-stateful",
                      ipv6_address_mode="dhcpv6-stateful", dns_nameservers=["fd00:30::53"])  # fmt: skip
    world.tenant.router("six", network, outside=False)
    guest = world.tenant.machine(network, "host1", [world.open])
    offered = until(guest.dhcp6, 10, "DHCPv6 answers")
    assert offered == {"address": guest.ip6, "dns": "fd00:30::53"}
    world.tenant.drop(guest)


def test_allowed_address_pairs(world: World) -> None:
    """An address that is not the Port's own may be used once a pair allows it, and no longer when it does not."""
    near, api = world.near, world.tenant.api
    near.ip_batch("address add 10.10.0.200/24 dev eth0", "address add fd00:10::200/64 dev eth0 nodad")
    assert not world.far.pings("10.10.0.200")
    api.update_port(near.port, allowed_address_pairs=[{"ip_address": "10.10.0.200"}, {"ip_address": "fd00:10::/64"}])
    world.far.reaches("10.10.0.200")
    world.far.reaches("fd00:10::200")
    world.far.reaches(near.ip)
    api.update_port(near.port, allowed_address_pairs=[])
    until(lambda: not world.far.pings("10.10.0.200", wait=0.5), 10, "the pair is gone")
    until(lambda: not world.far.pings("fd00:10::200", wait=0.5), 10, "the pair is gone")
    assert world.far.pings(near.ip)
    near.ip_batch("address del 10.10.0.200/24 dev eth0", "address del fd00:10::200/64 dev eth0")


def test_without_port_security_anything_passes(world: World) -> None:
    """No group filters, no address is checked, and frames to unknown MACs come through."""
    free = world.tenant.machine(world.green, "host2", [], port_security_enabled=False)
    free.ip_batch("address add 10.10.0.201/24 dev eth0")
    world.near.reaches(free.ip)
    world.near.reaches("10.10.0.201")
    with free.listen(7002), world.near.connect(free.ip, 7002):
        pass
    free.ip_batch("link set eth0 address 02:00:00:00:77:77")
    world.near.ip_batch("neigh flush dev eth0")
    world.near.reaches("10.10.0.201")
    world.tenant.drop(free)
