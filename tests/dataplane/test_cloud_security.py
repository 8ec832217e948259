"""Who may talk to whom in a real cloud, by packets: security groups, honest addresses, projects apart, switched off."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from hagane.lab import host
from tests.dataplane import frames, leaks
from tests.dataplane.cloud import Clock, Cloud, pings_from_here, running, until
from tests.dataplane.space import Guest, blocked, exchange, serve_once
from tests.dataplane.tenant import Tenant

pytestmark = [pytest.mark.real, pytest.mark.slow]
SPOOFED_MAC = "02:00:00:00:66:66"


@dataclass
class World:
    cloud: Cloud
    tenant: Tenant
    green: Any
    open: Any
    near: Guest
    far: Guest


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with running(tmp_path_factory.mktemp("security")) as cloud:
        yield cloud


@pytest.fixture(scope="module")
def world(cloud: Cloud) -> Iterator[World]:
    """Two machines of one network, on two Hosts, both open; a router leads out."""
    tenant = Tenant(cloud)
    assert list(tenant.api.security_groups())  # the project's default one comes with the first look, and stays
    before = leaks.look(cloud)
    green = tenant.network("green", "10.10.0.0/24", "fd00:10::/64")
    tenant.router("edge", green)
    group = tenant.open_group()
    near, far = (tenant.machine(green, host, [group]) for host in ("host1", "host2"))
    near.reaches(far.ip)
    yield World(cloud, tenant, green, group, near, far)
    tenant.end()
    leaks.none_left(cloud, before)


@pytest.fixture
def closed(world: World) -> Iterator[tuple[Any, Guest]]:
    """A machine of its own with a group that lets nothing in; it listens nowhere by itself."""
    group = world.tenant.group("closed")
    guest = world.tenant.machine(world.green, "host2", [group])
    yield group, guest
    world.tenant.drop(guest)
    world.tenant.api.delete_security_group(group)
    world.tenant.groups.remove(group)


# -- security groups ------------------------------------------------------------------------------------------------


def test_nothing_comes_in_that_no_rule_allows_and_answers_do(world: World, closed: tuple[Any, Guest]) -> None:
    _, guest = closed
    with guest.listen(7000):
        assert blocked(world.near, guest.ip, 7000)
        assert not world.near.pings(guest.ip)
        assert not world.near.pings(guest.ip6)
    guest.reaches(world.near.ip)  # out, and its answer in
    guest.reaches(world.cloud.here)
    with (
        world.near.listen(7001) as server,
        guest.connect(world.near.ip, 7001) as client,
        serve_once(server, client) as link,
    ):
        exchange(client, link)


def test_the_default_group_lets_its_own_members_in(world: World) -> None:
    one, other = (world.tenant.machine(world.green, host) for host in ("host1", "host2"))
    one.reaches(other.ip)
    with other.listen(7000):
        one.connect(other.ip, 7000).close()
        assert blocked(world.near, other.ip, 7000)
    assert not world.near.pings(other.ip)
    world.tenant.drop(one)
    world.tenant.drop(other)


def test_a_rule_for_a_remote_group_follows_its_members(world: World, closed: tuple[Any, Guest]) -> None:
    group, guest = closed
    friends = world.tenant.group("friends")
    world.tenant.rule(group, protocol="tcp", port_range_min=7000, port_range_max=7010, remote_group_id=friends.id)
    api = world.tenant.api
    with guest.listen(7005), guest.listen(7011):
        assert blocked(world.near, guest.ip, 7005)
        api.update_port(world.near.port, security_group_ids=[world.open.id, friends.id])
        clock = Clock()
        until(lambda: world.near.connect(guest.ip, 7005, wait=0.5), 10, "a member is let in").close()
        print(f"a new member is let in after {clock.seconds} s")
        assert blocked(world.near, guest.ip, 7011)
        api.update_port(world.near.port, security_group_ids=[world.open.id])
        until(lambda: blocked(world.near, guest.ip, 7005, wait=0.5), 10, "a member no more")


@pytest.mark.parametrize("version", ["IPv4", "IPv6"])
def test_a_deleted_rule_cuts_what_it_had_allowed(world: World, closed: tuple[Any, Guest], version: str) -> None:
    group, guest = closed
    address = guest.ip if version == "IPv4" else guest.ip6
    guest.reaches(world.near.ip if version == "IPv4" else world.near.ip6)  # it has its address by now
    with guest.listen(7000) as server:
        assert blocked(world.near, address, 7000)
        clock = Clock()
        rule = world.tenant.rule(group, ethertype=version, protocol="tcp", port_range_min=7000, port_range_max=7000)
        client = until(lambda: world.near.connect(address, 7000, wait=0.3), 10, "the rule allows it")
        allowed = clock.seconds
        with client, serve_once(server, client) as link, Echo(client, link) as echo:
            until(lambda: echo.count > 20, 10, "bytes flow")
            world.tenant.api.delete_security_group_rule(rule)
            deleted = time.monotonic()
            until(lambda: time.monotonic() - echo.last > 1.0, 20, "the connection is cut")
            cut = echo.last - deleted
        assert blocked(world.near, address, 7000)
    print(f"{version}: allowed after {allowed} s; the last echo came {cut:+.2f} s after the rule was deleted")
    assert cut < 1.0


class Echo:
    """Bytes that go to and fro on a connection until it is cut."""

    def __init__(self, client: socket.socket, link: socket.socket) -> None:
        self._client, self._link = client, link
        self.count, self.last = 0, time.monotonic()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Echo":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        for end in (self._client, self._link):
            end.settimeout(1.2)
        try:
            while not self._over.is_set():
                self._client.sendall(b"x")
                self._link.sendall(self._link.recv(1))
                self._client.recv(1)
                self.count, self.last = self.count + 1, time.monotonic()
                self._over.wait(0.02)
        except OSError:
            return


def test_a_rule_for_icmp_and_for_a_prefix(world: World, closed: tuple[Any, Guest]) -> None:
    group, guest = closed
    rule = world.tenant.rule(group, protocol="icmp", remote_ip_prefix=f"{world.near.ip}/32")
    world.near.reaches(guest.ip)
    other = world.tenant.machine(world.green, "host1", [world.open])
    assert not other.pings(guest.ip)
    world.tenant.api.delete_security_group_rule(rule)
    until(lambda: not world.near.pings(guest.ip, wait=0.3), 10, "the rule is gone")
    world.tenant.drop(other)


def test_no_way_out_without_an_egress_rule(world: World, closed: tuple[Any, Guest]) -> None:
    group, guest = closed
    guest.reaches(world.near.ip)
    for rule in list(world.tenant.api.security_group_rules(security_group_id=group.id, direction="egress")):
        world.tenant.api.delete_security_group_rule(rule)
    until(lambda: not guest.pings(world.near.ip, wait=0.3), 10, "nothing goes out")
    assert guest.dhcp()["ip"] == guest.ip  # asking for an address is always allowed


# -- honest addresses -----------------------------------------------------------------------------------------------


def heard(sender: Guest, receiver: Guest, lies: list[bytes], truth: Callable[[bytes], bytes]) -> list[int]:
    """Which of the lies arrive at the receiver. Before and after them goes an honest frame, for which we wait, so that
    silence means that they were dropped on the way."""
    arrived: list[int] = []
    with sender.wire() as out, receiver.wire() as ear:
        for mark in (b"honest-before", b"honest-after"):
            if mark == b"honest-after":
                for lie in lies:
                    out.send(lie)
            out.send(truth(mark))
            while mark not in (got := ear.recv(4096)):
                arrived += [number for number, lie in enumerate(lies) if got[12:] == lie[12 : len(got)]]
    return arrived


def lies_and_truth(world: World) -> tuple[dict[str, bytes], Callable[[bytes], bytes]]:
    near, far = world.near, world.far
    to = far.mac

    def truth(mark: bytes) -> bytes:
        return frames.frame(near.mac, to, *frames.udp(near.ip, far.ip, mark))

    body = b"a lie"
    return {
        "MAC": frames.frame(SPOOFED_MAC, to, *frames.udp(near.ip, far.ip, body)),
        "IPv4": frames.frame(near.mac, to, *frames.udp("10.10.0.99", far.ip, body)),
        "IPv4 of another subnet": frames.frame(near.mac, to, *frames.udp("8.8.8.8", far.ip, body)),
        "IPv6": frames.frame(near.mac, to, *frames.udp("fd00:10::99", far.ip6, body)),
        "ARP for the router": frames.frame(near.mac, to, *frames.arp_claim(near.mac, "10.10.0.1", to, far.ip)),
        "ARP with another MAC": frames.frame(near.mac, to, *frames.arp_claim(SPOOFED_MAC, near.ip, to, far.ip)),
        "neighbour": frames.frame(near.mac, to, *frames.neighbour_claim(near.mac, "fd00:10::1", near.ip6, far.ip6)),
        "neighbour's MAC": frames.frame(
            near.mac, to, *frames.neighbour_claim(SPOOFED_MAC, near.ip6, near.ip6, far.ip6)
        ),
    }, truth


def test_no_lie_about_addresses_arrives(world: World) -> None:
    lies, truth = lies_and_truth(world)
    assert [list(lies)[number] for number in heard(world.near, world.far, list(lies.values()), truth)] == []


def test_the_same_frames_arrive_where_port_security_is_off(world: World) -> None:
    """What kept them out was port security, and not that they are malformed."""
    api, lies, truth = world.tenant.api, *lies_and_truth(world)
    before = api.get_port(world.near.port.id)
    api.update_port(world.near.port, security_group_ids=[], port_security_enabled=False)

    def all_arrive() -> bool:
        arrived = heard(world.near, world.far, list(lies.values()), truth)
        assert len(arrived) == len(lies), sorted(set(lies) - {list(lies)[number] for number in arrived})
        return True

    until(all_arrive, 10, "all arrive")
    api.update_port(world.near.port, port_security_enabled=True, security_group_ids=before.security_group_ids)
    until(lambda: not heard(world.near, world.far, list(lies.values()), truth), 10, "none arrives")


# -- projects apart -------------------------------------------------------------------------------------------------


def test_two_projects_with_the_same_addresses_do_not_meet(world: World) -> None:
    """The same subnet twice: each machine reaches its own, at the other's address too, and nobody else's."""
    cloud = world.cloud
    other = Tenant(cloud, cloud.member("stranger"))
    green = other.network("green", "10.10.0.0/24")
    other.router("edge", green)
    group = other.open_group()
    twin = other.machine(green, "host1", [group], fixed_ips=[{"ip_address": world.far.ip}])
    lonely = other.machine(green, "host2", [group], fixed_ips=[{"ip_address": "10.10.0.240"}])
    lonely.reaches(world.far.ip)  # its own project's machine of that address
    with twin.listen(7000) as server, world.far.listen(7000) as theirs:
        with lonely.connect(world.far.ip, 7000) as client, serve_once(server, client) as link:
            link.sendall(b"twin")
            assert client.recv(4) == b"twin"
        theirs.settimeout(0.2)
        with pytest.raises(TimeoutError):
            theirs.accept()
    assert not world.near.pings("10.10.0.240")
    with world.near.wire() as ear:  # not even a broadcast comes across
        ear.settimeout(0.5)
        lonely.ip_batch("neigh flush dev eth0")
        lonely.pings("10.10.0.250", wait=0.3)
        with pytest.raises(TimeoutError):
            while b"\x0a\x0a\x00\xfa" not in ear.recv(4096):
                pass
    twin.reaches(world.cloud.here)
    other.end()
    cloud.forget("stranger")


# -- switched off ---------------------------------------------------------------------------------------------------


def test_a_port_that_is_switched_off_carries_nothing(world: World) -> None:
    api = world.tenant.api
    guest = world.tenant.machine(world.green, "host1", [world.open])
    guest.reaches(world.far.ip)
    clock = Clock()
    api.update_port(guest.port, admin_state_up=False)
    until(lambda: not guest.pings(world.far.ip, wait=0.3), 10, "nothing passes")
    assert not world.far.pings(guest.ip, wait=0.3)
    print(f"a port switched off is silent after {clock.seconds} s")
    world.tenant.status(guest, "DOWN")
    api.update_port(guest.port, admin_state_up=True)
    guest.reaches(world.far.ip)
    world.tenant.status(guest, "ACTIVE")
    world.tenant.drop(guest)


def test_a_router_that_is_switched_off_forwards_nothing(world: World) -> None:
    api = world.tenant.api
    router = world.tenant.routers[0]
    floating = api.create_ip(floating_network_id=world.tenant.public.id, port_id=world.near.port.id)
    until(lambda: pings_from_here(floating.floating_ip_address), 10, "in")
    world.near.reaches(world.cloud.here)
    api.update_router(router, admin_state_up=False)
    until(lambda: not world.near.pings(world.cloud.here, wait=0.3), 10, "nothing goes out")
    assert not pings_from_here(floating.floating_ip_address, wait=0.3)
    assert world.near.pings(world.far.ip)  # the network itself goes on
    api.update_router(router, admin_state_up=True)
    world.near.reaches(world.cloud.here)
    until(lambda: pings_from_here(floating.floating_ip_address), 10, "in again")
    api.delete_ip(floating)


def test_without_snat_private_addresses_do_not_leave(world: World) -> None:
    api = world.tenant.api
    router = world.tenant.routers[0]
    gateway = {"network_id": world.tenant.public.id, "enable_snat": False}
    api.update_router(router, external_gateway_info=gateway)
    until(lambda: not world.near.pings(world.cloud.here, wait=0.3), 10, "no answer finds back")
    api.update_router(router, external_gateway_info=gateway | {"enable_snat": True})
    world.near.reaches(world.cloud.here)


def test_a_log_hears_of_its_group_alone(world: World, closed: tuple[Any, Guest]) -> None:
    """What the group's rules drop and let pass stands in the log of the Host's ovn-controller, under the log's id."""
    group, guest = closed
    file = host.switch(world.cloud.site, "host2").log / "ovn-controller.log"
    body = {"log": {"resource_type": "security_group", "resource_id": group.id}}
    made = world.cloud.conn.network.post("/log/logs", json=body).json()["log"]["id"]

    def noted(verdict: str) -> list[str]:
        return [line for line in file.read_text().splitlines() if f'name="{made}", verdict={verdict}' in line]

    def dropped() -> bool:
        assert not world.near.pings(guest.ip)
        return bool(noted("drop"))

    def allowed() -> bool:
        guest.reaches(world.near.ip)
        return bool(noted("allow"))

    until(dropped, 20, "a dropped packet is noted")
    until(allowed, 20, "an allowed packet is noted")
    assert all(guest.ip in line for line in noted("drop") + noted("allow") if "ip" in line and "nw_src" in line)
    world.cloud.conn.network.delete(f"/log/logs/{made}")
