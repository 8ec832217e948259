"""Real Servers through their whole life: what the API says, what libvirt and OVN say, and what the guest itself says.

Two of them: `drive` on one Host gets its first configuration from a config drive, `http` on the other from
169.254.169.254. Each test leaves both ACTIVE.
"""

import hashlib
import json
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from tests.dataplane import leaks
from tests.dataplane.cloud import Clock, Cloud, pings_from_here, running, until
from tests.dataplane.picture import TABLES
from tests.dataplane.pings import pinging
from tests.dataplane.servers import Servers
from tests.dataplane.tenant import Tenant

pytestmark = [pytest.mark.real, pytest.mark.slow]
USER_DATA = "#!/bin/sh\necho carried > /root/greeting\n"
BOOT_ID = "cat /proc/sys/kernel/random/boot_id"


@dataclass
class World:
    cloud: Cloud
    tenant: Tenant
    servers: Servers
    green: Any
    blue: Any
    group: Any
    drive: Any
    http: Any

    def server(self, name: str) -> Any:
        return getattr(self, name)


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with running(tmp_path_factory.mktemp("servers")) as cloud:
        yield cloud


@pytest.fixture(scope="module")
def world(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    tenant = Tenant(cloud)
    assert list(tenant.api.security_groups())  # the project's default one comes with the first look, and stays
    before = leaks.look(cloud)
    green, blue = tenant.network("green", "10.10.0.0/24", "fd00:10::/64"), tenant.network("blue", "10.20.0.0/24")
    tenant.router("edge", green, blue)
    group = tenant.open_group()
    servers = Servers(tenant, tmp_path_factory.mktemp("keys"))
    clock = Clock()
    common = {"user_data": USER_DATA, "metadata": {"colour": "green"}}
    drive = servers.order("drive", green, group, host="host1", config_drive=True, **common)
    http = servers.order("http", green, group, host="host2", **common)
    world = World(cloud, tenant, servers, green, blue, group, servers.active(drive), servers.active(http))
    print(f"both ACTIVE after {clock.seconds} s")
    for server in (drive, http):
        servers.booted(server)
        servers.address(server)
    print(f"both booted after {clock.seconds} s")
    yield world
    servers.end()
    tenant.end()
    leaks.none_left(cloud, before)


def test_active_means_running_and_plugged(world: World) -> None:
    for server, host in ((world.drive, "host1"), (world.http, "host2")):
        assert server.power_state == 1
        assert server.compute_host == host
        port = world.servers.port(server)
        assert port.status == "ACTIVE"
        assert port.binding_host_id == host
        assert port.mac_address in str(server.addresses)
        bindings = [row for row in world.cloud.rows("Port_Binding", "sb") if row["logical_port"] == port.id]
        assert bindings[0]["up"] is True
        assert bindings[0]["chassis"]
        assert world.cloud.qemu(server.id)


@pytest.mark.parametrize(("name", "source"), [("drive", "config-drive"), ("http", "http")])
def test_first_boot(world: World, name: str, source: str) -> None:
    """Key, hostname, user data and metadata came, from where they should; the console shows the boot."""
    server, servers = world.server(name), world.servers
    assert servers.reached(server, "hostname; cat /root/greeting").split() == [name, "carried"]
    assert f"metadata={source}" in servers.booted(server)
    assert "Linux version" in servers.console(server)
    told = json.loads(servers.ssh(server, "wget -q -O - http://169.254.169.254/openstack/latest/meta_data.json"))
    assert told["uuid"] == server.id
    assert told["hostname"].startswith(name)
    assert told["meta"] == {"colour": "green"}
    assert list(told["public_keys"]) == [servers.keypair.name]
    assert servers.ssh(server, "wget -q -O - http://169.254.169.254/latest/meta-data/instance-type") == "m1.nano"
    if name == "drive":
        kept = json.loads(servers.ssh(server, "cat /run/config/openstack/latest/meta_data.json"))
        assert kept["uuid"] == server.id


def test_guests_reach_each_other_and_the_outside(world: World) -> None:
    for one, other in ((world.drive, world.http), (world.http, world.drive)):
        target = world.servers.fixed(other)
        script = f"ping -q -c 1 -W 2 {target} && ping -q -c 1 -W 2 {world.cloud.here} && nc -w 3 {target} 22 </dev/null | head -n 1"
        assert "SSH-2.0" in world.servers.reached(one, script)
        six = next(f["ip_address"] for f in world.servers.port(other).fixed_ips if ":" in f["ip_address"])
        world.servers.reached(one, f"ping6 -q -c 1 -W 3 {six}")


def test_bulk_tcp_from_guest_to_guest_and_out(world: World) -> None:
    """Megabytes, in full frames: nothing of a wrong size or checksum passes this."""
    servers, size = world.servers, 3_000_000
    serve = f"cd /tmp; head -c {size} /dev/urandom > bulk; (httpd -f -p 9000 -h /tmp </dev/null >/dev/null 2>&1 &); md5sum < bulk"
    sum_there = servers.reached(world.http, serve).split()[0]
    url = f"http://{servers.fixed(world.http)}:9000/bulk"
    assert servers.ssh(world.drive, f"wget -q -O - {url} | md5sum", seconds=60).split()[0] == sum_there
    with urllib.request.urlopen(f"http://{servers.address(world.http)}:9000/bulk", timeout=20) as answer:
        assert hashlib.md5(answer.read()).hexdigest() == sum_there
    servers.ssh(world.http, "killall httpd; rm /tmp/bulk")


def test_serial_console_over_a_websocket(world: World) -> None:
    made = world.servers.api.create_server_remote_console(world.drive.id, type="serial", protocol="serial")
    with connect(made.url, subprotocols=[Subprotocol("binary")], open_timeout=5) as link:
        link.send(b'\necho "said-""by-$(hostname)"\n')
        seen = ""
        while "said-by-drive" not in seen:
            part = link.recv(timeout=20)
            seen += part if isinstance(part, str) else part.decode(errors="replace")


def test_a_nic_comes_and_goes(world: World) -> None:
    server, servers = world.drive, world.servers
    made = servers.api.create_server_interface(server.id, net_id=world.blue.id)
    address = made.fixed_ips[0]["ip_address"]
    until(lambda: address in servers.ssh(server, "ip -4 -o address show dev eth1"), 40, "the guest has the address")
    assert world.tenant.api.get_port(made.port_id).status == "ACTIVE"
    assert servers.ssh(server, "ping -q -c 1 -W 2 -I eth1 10.20.0.1")
    assert address in str(servers.active(server).addresses)
    servers.api.delete_server_interface(made.port_id, server=server.id)
    until(lambda: "eth1" not in servers.ssh(server, "ip -o link"), 40, "the guest has let go of it")
    until(lambda: world.tenant.api.find_port(made.port_id) is None, 20, "the port is gone")
    assert address not in str(servers.active(server).addresses)


def test_stopped_and_started_with_the_same_disk(world: World) -> None:
    server, servers = world.http, world.servers
    servers.reached(server, "echo kept > /root/marker; sync")
    clock = Clock()
    servers.api.stop_server(server.id)
    stopped = servers.status(server, "SHUTOFF")
    print(f"SHUTOFF after {clock.seconds} s")
    assert stopped.power_state == 4
    assert not world.cloud.qemu(server.id)
    assert not pings_from_here(servers.address(server), wait=0.3)
    until(lambda: servers.port(server).status == "DOWN", 10, "its port is DOWN")
    servers.api.start_server(server.id)
    servers.active(server)
    assert servers.reached(server, "cat /root/marker; hostname").split() == ["kept", "http"]
    assert servers.port(server).status == "ACTIVE"


@pytest.mark.parametrize("kind", ["SOFT", "HARD"])
def test_rebooted(world: World, kind: str) -> None:
    server, servers = world.drive, world.servers
    before, pid = servers.reached(server, BOOT_ID), world.cloud.qemu(server.id)
    servers.api.reboot_server(server.id, kind)
    servers.active(server)
    until(lambda: servers.ssh(server, BOOT_ID) != before, 90, "it has booted again")
    assert world.cloud.qemu(server.id) != pid or kind == "SOFT"
    assert servers.ssh(server, "cat /root/greeting") == "carried"


def test_a_guest_that_powers_itself_off_is_shutoff(world: World) -> None:
    server, servers = world.http, world.servers
    servers.reached(server, "(sleep 1; poweroff) >/dev/null 2>&1 </dev/null &")
    until(lambda: not world.cloud.qemu(server.id), 40, "QEMU has ended")
    clock = Clock()
    servers.status(server, "SHUTOFF", 10)
    print(f"SHUTOFF {clock.seconds} s after QEMU ended by itself")
    servers.api.start_server(server.id)
    servers.active(server)
    servers.reached(server)


def test_a_snapshot_boots(world: World) -> None:
    """The disk of a running guest becomes an image; a Server of it has what was on the disk."""
    server, servers = world.http, world.servers
    servers.reached(server, "echo snapped > /root/marker; sync")
    clock = Clock()
    image = servers.api.create_server_image(server.id, "copy", wait=False)
    servers.images.append(image)
    images = world.tenant.conn.image
    until(lambda: images.get_image(image.id).status == "active", 60, "the snapshot is an image")
    print(f"a snapshot took {clock.seconds} s")
    servers.active(server)
    copy = servers.order("copy", world.green, world.group, host="host1", image_id=image.id)
    servers.active(copy)
    assert servers.reached(copy, "cat /root/marker; hostname").split() == ["snapped", "copy"]
    assert servers.ssh(server, "cat /root/marker") == "snapped"
    servers.delete(copy)


def test_rebuilt_with_an_empty_disk(world: World) -> None:
    server, servers = world.drive, world.servers
    servers.reached(server, "echo doomed > /root/marker; sync")
    address = servers.fixed(server)
    servers.api.rebuild_server(server.id, image=servers.image.id)
    servers.active(server)
    until(lambda: servers.ssh(server, "ls /root") == "greeting", 90, "a new disk, and user data again")
    assert servers.fixed(server) == address


def test_a_restart_touches_nothing(world: World) -> None:
    """Stopped and started again: a full pass over the settled cloud changes no row and no machine, and no packet is
    missed."""
    cloud, servers = world.cloud, world.servers
    for server in (world.drive, world.http):
        servers.reached(server)
    before = settled(world)
    with pinging("", servers.address(world.http)) as pings:
        assert cloud.process.stop() == 0
        cloud.start()
        cloud.doctor()
        pings.more(3)
    assert settled(world) == before
    print(f"the longest silence was {pings.longest:.2f} s")
    assert pings.longest < 1.0
    assert {servers.active(server).power_state for server in (world.drive, world.http)} == {1}


def settled(world: World) -> dict[str, Any]:
    """Rows with their UUIDs, machines with their processes and definitions."""
    found: dict[str, Any] = {table: sorted(map(str, world.cloud.rows(table))) for table in TABLES}
    for host in world.cloud.site.hosts:
        connection = world.cloud.libvirt(host)
        found |= {domain.name(): (domain.ID(), domain.XMLDesc(0)) for domain in connection.listAllDomains()}
        connection.close()
    return found | {server.id: world.cloud.qemu(server.id) for server in (world.drive, world.http)}


def test_events_tell_what_happened_and_how_long(world: World) -> None:
    for server in (world.drive, world.http):
        told = {}
        for action in world.servers.api.server_actions(server.id):
            found = world.servers.api.get_server_action(action.request_id, server.id)
            assert found.events, found
            for event in found.events:
                assert event.finish_time, event
                assert event.result == "Success", event
                took = datetime.fromisoformat(event.finish_time) - datetime.fromisoformat(event.start_time)
                told[f"{found.action} {event.event}"] = took.total_seconds()
        print(server.name, told)
        assert {"create"} <= {name.split()[0] for name in told}
        assert all(seconds >= 0 for seconds in told.values())
    assert any(seconds > 0.05 for seconds in told.values())


def test_the_metadata_service_is_gone_with_the_last_machine(world: World, tmp_path: Path) -> None:
    """Its namespaces are looked for by `leaks` when all is deleted; here: a network that has lost its last machine."""
    servers = world.servers
    lone = servers.order("lone", world.blue, world.group, host="host2")
    servers.active(lone)
    name = f"{world.cloud.site.prefix}-meta-{world.blue.id.replace('-', '')[:12]}"
    space = Path("/run/netns") / name
    until(space.exists, 10, "the network has a metadata service")
    servers.delete(lone)
    until(lambda: not space.exists(), 10, "it has none any more")


def test_a_machine_goes_to_another_host_while_it_runs(world: World) -> None:
    """With its disk, config drive and console: the guest runs on, and its pings are hardly missed."""
    server, servers, conn = world.drive, world.servers, world.cloud.conn
    source = servers.active(server).compute_host
    boot = servers.reached(server, f"{BOOT_ID}; head -c 3000000 /dev/urandom > /root/load; sync")
    content = servers.ssh(server, "md5sum /root/load")
    clock = Clock()
    with pinging("", servers.address(server)) as pings:
        conn.compute.live_migrate_server(server.id, host=None, block_migration="auto")
        moved = servers.active(server, 120)
        took = clock.seconds
        pings.more(5)
    print(f"{source} to {moved.compute_host} in {took} s, the longest silence was {pings.longest:.2f} s")
    assert moved.compute_host != source
    assert pings.longest < 10
    told = servers.ssh(server, f"echo 3 > /proc/sys/vm/drop_caches; {BOOT_ID}; md5sum /root/load")
    assert told == f"{boot}\n{content}"
    assert servers.ssh(server, "grep -l config-2 /dev/sr0")
    assert "Linux version" in servers.console(server)
    assert [host for host in world.cloud.site.hosts if has(world.cloud, host, server)] == [moved.compute_host]
    servers.api.reboot_server(server.id, "HARD")  # what is stored there starts it again
    servers.active(server)
    assert servers.reached(server, BOOT_ID) != boot


def has(cloud: Cloud, host: str, server: Any) -> bool:
    connection = cloud.libvirt(host)
    try:
        return any(server.id in domain.name() for domain in connection.listAllDomains())
    finally:
        connection.close()
