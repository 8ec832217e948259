"""What `hagane up` needs of this machine, what it finds, and how to put right what is missing.

Each finding says in one sentence what is so; a bad one carries a remedy, as a command wherever there is one. `fatal`
findings stop `hagane up`; the others only make it slower or smaller.
"""

import asyncio
import glob
import json
import os
import shutil
import socket
from dataclasses import dataclass
from ipaddress import ip_interface
from pathlib import Path

from hagane.errors import HaganeError, Unavailable
from hagane.lab import kvm, ovs
from hagane.lab.process import run
from hagane.lab.site import Site

PACKAGES = Path(__file__).with_name("packages.txt")
ENOUGH_DISK, ENOUGH_MEMORY = 4 << 30, 2 << 30


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    ok: bool
    what: str
    remedy: str = ""
    fatal: bool = False


async def check(site: Site, *, kernel: Path | None = None, port: int | None = None) -> list[Finding]:
    """Look at everything. `kernel`: to try KVM with (guest.build gives one); `port`: that the API is to listen on."""
    findings = [_root(), packages(), _tun(), _disk(site), _memory(), _cgroups()]
    findings += [await _datapath(), await _kvm(kernel)]
    if findings[1].ok:
        findings.append(await _addresses(site))
    if port is not None:
        findings.append(_port(port))
    return findings


async def demand(site: Site) -> None:
    """Raise Unavailable, with every remedy, if `hagane up` could not work here."""
    bad = [finding for finding in await check(site) if finding.fatal and not finding.ok]
    if bad:
        raise Unavailable("\n".join(f"{finding.what} {finding.remedy}".strip() for finding in bad))


def missing_packages(*groups: str) -> list[str]:
    """Debian packages of these groups ("python", "real", "test", "ceph") whose file is not on this machine."""
    lines = (line.split() for line in PACKAGES.read_text().splitlines() if line and not line.startswith("#"))
    return [package for group, package, proof in lines if group in groups and not glob.glob(proof)]  # noqa: PTH207


def packages() -> Finding:
    """Whether every program for real devices is installed."""
    missing = missing_packages("real")
    if not missing:
        return Finding(True, "All Debian packages that real devices need are installed.")
    remedy = f"apt-get install --no-install-recommends {' '.join(missing)}"
    return Finding(False, f"Debian packages are missing: {', '.join(missing)}.", remedy, fatal=True)


def _root() -> Finding:
    if os.geteuid() == 0:
        return Finding(True, "Running as root.")
    return Finding(False, "Real devices need root.", "Run it as root, or use `hagane up --sim`.", fatal=True)


def _tun() -> Finding:
    if Path("/dev/net/tun").exists():
        return Finding(True, "/dev/net/tun is there.")
    return Finding(False, "/dev/net/tun is missing: machines could have no network.", "modprobe tun", fatal=True)


def _disk(site: Site) -> Finding:
    folder = next(path for path in (site.state, *site.state.parents) if path.exists())
    free = shutil.disk_usage(folder).free
    what = f"{free >> 30} GB are free in {folder} for images and disks."
    return Finding(free >= ENOUGH_DISK, what, "" if free >= ENOUGH_DISK else f"Make room: {ENOUGH_DISK >> 30} GB.")


def _memory() -> Finding:
    lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    free = int(lines["MemAvailable"].split()[0]) << 10
    what = f"{free / (1 << 30):.1f} GB of memory are available for machines."
    return Finding(free >= ENOUGH_MEMORY, what, "" if free >= ENOUGH_MEMORY else "Stop something, or run few machines.")


def _cgroups() -> Finding:
    unified = Path("/sys/fs/cgroup/cgroup.controllers").exists()
    return Finding(True, f"cgroups are {'version 2' if unified else 'not version 2'}; machines do not need them.")


async def _datapath() -> Finding:
    if os.geteuid() != 0 or await ovs.datapath() == "system":
        return Finding(True, "Packets are switched by the kernel's openvswitch module.")
    return Finding(True, "The kernel has no openvswitch module: packets are switched in userspace, which is slower.")


async def _kvm(kernel: Path | None) -> Finding:
    if kernel is None:
        return Finding(True, f"/dev/kvm is {'there, untried' if kvm.DEVICE.exists() else 'missing'}.")
    if await kvm.usable(kernel):
        return Finding(True, "KVM works: machines run at full speed.")
    remedy = "Without KVM machines run about ten times slower; on a virtual machine, turn nested virtualisation on."
    return Finding(False, "KVM does not run machines here, so QEMU emulates their CPUs.", remedy)


async def _addresses(site: Site) -> Finding:
    """Whether somebody else uses the external network's addresses on this machine."""
    try:
        shown = json.loads(await run("ip", "-json", "addr", "show"))
    except HaganeError as error:
        return Finding(False, error.message, fatal=True)
    for link in shown:
        for entry in link.get("addr_info", ()):
            theirs = ip_interface(f"{entry['local']}/{entry['prefixlen']}").network
            ours = site.external.ipv4 if theirs.version == 4 else site.external.ipv6
            if link["ifname"] != site.external_link and ours is not None and ours.network.overlaps(theirs):
                what = f"{ours.network} is to be the external network, but {link['ifname']} is on {theirs}."
                return Finding(False, what, "Choose another external network in the configuration.", fatal=True)
    return Finding(True, f"The external network {site.external.ipv4.network} collides with nothing here.")


def _port(port: int) -> Finding:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return Finding(False, f"Port {port} is taken.", f"See who has it: ss -ltnp 'sport = :{port}'", fatal=True)
    return Finding(True, f"Port {port} is free.")


def main() -> None:
    """Print every finding; the exit status is 1 if something fatal is wrong."""
    findings = asyncio.run(check(Site()))
    for finding in findings:
        print(f"{'ok ' if finding.ok else 'BAD'} {finding.what}")
        if finding.remedy:
            print(f"    {finding.remedy}")
    raise SystemExit(any(finding.fatal and not finding.ok for finding in findings))


if __name__ == "__main__":
    main()
