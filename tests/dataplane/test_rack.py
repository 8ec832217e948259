"""The virtual rack on real devices: it comes up, is managed, breaks on purpose, carries packets, and leaves nothing."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from hagane.config import load
from hagane.drivers.bmc.base import Bmc, BmcAccess, BmcDesired, Boot, BootDevice, BootMode, Power
from hagane.drivers.bmc.ipmi import IpmiBmc
from hagane.drivers.bmc.redfish import RedfishBmc
from hagane.drivers.metadata import space as netspace
from hagane.errors import Conflict, DeviceFailed, Unavailable
from hagane.lab import (
    guest,
    machine,
    netns,
    ovs,
    rack,
    rack_bmc,
    rack_description,
    rack_fault,
    rack_gateway,
    rack_look,
    rack_place,
    rack_tor,
)
from hagane.lab.bmc import qmp
from hagane.lab.bmc.faults import FaultFile
from hagane.lab.machine import SiteAddress
from hagane.lab.netns import inside
from hagane.lab.process import pid_of, run
from hagane.lab.rack_place import Rack
from hagane.lab.site import Site
from hagane.lab.supervise import supervise
from hagane.operate.site import site as site_of
from tests.dataplane.hostlab import lab, nb, plug, reaches, site

ETH_P_ALL = 3
pytestmark = pytest.mark.real


@dataclass
class Rig:
    """The lab, its rack, and where both answer."""

    where: Site
    cloud: SiteAddress
    rack: Rack

    async def ports(self) -> dict[str, rack_look.PortSeen]:
        return {port.name: port for port in (await rack_look.look(self.rack)).ports}

    async def tor(self, *words: str) -> None:
        await ovs.vsctl(self.rack.ovs("tor1"), *words)

    def bmc(self, name: str) -> Bmc:
        access: dict[str, Any] = {"username": rack_bmc.USERNAME, "password": rack_bmc.password(self.rack)}
        address = str(self.rack.address(name))
        if name == "bm3":
            return IpmiBmc(BmcAccess(address, **access))
        verify = str(rack_bmc.certificate(self.rack))
        return RedfishBmc(BmcAccess(f"https://{address}", **access, verify=verify, timeout=5))


@asynccontextmanager
async def rig(folder: Path, prefix: str) -> AsyncIterator[Rig]:
    where = site(folder, prefix)
    await rack.down(where)
    async with lab(where) as cloud:
        await rack.up(where, rack_description.load(None))
        found = rack_place.current(where)
        assert found is not None
        try:
            yield Rig(where, cloud, found)
        finally:
            await rack.down(where)


@pytest.fixture
async def up(tmp_path: Path) -> AsyncIterator[Rig]:
    async with rig(tmp_path, "hgrack") as made:
        yield made


def traces(prefix: str) -> set[str]:
    """Namespaces, interfaces, processes and files of a lab."""
    found = {f"namespace {name}" for name in netns.named(f"{prefix}-")}
    shown = subprocess.run(["ip", "-brief", "link"], capture_output=True, text=True, check=True).stdout
    found |= {f"link {line.split('@')[0].split()[0]}" for line in shown.splitlines() if line.startswith(prefix)}
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes()
        except OSError:
            continue
        found |= {f"process {words!r}"} if f"/run/{prefix}/".encode() in words else set()
    return found | {f"file {path}" for path in Path(f"/run/{prefix}").rglob("*") if not path.is_socket()}


async def test_it_comes_up_again_unchanged_and_leaves_nothing(tmp_path: Path) -> None:
    where = site(tmp_path, "hgrack")

    def here() -> set[Path]:
        return {path for path in tmp_path.rglob("*") if not {"central", "host1"} & set(path.parts)}

    with pytest.raises(Unavailable, match="hagane up"):
        await rack.up(where, rack_description.load(None))
    async with lab(where):
        before = traces("hgrack")
        files = here()
        address = await rack.up(where, rack_description.load(None))
        daemons = [(one.name, one.pid) for one in rack.status(where)]
        assert len(daemons) == 6 and all(pid for _, pid in daemons)
        assert await rack.up(where, rack_description.load(None)) == address
        assert [(one.name, one.pid) for one in rack.status(where)] == daemons
        assert address.enrolment.stat().st_mode & 0o777 == 0o600
        for remote in (address.switch_ovsdb, *address.gateway_ovsdb.values()):
            assert "br-" in await run("ovs-vsctl", f"--db={remote}", "--timeout=5", "list-br")
        chassis = await run(
            "ovn-sbctl", "--timeout=5", f"--db={(await machine.up(where, kvm=False)).central.sb}", "show"
        )
        assert "gw1" in chassis
        await rack.down(where)
        await rack.up(where, rack_description.load(None))  # at once: nothing of the last one is in the way
        assert await rack.down(where) and not await rack.down(where)
        assert {trace for trace in traces("hgrack") - before if not trace.endswith(".pid'")} == set()
        assert {
            path for path in tmp_path.rglob("*") if "central" not in path.parts and "host1" not in path.parts
        } == files


def lldp(interface: str) -> bytes:
    """The next LLDP frame that leaves the switch by this interface; in its namespace."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL)) as listening:
        listening.bind((interface, 0))
        until = time.monotonic() + 40
        while time.monotonic() < until:
            listening.settimeout(40)
            frame = listening.recv(2000)
            if frame[12:14] == b"\x88\xcc":
                return frame
    raise TimeoutError("no LLDP frame")


async def test_machines_say_where_they_hang_and_are_dead_ends_until_somebody_manages_their_ports(up: Rig) -> None:
    for name in ("bm1", "bm3"):
        bmc = up.bmc(name)
        assert (await bmc.apply(BmcDesired(power=Power.ON))).power == Power.ON
    ports = await up.ports()
    assert {name for name, port in ports.items() if port.carrier} == {
        "gw1",
        "host1",
        "bm1-0",
        "bm1-1",
        "bm3-0",
        "bm3-1",
    }
    assert all(ports[name].native is None and ports[name].tagged == () for name in up.rack.ports)
    space = up.where.netns("tor1")
    frame = await asyncio.to_thread(netspace.inside, space, lambda: lldp("bm3-1"))
    assert frame[14:23] == b"\x02\x07\x04" + bytes.fromhex(up.rack.chassis_id.replace(":", ""))  # chassis id: a MAC
    assert frame[23:31] == b"\x04\x06\x05bm3-1"  # port id: an interface's name
    await up.tor("set", "Port", "bm1-0", "vlan_mode=access", "tag=1001", "trunks=[]")
    assert (await up.ports())["bm1-0"].native == 1001
    await rack.up(up.where, up.rack.described)
    assert (await up.ports())["bm1-0"].native == 1001  # somebody's configuration is left alone


async def test_faults_come_and_go(up: Rig) -> None:
    bmc = up.bmc("bm1")
    await bmc.apply(BmcDesired(power=Power.ON))
    await rack_fault.inject(up.rack, "bm1", "bmc-password")
    with pytest.raises(DeviceFailed):
        await up.bmc("bm1").read()
    await rack_fault.inject(up.rack, "bm1", "cable-pulled=1")
    assert not (await up.ports())["bm1-1"].carrier and (await up.ports())["bm1-0"].carrier
    await rack.up(up.where, up.rack.described)
    assert not (await up.ports())["bm1-1"].carrier  # a repair does not plug it in again
    assert rack_fault.present(up.rack) == {"bm1": ["cable-pulled=1", "bmc-password"]}
    one = rack_bmc.machines(up.rack)[0]
    await one.reset()  # QEMU would refuse to start with a cable that it does not know
    assert FaultFile(one.spec.folder).now().unplugged == (1,)
    await rack_fault.clear(up.rack, "bm1")
    assert (await up.ports())["bm1-1"].carrier and rack_fault.present(up.rack) == {}
    assert (await up.bmc("bm1").read()).power == Power.ON
    await rack_fault.inject(up.rack, "bm1", "power-loss")
    assert (await up.bmc("bm1").read()).power == Power.OFF


async def test_a_disk_breaks_in_the_running_machine_and_at_its_next_start(up: Rig) -> None:
    disk = up.rack.disks(up.rack.machines[0])[0]
    with disk.open("r+b") as file:
        file.seek(510)
        file.write(b"\x55\xaa")  # something to boot, so that the firmware reads the disk
    await rack_fault.inject(up.rack, "bm1", "disk-bad")
    one = next(one for one in rack_bmc.machines(up.rack) if one.spec.name == "bm1")
    await up.bmc("bm1").apply(BmcDesired(power=Power.ON))
    async with asyncio.timeout(60):
        while b"could not read the boot disk" not in one.spec.console_log.read_bytes():
            await asyncio.sleep(0.1)

    async def nodes() -> set[str]:
        return {str(node["node-name"]) for node in await qmp.order(one.spec.qmp, "query-named-block-nodes")}

    assert "disk0-bad" in await nodes()
    await rack_fault.clear(up.rack, "bm1")
    assert "disk0-bad" not in await nodes()
    await rack_fault.inject(up.rack, "bm1", "disk-full")
    assert "disk0-bad" in await nodes()


async def test_a_switch_hangs_loses_its_configuration_and_a_gateway_dies(up: Rig) -> None:
    said: list[str] = []
    keeper = asyncio.create_task(supervise(up.where, said.append, kvm=False))
    try:
        await up.tor("set", "Port", "bm1-0", "vlan_mode=access", "tag=1001", "trunks=[]")
        await rack_fault.inject(up.rack, "tor1", "hang")
        remote = f"--db=tcp:{up.rack.address('tor1')}:6640"
        with pytest.raises(DeviceFailed):
            await run("ovs-vsctl", remote, "--timeout=1", "list-br")
        await rack_fault.clear(up.rack, "tor1")
        assert (await up.ports())["bm1-0"].native == 1001
        await rack_fault.inject(up.rack, "tor1", "wiped")
        assert (await up.ports())["bm1-0"].native is None
        await rack_fault.inject(up.rack, "gw1", "dead")
        daemons = rack_gateway.daemons(up.rack, "gw1")
        await asyncio.sleep(2)
        assert [pid_of(daemon) for daemon in daemons] == [None, None, None] and said == []
        await rack_fault.clear(up.rack, "gw1")
        assert all(pid_of(daemon) for daemon in daemons)
        victims = [rack_bmc.daemon(up.rack), rack_tor.daemons(up.rack)[1]]
        for victim in victims:
            os.kill(pid_of(victim) or 0, signal.SIGKILL)
        async with asyncio.timeout(30):
            while not all(pid_of(victim) for victim in victims):
                await asyncio.sleep(0.1)
    finally:
        keeper.cancel()
        await asyncio.gather(keeper, return_exceptions=True)


async def wire(up: Rig, name: str) -> str:
    """The machine's first NIC and a Port on a Host, on one network with DHCP; returns the namespace of the latter."""
    machine = next(one for one in up.rack.machines if one.name == name)
    mac, port = next(iter(up.rack.nics(machine)))
    await nb(up.cloud, "ls-add", "net", "--", "set", "Logical_Switch", "net", "other_config:subnet=10.0.0.0/24")
    await nb(up.cloud, "dhcp-options-create", "10.0.0.0/24")
    options = (await nb(up.cloud, "dhcp-options-list")).split()[0]
    facts = ("lease_time=3600", "server_id=10.0.0.1", "server_mac=02:00:00:00:00:fe", "mtu=1442")
    await nb(up.cloud, "dhcp-options-set-options", options, *facts)
    address = f"{mac} 10.0.0.21"
    lsp = (
        "lsp-add",
        "net",
        "bm",
        "--",
        "lsp-set-addresses",
        "bm",
        address,
        "--",
        "lsp-set-port-security",
        "bm",
        address,
    )
    await nb(up.cloud, *lsp, "--", "lsp-set-options", "bm", "requested-chassis=gw1")
    await nb(up.cloud, "lsp-set-dhcpv4-options", "bm", options)
    await nb(up.cloud, "lsp-add", "net", "vm", "--", "lsp-set-addresses", "vm", "02:00:00:00:00:01 10.0.0.11")
    space = await plug(up.where, "host1", "vm", "02:00:00:00:00:01", "10.0.0.11/24")
    await up.tor("set", "Port", port, "vlan_mode=access", "tag=1001", "trunks=[]")
    near, far = ("--", "set", "Interface", "t-bm", "type=patch"), ("--", "set", "Interface", "i-bm", "type=patch")
    await ovs.vsctl(
        up.rack.ovs("gw1"), "--", "add-port", "br-trunk", "t-bm", "tag=1001", *near, "options:peer=i-bm",
        "--", "add-port", "br-int", "i-bm", *far, "options:peer=t-bm", "external-ids:iface-id=bm",
    )  # fmt: skip
    return space


@pytest.mark.slow
async def test_a_machine_on_a_private_vlan_is_a_port_like_any_other(up: Rig) -> None:
    """Disk → firmware → DHCP from OVN → ping from a machine on a Host, all through switch, trunk and gateway."""
    image = await asyncio.to_thread(guest.build)
    await run("qemu-img", "convert", "-O", "raw", str(image.path), str(up.rack.disks(up.rack.machines[0])[0]))
    space = await wire(up, "bm1")
    await up.bmc("bm1").apply(BmcDesired(power=Power.ON))
    assert await reaches(space, "10.0.0.21", seconds=120)
    await up.tor("set", "Port", "bm1-0", "vlan_mode=trunk", "tag=[]", "trunks=4095")
    assert not await reaches(space, "10.0.0.21", seconds=3)


@pytest.mark.slow
async def test_uefi_firmware_boots_from_the_uri_that_its_bmc_was_told(up: Rig, tmp_path: Path) -> None:
    image = await asyncio.to_thread(guest.build)
    folder = tmp_path / "www"
    folder.mkdir()
    (folder / "boot.efi").symlink_to(image.kernel)
    space = await wire(up, "bm2")
    server = await asyncio.to_thread(
        subprocess.Popen,
        [*inside(space, sys.executable, "-m", "http.server", "80", "--directory", str(folder))],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        boot = Boot(BootDevice.HTTP, uri="http://10.0.0.11/boot.efi")
        await up.bmc("bm2").apply(BmcDesired(power=Power.ON, boot=boot, boot_mode=BootMode.UEFI))
        log = up.rack.machine_folder("bm2") / "console.log"
        async with asyncio.timeout(150):
            while b'starting Boot0F00 "HTTP boot"' not in (log.read_bytes() if log.exists() else b""):
                await asyncio.sleep(0.2)
    finally:
        server.kill()
        server.wait()


async def test_a_machine_and_a_gateway_are_added_and_removed(up: Rig) -> None:
    more = (*up.rack.described.machine, rack_description.MachineDescription("bm4", nics=1))
    await rack.up(up.where, replace(up.rack.described, machine=more, gateways=2))
    grown = rack_place.current(up.where)
    assert grown is not None
    ports = {port.name for port in (await rack_look.look(grown)).ports}
    assert {"bm4-0", "gw2"} <= ports and all(one.running for one in rack.status(up.where))
    chassis = await run(
        "ovn-sbctl", "--timeout=5", f"--db={up.cloud.central.sb}", "--bare", "--columns=name", "list", "chassis"
    )
    assert {"host1", "gw1", "gw2"} == set(chassis.split())
    await rack_bmc.machines(grown)[3].on()
    await rack.up(up.where, up.rack.described)
    assert set(await up.ports()) == {"gw1", "host1", *up.rack.ports}
    assert not netns.exists(up.where.netns("gw2")) and "bm4-0" not in await netns.links(up.where.netns("tor1"))
    assert not any(
        b"/run/hgrack/lab/rack1/bm4/" in words for words in map(_words, Path("/proc").glob("[0-9]*/cmdline"))
    )


def _words(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:
        return b""


async def test_an_address_in_use_is_refused(tmp_path: Path) -> None:
    where = site(tmp_path, "hgrack")
    async with lab(where):
        described = rack_description.load(None)
        taken = str(where.external.ipv4.network)
        with pytest.raises(Conflict, match="out_of_band"):
            await rack.up(where, replace(described, out_of_band=taken))
        assert rack_place.current(where) is None


def test_the_command_line_builds_draws_breaks_and_removes(tmp_path: Path) -> None:
    file = tmp_path / "hagane.toml"
    facts = {"state": f"{tmp_path}/s", "run": "/run/hgrackc", "prefix": "hgrackc", "external_network": "198.19.252.0/24", "external_network_v6": ""}  # fmt: skip
    file.write_text("[hagane]\n" + "".join(f'{name} = "{value}"\n' for name, value in facts.items()))

    def lab_command(*words: str) -> str:
        argv = [sys.executable, "-m", "hagane", "lab", words[0], "--config", str(file), *words[1:]]
        env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src")}
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, env=env)
        return done.stdout + done.stderr

    where = site_of(load(file))
    assert "`hagane up` first" in lab_command("up")
    asyncio.run(machine.up(where, kvm=False))
    try:
        assert f"hagane enroll {tmp_path}/s/lab/rack1.toml" in lab_command("up")
        assert "bm1: bmc-dead" in lab_command("fault", "bm1", "bmc-dead")
        drawn = lab_command("status")
        assert "FAULT: bmc-dead" in drawn and "├─ bm3-1    dead" in drawn and "rack1/bmc" in drawn
        assert "Nothing is broken" in lab_command("fault", "--clear")
        assert "has no fault" in lab_command("fault", "gw1", "hang")
        assert "The rack is gone." in lab_command("down") and "no rack" in lab_command("down")
    finally:
        asyncio.run(rack.down(where))
        asyncio.run(machine.down(where))
