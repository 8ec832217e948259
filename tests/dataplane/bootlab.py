"""A machine that boots over a network of OVN: its TAP is an ordinary Port, the provisioning service is the real driver."""

import asyncio
import contextlib
import re
import socket
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from hagane.drivers.boot import iso, loader
from hagane.drivers.boot.base import ISO, KERNEL, LOADERS, RAMDISK, BootPlan
from hagane.drivers.boot.iso import IsoParts
from hagane.drivers.metadata.base import Endpoint, Piece, Question, Reply
from hagane.drivers.metadata.http import Listener
from hagane.drivers.metadata.plug import Switch
from hagane.drivers.provision.netns import NetnsProvision
from hagane.lab import disk, guest, netns
from hagane.lab.bmc.machine import Machine
from hagane.lab.bmc.qemu import MachineSpec, Nic
from hagane.lab.machine import SiteAddress
from hagane.lab.process import run
from hagane.lab.site import Site
from hagane.reconcile.ovn import dhcp_option
from tests.dataplane.hostlab import nb

NETWORK = "33333333-cccc-4ccc-8ccc-000000000001"
SERVICE, GATEWAY, MACHINE = "172.30.20.2", "172.30.20.1", "172.30.20.11"
MAC, LINK_LOCAL = "52:54:00:77:00:01", "fe80::5054:ff:fe77:1"
BASE = f"http://{SERVICE}"
SAYS = "RAMDISK-UP"
# On an emulated CPU that waits for its turn, the kernel's test of its timer fails now and then, and it panics.
PARAMETERS = "console=ttyS0 no_timer_check ipa-api-url=http://x"
_INIT = f"""#!/bin/busybox sh
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mount -t proc proc /proc
exec </dev/console >/dev/console 2>&1
echo {SAYS} $(/bin/busybox cat /proc/cmdline)
while true; do /bin/busybox sleep 60; done
"""


def ramdisk(folder: Path) -> Path:
    """The smallest one that says that it runs."""
    root = folder / "root"
    for name in ("bin", "dev", "proc"):
        (root / name).mkdir(parents=True)
    (root / "bin/busybox").write_bytes(Path("/bin/busybox").read_bytes())
    (root / "init").write_text(_INIT)
    for file in (root / "bin/busybox", root / "init"):
        file.chmod(0o755)
    made = folder / "ramdisk"
    made.write_bytes(disk.cpio(root))
    return made


@dataclass
class Files:
    """What the service gives; `asked` is what it was asked for, with the seconds since the power came on."""

    kernel: Path
    ramdisk: Path
    iso: Path
    plan: BootPlan = field(default_factory=BootPlan)
    asked: list[tuple[str, float]] = field(default_factory=list)
    began: float = 0.0

    async def answer(self, question: Question) -> Reply:
        path = question.target.lstrip("/")
        self.asked.append((f"{question.method} {path}", time.monotonic() - self.began))
        if question.client not in (MACHINE, "127.0.0.1"):
            return Reply(404)
        known = {KERNEL: self.kernel, RAMDISK: self.ramdisk, ISO: self.iso}
        name = path.removeprefix(LOADERS)
        if file := known.get(path) or (loader.find(name) if name in loader.FILES else None):
            return _piece(file, question.headers.get("range", ""))
        folder, _, last = path.rpartition("/")
        text = self.plan.files.get(last) or self.plan.files.get(f"{folder}/")
        return Reply(200, text.encode()) if text else Reply(404)


def _piece(file: Path, ranges: str) -> Reply:
    size = file.stat().st_size
    if found := re.match(r"bytes=(\d+)-(\d+)", ranges):
        start, end = int(found[1]), min(int(found[2]) + 1, size)
        headers = {"content-range": f"bytes {start}-{end - 1}/{size}"}
        return Reply(206, b"", headers, Piece(file, start, end - start))
    return Reply(200, b"", {"accept-ranges": "bytes"}, Piece(file, 0, size))


@dataclass
class BootLab:
    """A network with its service, and one machine that may be switched on."""

    machine: Machine
    files: Files
    driver: NetnsProvision
    address: SiteAddress
    media: int  # the port on loopback from which its BMC takes the CD

    async def boot(self, plan: BootPlan, *, mode: str = "bios", seconds: float = 120.0) -> dict[str, float]:
        """Start the machine by a plan; what it asked for, when, and when the ramdisk spoke (SAYS)."""
        self.files.plan, self.files.asked, self.files.began = plan, [], time.monotonic()
        await self.dhcp(plan.dhcp)
        await self.machine.off()
        self.machine.spec.console_log.unlink(missing_ok=True)
        self.machine.set_mode(mode)
        for slot in plan.media:
            await self.machine.insert(slot.value, f"http://127.0.0.1:{self.media}/{ISO}")
        self.machine.set_boot(plan.device.value, persistent=False, http_uri=plan.http_uri)
        self.files.began = time.monotonic()
        await self.machine.on()
        try:
            async with asyncio.timeout(seconds):
                while SAYS not in self.console():
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"asked: {self.files.asked}\nconsole: {self.console()[-3000:]}") from None
        times = dict(reversed(self.files.asked))  # of equal ones the first
        return dict(reversed(times.items())) | {SAYS: time.monotonic() - self.files.began}

    def console(self) -> str:
        with contextlib.suppress(OSError):
            return self.machine.spec.console_log.read_text(errors="replace")
        return ""

    def cmdline(self) -> str:
        return next(line for line in self.console().splitlines() if SAYS in line)

    async def dhcp(self, wanted: Mapping[str, str]) -> None:
        """Give the machine's Port DHCP with these options, in the words of the network API."""
        base = {"lease_time": "3600", "server_id": GATEWAY, "server_mac": "02:00:00:00:00:fe"}
        given = [{"opt_name": name, "opt_value": value} for name, value in wanted.items()]
        options = dhcp_option.own(base, given, 4)
        await nb(self.address, "--all", "destroy", "dhcp_options")
        made = (await nb(self.address, "create", "dhcp_options", "cidr=172.30.20.0/24")).strip()
        for name, value in options.items():
            quoted = value.replace('"', '\\"')
            await nb(self.address, "set", "dhcp_options", made, f'options:{name}="{quoted}"')
        await nb(self.address, "lsp-set-dhcpv4-options", "bm1", made)
        await nb(self.address, "--wait=hv", "sync")


@asynccontextmanager
async def bootlab(where: Site, address: SiteAddress, folder: Path) -> AsyncIterator[BootLab]:
    """The lab, up inside the block. `address`: of a site that is up."""
    host = address.hosts[0]
    image = await asyncio.to_thread(guest.build)
    parts = IsoParts(image.kernel, ramdisk(folder), PARAMETERS)
    files = Files(parts.kernel, parts.ramdisk, await asyncio.to_thread(iso.build, parts, folder))
    driver = NetnsProvision(Switch(host.ovs_db, host.netns, prefix=where.prefix), files.answer)
    await nb(address, "ls-add", "prov", "--", "lsp-add", "prov", "service",
             "--", "lsp-set-addresses", "service", f"02:00:00:00:20:02 {SERVICE}", "unknown",
             "--", "lsp-add", "prov", "bm1", "--", "lsp-set-addresses", "bm1", f"{MAC} {MACHINE}",
             "--", "lsp-set-port-security", "bm1", f"{MAC} {MACHINE} {LINK_LOCAL}")  # fmt: skip
    await netns.batch(host.netns, "tuntap add bm1-0 mode tap", "link set bm1-0 up")
    await run("ovs-vsctl", f"--db={host.ovs_db}", "add-port", "br-int", "bm1-0", "--", "set", "Interface", "bm1-0",
              "external-ids:iface-id=bm1")  # fmt: skip
    spec = MachineSpec("bm1", "00000000-0000-4000-8000-000000000001", Path(f"/run/{where.prefix}/bm1"),
                       nics=(Nic(MAC, "bm1-0"),), memory_mb=512, netns=host.netns)  # fmt: skip
    machine = Machine(spec)
    failed = await driver.apply([Endpoint(NETWORK, "service", "02:00:00:00:20:02", 1442, (f"{SERVICE}/24",))])
    assert failed == {}
    media = Listener("media", files.answer)
    loopback = socket.create_server(("127.0.0.1", 0))
    loopback.setblocking(False)
    await media.open([loopback])
    try:
        yield BootLab(machine, files, driver, address, loopback.getsockname()[1])
    finally:
        await machine.off()
        await media.close()
        await driver.apply([])
        await driver.close()
