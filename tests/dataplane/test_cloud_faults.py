"""What dies: a QEMU, every daemon, a whole Host, Hagane itself. All ends well, and what is shown meanwhile is true."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from hagane.lab import guest, libvirtd
from tests.dataplane import leaks
from tests.dataplane.cloud import Clock, Cloud, processes, running, until
from tests.dataplane.pings import pinging
from tests.dataplane.servers import Servers
from tests.dataplane.space import Guest
from tests.dataplane.tenant import Tenant

pytestmark = [pytest.mark.real, pytest.mark.slow]


@dataclass
class World:
    """A Server on each Host, and a cheap machine on the second that looks at the first Server."""

    cloud: Cloud
    tenant: Tenant
    servers: Servers
    green: Any
    group: Any
    one: Any
    two: Any
    looker: Guest
    half_made: str = ""  # part of the name of an image that was on its way to a Host when Hagane was killed


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with running(tmp_path_factory.mktemp("faults")) as cloud:
        yield cloud


@pytest.fixture(scope="module")
def world(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    tenant = Tenant(cloud)
    assert list(tenant.api.security_groups())
    before = leaks.look(cloud)
    green = tenant.network("green", "10.10.0.0/24")
    tenant.router("edge", green)
    group = tenant.open_group()
    servers = Servers(tenant, tmp_path_factory.mktemp("keys"))
    orders = [servers.order(name, green, group, host=host) for name, host in (("one", "host1"), ("two", "host2"))]
    one, two = (servers.active(server) for server in orders)
    looker = tenant.machine(green, "host2", [group])
    for server in (one, two):
        servers.booted(server)
        looker.reaches(servers.fixed(server))
    world = World(cloud, tenant, servers, green, group, one, two, looker)
    yield world
    servers.end()
    tenant.end()
    leaks.none_left(cloud, before, seconds=90, but=world.half_made)


# -- a whole Host ---------------------------------------------------------------------------------------------------


def test_a_host_that_freezes_is_noticed_and_comes_back(world: World) -> None:
    """None of its daemons answers, and none is dead, so nobody starts them again."""
    cloud, servers, api = world.cloud, world.servers, world.servers.api
    doomed = servers.active(servers.order("doomed", world.green, world.group, host="host2"))
    with frozen(cloud, "host2"):
        clock = Clock()
        until(lambda: service(world, "host2").state == "down", 60, "host2 is down")
        print(f"host2 is down after {clock.seconds} s")
        assert service(world, "host1").state == "up"
        assert {h.name: h.state for h in api.hypervisors(details=True)} == {"host1": "up", "host2": "down"}
        until(lambda: not agent(world, "host2").is_alive, 60, "its chassis is not alive")
        print(f"its chassis counts as dead after {clock.seconds} s")
        assert agent(world, "host1").is_alive
        shown = api.get_server(world.two.id)
        assert (shown.status, shown.power_state) == ("ACTIVE", 0)  # nothing is known of it
        assert "host2" in cloud.process.command("doctor").stdout
        told = cloud.process.command("explain", "server", "two").stdout
        assert "host2" in told
        lucky = [servers.order(f"lucky{n}", world.green, world.group) for n in (1, 2)]
        assert {servers.active(server).compute_host for server in lucky} == {"host1"}
        unlucky = servers.order("unlucky", world.green, world.group, host="host2")
        servers.status(unlucky, "ERROR")
        assert "No valid host" in api.get_server(unlucky.id).fault["message"]
        servers.delete(doomed, unlucky, *lucky)  # also where nobody can be asked
        api.stop_server(world.two.id)
        assert api.get_server(world.two.id).task_state == "powering-off"
    clock = Clock()
    until(lambda: service(world, "host2").state == "up", 60, "host2 is up")
    print(f"host2 is up {clock.seconds} s after it thawed")
    until(lambda: agent(world, "host2").is_alive, 60, "its chassis is alive")
    servers.status(world.two, "SHUTOFF")  # what was wanted meanwhile happens now
    api.start_server(world.two.id)
    servers.active(world.two)
    servers.booted(world.two, times=2)
    world.looker.reaches(servers.fixed(world.two))


@contextmanager
def frozen(cloud: Cloud, host: str) -> Iterator[None]:
    names = ("ovn-controller", "ovs-vswitchd", "ovsdb-server", "virtlogd", "libvirtd")
    pids = [cloud.daemon(f"{host}/{name}").pid for name in names]
    try:
        for pid in pids:
            os.kill(pid or 0, signal.SIGSTOP)
        yield
    finally:
        for pid in reversed(pids):
            os.kill(pid or 0, signal.SIGCONT)


def service(world: World, host: str) -> Any:
    return next(s for s in world.servers.api.services(binary="nova-compute") if s.host == host)


def agent(world: World, host: str) -> Any:
    return next(a for a in world.tenant.api.agents() if a.host == host and "Controller" in a.agent_type)


# -- ourselves ------------------------------------------------------------------------------------------------------


@dataclass
class Traces:
    """What of a Server can be seen on its Host, without asking anybody."""

    disks: Path
    definition: Path
    pid: Path
    images: Path

    @classmethod
    def of(cls, cloud: Cloud, server: Any) -> "Traces":
        folder, name = cloud.site.folder("host2"), f"hagane-{server.id}"
        pool = libvirtd.pool(folder) / "disk"
        return cls(
            pool / name, folder.state / f"libvirt/etc/qemu/{name}.xml", folder.run / f"libvirt/qemu/{name}.pid", pool
        )

    def has_disk(self) -> bool:
        return any(self.disks.parent.glob(f"{self.disks.name}.*"))

    def brings_image(self) -> bool:
        """A base image is there, and is not complete."""
        names = {path.name for path in self.images.glob("hagane-image.*")}
        return any(f"{name}.ready" not in names for name in names if not name.endswith(".ready"))


CREATING: dict[str, Callable[[Traces], bool]] = {
    "ordered": lambda traces: True,
    "image on its way": lambda traces: traces.brings_image() or traces.has_disk(),
    "disk made": lambda traces: traces.has_disk(),
    "machine defined": lambda traces: traces.definition.exists(),
    "machine started": lambda traces: traces.pid.exists(),
}
DELETING: dict[str, Callable[[Traces], bool]] = {
    "ordered": lambda traces: True,
    "machine off": lambda traces: not traces.pid.exists(),
    "machine undefined": lambda traces: not traces.definition.exists(),
    "disks gone": lambda traces: not traces.has_disk(),
    "some time later": lambda traces: not traces.has_disk(),
}


@pytest.mark.parametrize(("creating", "deleting"), list(zip(CREATING, DELETING, strict=True)))
def test_hagane_killed_while_a_server_is_made_and_deleted(world: World, creating: str, deleting: str) -> None:
    """The next process goes on from where the last one was killed, and nothing is left of the Server in the end."""
    cloud, servers = world.cloud, world.servers
    before = leaks.look(cloud)
    image = servers.upload("fresh", guest.build().path)
    server = servers.order("mayfly", world.green, world.group, host="host2", image_id=image.id, config_drive=True)
    traces = Traces.of(cloud, server)
    killed_when(cloud, lambda: CREATING[creating](traces))
    shown = servers.active(server)
    assert (shown.power_state, shown.compute_host) == (1, "host2")
    assert len([line for _, line in processes(f"guest=hagane-{server.id}")]) == 1
    servers.api.delete_server(server.id)
    killed_when(cloud, lambda: DELETING[deleting](traces))
    until(lambda: servers.gone(server), 30, "it is gone")
    world.tenant.conn.image.delete_image(image)
    if creating == "image on its way":  # rubbish, that goes when nobody has touched it for a while
        world.half_made = f"hagane-image.{image.id}."
    leaks.none_left(cloud, before, but=world.half_made)


def killed_when(cloud: Cloud, seen: Callable[[], bool]) -> None:
    """Kill -9 at the moment that something is so, and start again."""
    deadline = time.monotonic() + 20
    while not seen():
        assert time.monotonic() < deadline
        time.sleep(0.001)
    cloud.process.kill()
    cloud.start()


# -- machines -------------------------------------------------------------------------------------------------------


def test_a_killed_qemu_is_shutoff_and_starts_again(world: World) -> None:
    servers = world.servers
    servers.reached(world.one, "echo kept > /root/marker; sync")
    os.kill(world.cloud.qemu(world.one.id), signal.SIGKILL)
    clock = Clock()
    shown = servers.status(world.one, "SHUTOFF", 10)
    print(f"SHUTOFF {clock.seconds} s after its QEMU was killed")
    assert shown.power_state in (4, 6)
    until(lambda: servers.port(world.one).status == "DOWN", 10, "its port is DOWN")
    assert world.cloud.process.command("doctor").returncode == 0  # it is off, which is no fault
    servers.api.start_server(world.one.id)
    servers.active(world.one)
    assert servers.reached(world.one, "cat /root/marker") == "kept"


def test_a_machine_that_died_while_nobody_looked_is_shutoff(world: World) -> None:
    """Its QEMU, its libvirtd and Hagane are killed together; the next start finds out."""
    cloud, servers = world.cloud, world.servers
    cloud.process.kill()
    for pid in (cloud.kill_daemon("host1/libvirtd"), cloud.qemu(world.one.id)):
        until(lambda pid=pid: not killed(pid), 5, "it is dead")  # type: ignore[misc]
    cloud.start()
    clock = Clock()
    servers.status(world.one, "SHUTOFF", 15)
    print(f"SHUTOFF {clock.seconds} s after the start")
    servers.api.start_server(world.one.id)
    servers.active(world.one)
    world.looker.reaches(servers.fixed(world.one), seconds=60)


def killed(pid: int) -> bool:
    """Kill -9 until there is nobody of this number; whether there still was."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


# -- daemons --------------------------------------------------------------------------------------------------------

DAEMONS = (
    "central/nb", "central/sb", "central/northd", "host1/ovsdb-server", "host1/ovs-vswitchd", "host1/ovn-controller",
    "host1/virtlogd", "host1/libvirtd",
)  # fmt: skip
GAP = {"host1/ovs-vswitchd": 6.0, "host1/ovsdb-server": 3.0}  # seconds without an answer, where packets have to stop


@pytest.mark.parametrize("name", DAEMONS)
def test_a_killed_daemon_is_back_and_machines_run_on(world: World, name: str) -> None:
    cloud, servers = world.cloud, world.servers
    qemu = cloud.qemu(world.one.id)
    seen = Witness(world)
    with pinging(world.looker.space, servers.fixed(world.one)) as pings:
        old = cloud.kill_daemon(name)
        clock = Clock()
        until(lambda: seen.look() and cloud.daemon(name).pid not in (None, old), 5, f"{name} runs again")
        back = clock.seconds
        until(lambda: seen.look() and works(world, name), 20, f"what {name} does works again")
        works_again = clock.seconds
        pings.more(10)
    print(f"{name}: runs after {back} s, works after {works_again} s; longest silence {pings.longest:.2f} s")
    assert cloud.qemu(world.one.id) == qemu
    assert seen.shown == {("ACTIVE", 1)}
    assert pings.longest < GAP.get(name, 1.0)
    assert service(world, "host1").state == "up"
    cloud.doctor()


@dataclass
class Witness:
    """What the API said of a Server all the while."""

    world: World
    shown: set[tuple[str, int]] = field(default_factory=set)

    def look(self) -> bool:
        now = self.world.servers.api.get_server(self.world.one.id)
        self.shown.add((now.status, now.power_state))
        return True


def works(world: World, name: str) -> bool:
    """A new port on the Host comes up and answers; for libvirt, its console and power are read."""
    if name.endswith(("libvirtd", "virtlogd")):
        assert "Linux" in world.servers.console(world.one)
        return True
    guest = world.tenant.machine(world.green, "host1", [world.group])
    try:
        world.tenant.status(guest, "ACTIVE")
        guest.reaches(world.looker.ip)
    finally:
        world.tenant.drop(guest)
    return True


def test_all_daemons_of_a_host_at_once(world: World) -> None:
    names = [name for name in DAEMONS if name.startswith("host1/")]
    qemu, old = world.cloud.qemu(world.one.id), {name: world.cloud.kill_daemon(name) for name in names}
    clock = Clock()
    until(lambda: all(world.cloud.daemon(n).pid not in (None, old[n]) for n in names), 20, "all run again")
    until(lambda: works(world, "host1/ovs-vswitchd"), 20, "packets flow again")
    world.looker.reaches(world.servers.fixed(world.one))
    print(f"all of host1 is back after {clock.seconds} s")
    assert world.cloud.qemu(world.one.id) == qemu
    until(lambda: world.servers.active(world.one).power_state == 1, 20, "it is ACTIVE")
    world.servers.api.reboot_server(world.one.id, "HARD")
    world.servers.active(world.one)
    world.cloud.doctor()
