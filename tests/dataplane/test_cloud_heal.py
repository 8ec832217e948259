"""Somebody meddles with our rows in OVN's Northbound database, row by row or with all of it: they come back.

What is foreign stays. The whole content is compared, and packets flow again.
"""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from hagane.lab import central
from hagane.ovn.desired import MARK
from tests.dataplane.cloud import Clock, Cloud, pings_from_here, running, until
from tests.dataplane.picture import Picture, differences, picture
from tests.dataplane.space import Guest
from tests.dataplane.tenant import Tenant

pytestmark = [pytest.mark.real, pytest.mark.slow]
SECONDS = 5.0  # within which everything is back


@dataclass
class World:
    cloud: Cloud
    tenant: Tenant
    green: Any
    router: Any
    group: Any
    near: Guest
    far: Guest
    floating: str

    def nb(self, *words: str) -> str:
        return self.cloud.nb(*words)

    def interface(self) -> str:
        """The router's port on the network."""
        ports = self.tenant.api.ports(device_id=self.router.id, device_owner="network:router_interface")
        return next(port.id for port in ports if ":" not in port.fixed_ips[0]["ip_address"])

    def flows(self) -> None:
        """Packets say that all is well."""
        self.near.reaches(self.far.ip)
        self.near.reaches(self.cloud.here)
        until(lambda: pings_from_here(self.floating), 10, "the floating IP answers")

    def healed(self, before: Picture) -> float:
        """Seconds until the content is as it was."""
        clock = Clock()
        until(lambda: self._same(before), SECONDS, "the database is as it was")
        return clock.seconds

    def _same(self, before: Picture) -> bool:
        found = differences(before, picture(self.cloud))
        assert not found, "\n".join(found)
        return True


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with running(tmp_path_factory.mktemp("heal")) as cloud:
        yield cloud


@pytest.fixture(scope="module")
def world(cloud: Cloud) -> Iterator[World]:
    tenant = Tenant(cloud)
    green = tenant.network("green", "10.10.0.0/24", "fd00:10::/64")
    router = tenant.router("edge", green)
    group = tenant.open_group()
    near = tenant.machine(green, "host1", [group], extra_dhcp_opts=[{"opt_name": "mtu", "opt_value": "1400"}])
    far = tenant.machine(green, "host2", [group])
    floating = tenant.api.create_ip(floating_network_id=tenant.public.id, port_id=far.port.id)
    world = World(cloud, tenant, green, router, group, near, far, floating.floating_ip_address)
    world.flows()
    yield world
    tenant.end()
    cloud.doctor()


def pg(world: World) -> str:
    return "pg_" + world.group.id.replace("-", "_")


def one(world: World, table: str, *condition: str) -> str:
    """The UUID of a row."""
    return world.nb("--bare", "--columns=_uuid", "find", table, *condition).split()[0]


def marked(world: World, table: str, owner: str) -> str:
    """The UUID of a row of ours by the beginning of its key."""
    return next(row["_uuid"] for row in world.cloud.rows(table) if row["external_ids"].get(MARK, "").startswith(owner))


Meddle = Callable[[World], object]
DELETED: dict[str, Meddle] = {
    "switch": lambda w: w.nb("ls-del", w.green.id),
    "port": lambda w: w.nb("lsp-del", w.near.port.id),
    "localnet port": lambda w: w.nb("lsp-del", f"provnet-{w.tenant.public.id}"),
    "DHCP of a subnet": lambda w: w.nb("destroy", "DHCP_Options", marked(w, "DHCP_Options", f"network:{w.green.id}")),
    "DHCP of a port": lambda w: w.nb("destroy", "DHCP_Options", marked(w, "DHCP_Options", f"port:{w.near.port.id}")),
    "router": lambda w: w.nb("lr-del", w.router.id),
    "router port": lambda w: w.nb("lrp-del", f"lrp-{w.interface()}"),
    "router port's end in the switch": lambda w: w.nb("lsp-del", w.interface()),
    "gateway port": lambda w: w.nb("lrp-del", gateway_port(w)),
    "gateway port's end in the switch": lambda w: w.nb("lsp-del", gateway_port(w).removeprefix("lrp-")),
    "route": lambda w: w.nb("lr-route-del", w.router.id, "0.0.0.0/0"),
    "SNAT": lambda w: w.nb("lr-nat-del", w.router.id, "snat"),
    "floating IP": lambda w: w.nb("lr-nat-del", w.router.id, "dnat_and_snat"),
    "gateway chassis": lambda w: w.nb("clear", "Logical_Router_Port", gateway_port(w), "gateway_chassis"),
    "port group": lambda w: w.nb("pg-del", pg(w)),
    "port group that drops": lambda w: w.nb("pg-del", "hagane_drop"),
    "ACLs": lambda w: w.nb("acl-del", pg(w)),
    "ACLs that drop": lambda w: w.nb("acl-del", "hagane_drop"),
}
CORRUPTED: dict[str, Meddle] = {
    "members of a port group": lambda w: w.nb("clear", "Port_Group", pg(w), "ports"),
    "members of the group that drops": lambda w: w.nb("clear", "Port_Group", "hagane_drop", "ports"),
    "one more member": lambda w: w.nb("pg-set-ports", pg(w), w.near.port.id),
    "ACL's match": lambda w: w.nb("set", "ACL", marked(w, "ACL", f"security_group:{w.group.id}"), "match=1"),
    "ACL's action": lambda w: w.nb("set", "ACL", marked(w, "ACL", "group:drop/rule:in"), "action=allow"),
    "ACL more in our group": lambda w: w.nb("acl-add", pg(w), "to-lport", "2000", "ip4", "drop"),
    "port's addresses": lambda w: w.nb("lsp-set-addresses", w.near.port.id, "unknown"),
    "port security": lambda w: w.nb("lsp-set-port-security", w.near.port.id),
    "port switched off": lambda w: w.nb("lsp-set-enabled", w.near.port.id, "disabled"),
    "port's chassis": lambda w: w.nb("lsp-set-options", w.near.port.id, "requested-chassis=host2"),
    "port's DHCP": lambda w: w.nb("clear", "Logical_Switch_Port", w.far.port.id, "dhcpv4_options"),
    "port's type": lambda w: w.nb("lsp-set-type", w.near.port.id, "localport"),
    "DHCP option": lambda w: w.nb("set", "DHCP_Options", marked(w, "DHCP_Options", f"network:{w.green.id}"), "options:router=10.10.0.66"),
    "route's next hop": lambda w: w.nb("set", "Logical_Router_Static_Route", marked(w, "Logical_Router_Static_Route", f"router:{w.router.id}"), f"nexthop={w.cloud.dns}"),
    "route more in our router": lambda w: w.nb("lr-route-add", w.router.id, "10.66.0.0/16", "10.10.0.66"),
    "router switched off": lambda w: w.nb("set", "Logical_Router", w.router.id, "enabled=false"),
    "router port's address": lambda w: w.nb("set", "Logical_Router_Port", f"lrp-{w.interface()}", "networks=10.10.0.66/24"),
    "router port's advertisements": lambda w: w.nb("clear", "Logical_Router_Port", f"lrp-{w.interface()}", "ipv6_ra_configs"),
    "router port's peer": lambda w: w.nb("lsp-set-options", w.interface(), "router-port=nowhere"),
    "SNAT's address": lambda w: w.nb("set", "NAT", one(w, "NAT", "type=snat"), f'external_ip="{w.cloud.dns}"'),
    "floating IP's address": lambda w: w.nb("set", "NAT", one(w, "NAT", "type=dnat_and_snat"), 'logical_ip="10.10.0.99"'),
    "switch's name": lambda w: w.nb("set", "Logical_Switch", w.green.id, "name=stolen"),
    "port group's name": lambda w: w.nb("set", "Port_Group", pg(w), "name=stolen"),
    "port moved to a foreign switch": lambda w: moved(w),
}  # fmt: skip
MARKLESS = (
    "Logical_Switch", "Logical_Switch_Port", "DHCP_Options", "Logical_Router", "Logical_Router_Port",
    "Logical_Router_Static_Route", "NAT", "Port_Group", "ACL", "Gateway_Chassis",
)  # fmt: skip


def gateway_port(world: World) -> str:
    ports = world.tenant.api.ports(device_id=world.router.id, device_owner="network:router_gateway")
    return f"lrp-{next(ports).id}"


def moved(world: World) -> None:
    port = one(world, "Logical_Switch_Port", f"name={world.near.port.id}")
    world.nb("remove", "Logical_Switch", world.green.id, "ports", port, "--",
             "add", "Logical_Switch", world.tenant.public.id, "ports", port)  # fmt: skip


@pytest.mark.parametrize("what", DELETED)
def test_what_was_deleted_is_back(world: World, what: str) -> None:
    heal(world, DELETED[what])


@pytest.mark.parametrize("what", CORRUPTED)
def test_what_was_changed_is_as_it_was(world: World, what: str) -> None:
    heal(world, CORRUPTED[what])


@pytest.mark.parametrize("table", MARKLESS)
def test_a_row_without_its_mark_is_ours_again(world: World, table: str) -> None:
    rows = [row["_uuid"] for row in world.cloud.rows(table) if MARK in row["external_ids"]]
    words = [word for row in rows for word in ("--", "remove", table, row, "external_ids", f'"{MARK}"')]
    heal(world, lambda w: w.nb(*words[1:]))


def heal(world: World, meddle: Meddle) -> None:
    before = picture(world.cloud)
    meddle(world)
    print(f"back after {world.healed(before)} s")
    world.flows()
    assert not differences(before, picture(world.cloud)), "and it stays so"


def test_what_is_foreign_stays(world: World) -> None:
    """Rows of others, beside ours and on ours, where that does no harm."""
    world.nb("ls-add", "theirs", "--", "lsp-add", "theirs", "their-port", "--", "lr-add", "their-router",
             "--", "lrp-add", "their-router", "their-lrp", "02:00:00:00:00:77", "10.77.0.1/24",
             "--", "pg-add", "their_group", "their-port", "--", "acl-add", "their_group", "to-lport", "1", "ip4", "drop")  # fmt: skip
    world.nb("lsp-add", world.green.id, "their-port-on-ours")
    world.nb("set", "Logical_Switch", world.green.id, "external_ids:their=note")
    world.nb("create", "DHCP_Options", "cidr=10.77.0.0/24")
    before = picture(world.cloud)
    assert len([key for key in before if "foreign" in key]) == 8, sorted(key for key in before if "foreign" in key)
    heal(world, lambda w: w.nb("lsp-del", w.near.port.id))
    heal(world, lambda w: w.nb("pg-del", pg(w)))
    part = {key: value for key, value in before.items() if "foreign" in key}
    world.cloud.process.stop()
    world.cloud.start()
    assert not differences(before, picture(world.cloud))
    assert part
    world.nb("ls-del", "theirs", "--", "lr-del", "their-router", "--", "pg-del", "their_group",
             "--", "lsp-del", "their-port-on-ours", "--", "destroy", "DHCP_Options",
             one(world, "DHCP_Options", "cidr=10.77.0.0/24"),
             "--", "remove", "Logical_Switch", world.green.id, "external_ids", "their")  # fmt: skip


def test_what_has_no_row_goes(world: World) -> None:
    """Rows with our mark that no row of ours stands behind, found while we run and at the next start."""
    before = picture(world.cloud)
    world.nb("ls-add", "ghost", "--", "set", "Logical_Switch", "ghost", f'external_ids:"{MARK}"="network:ghost"')
    world.healed(before)
    world.cloud.process.stop()
    world.nb("ls-add", "ghost", "--", "set", "Logical_Switch", "ghost", f'external_ids:"{MARK}"="network:ghost"')
    world.nb("lsp-del", world.near.port.id)
    world.cloud.start()
    world.healed(before)


def test_an_emptied_database_is_filled_again(world: World) -> None:
    """Killed, and started again without a row: as after a disk was lost."""
    before = picture(world.cloud)
    (central.SCHEMAS, (world.cloud.site.folder("central").state / "nb.db").unlink())
    clock = Clock()
    old = world.cloud.kill_daemon("central/nb")
    until(lambda: world.cloud.daemon("central/nb").pid not in (None, old), 10, "it runs again")
    back = clock.seconds
    until(lambda: not differences(before, picture(world.cloud)), 20, "everything is rebuilt")
    print(f"the server was back after {back} s, all rows after {clock.seconds} s")
    world.flows()


def test_a_server_that_was_away_shortly_is_compared_again(world: World) -> None:
    """What somebody changed in the moment that we were not connected is put right, too."""
    before = picture(world.cloud)
    for _ in range(3):
        world.cloud.kill_daemon("central/nb")
        until(lambda: world.nb("lsp-del", world.near.port.id) == "", 10, "a change right after the start")
        world.healed(before)
    world.flows()


def test_nothing_is_concluded_from_a_database_that_does_not_answer(world: World) -> None:
    """While the Northbound is frozen the API answers and orders wait, also after a start; then all of it happens."""
    api, before = world.tenant.api, picture(world.cloud)
    with frozen(world.cloud, "central/nb"):
        port = api.create_port(network_id=world.green.id)
        assert api.get_port(port.id).status == "DOWN"
        world.near.reaches(world.far.ip)  # packets need no database
        world.cloud.process.stop()
        world.cloud.start()
        api.update_port(port, name="renamed")
        api.delete_port(api.create_port(network_id=world.green.id))
        assert "not answer" in world.cloud.process.command("doctor").stdout
        until(lambda: waits(world, port), 10, "explain says what the port waits for")
    key = f"Logical_Switch_Port port:{port.id}"
    until(lambda: key in picture(world.cloud), 20, "the port is in OVN")
    api.delete_port(port)
    until(lambda: not differences(before, picture(world.cloud)), 20, "all is as it was")
    world.flows()


def waits(world: World, port: Any) -> bool:
    said = world.cloud.process.command("explain", "port", port.id).stdout
    assert "Northbound" in said, said
    return True


@contextmanager
def frozen(cloud: Cloud, daemon: str) -> Iterator[None]:
    pid = cloud.daemon(daemon).pid
    assert pid
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)
