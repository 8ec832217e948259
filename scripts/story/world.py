"""Everything that exists on this machine because somebody asked the cloud for something, looked at from outside.

    before = look(site, database); the story; left = look(...) - before          (kind -> names; empty is what we want)

Nothing here asks the cloud itself: namespaces and interfaces come from the kernel, ports from Open vSwitch, rows from
the OVN databases, machines from libvirt, files from the disk, allocations from the database file.
"""

import asyncio
import contextlib
import json
import re
from collections import Counter
from collections.abc import Awaitable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import libvirt

from hagane.errors import DeviceFailed
from hagane.lab import central, host, libvirtd, netns
from hagane.lab.process import run
from hagane.lab.site import Site
from story import rows

# Written at any time by the engines themselves.
ENGINE_TABLES = frozenset({"NB_Global", "SB_Global", "Connection", "SSL", "Chassis", "Chassis_Private", "Encap"})
SOUTHBOUND = ("Datapath_Binding", "Port_Binding", "MAC_Binding", "Port_Group", "Address_Set", "Logical_DP_Group")


@dataclass(frozen=True, slots=True)
class World:
    """What there is, by kind."""

    found: dict[str, frozenset[str]] = field(default_factory=dict)

    def __sub__(self, before: "World") -> dict[str, list[str]]:
        """What came since, of each kind that has anything."""
        since = {kind: names - before.found.get(kind, frozenset()) for kind, names in self.found.items()}
        return {kind: sorted(names) for kind, names in since.items() if names}

    def counts(self) -> str:
        """How many there are of each kind, in words."""
        return ", ".join(f"{len(names)} {kind}" for kind, names in self.found.items())


def look(site: Site, database: Path) -> World:
    """Look at everything now."""
    return asyncio.run(_look(site, database))


async def _look(site: Site, database: Path) -> World:
    spaces = netns.named(f"{site.prefix}-")
    switches = [host.switch(site, name) for name in site.hosts]
    parts: dict[str, Awaitable[Iterable[str]]] = {
        "interfaces": _each(_links(site.prefix, space) for space in ("", *spaces)),
        "switch ports": _each(_switch_ports(switch.name, switch.remote) for switch in switches),
        "OVN rows": _ovn(site),
        "machines": asyncio.to_thread(_machines, site),
        "processes": _each(_processes(space) for space in spaces),
        "files": asyncio.to_thread(_files, site),
        "iSCSI targets": _each(_targets(socket) for socket in _target_sockets(site)),
        "rows": asyncio.to_thread(rows.rows, database),
    }
    looked = dict(zip(parts, await asyncio.gather(*parts.values()), strict=True))
    return World({"namespaces": frozenset(spaces)} | {kind: frozenset(names) for kind, names in looked.items()})


async def _each(looks: Iterable[Awaitable[Iterable[str]]]) -> set[str]:
    return {name for names in await asyncio.gather(*looks) for name in names}


async def _links(prefix: str, space: str) -> set[str]:
    """Interfaces in one of our namespaces; of the machine's own, those that are ours by name."""
    return {f"{space or 'root'}/{link}" for link in await netns.links(space) if space or link.startswith(f"{prefix}-")}


async def _processes(space: str) -> set[str]:
    """QEMU among them, whether libvirt knows it or not. By name: a daemon that was started again is the same one."""
    names = await asyncio.to_thread(_names, await netns.pids(space))
    return {f"{space}/{name} {number + 1}" for name, count in names.items() for number in range(count)}


def _names(pids: Iterable[int]) -> Counter[str]:
    found: Counter[str] = Counter()
    for pid in pids:
        with contextlib.suppress(OSError):  # it has ended meanwhile
            found[Path(f"/proc/{pid}/comm").read_text().strip()] += 1
    return found


async def _switch_ports(name: str, remote: str) -> set[str]:
    """Every interface that the Host's Open vSwitch holds."""
    shown = json.loads(await run("ovs-vsctl", f"--db={remote}", "-f", "json", "--columns=name", "list", "Interface"))
    return {f"{name}/{row[0]}" for row in shown["data"]}


async def _ovn(site: Site) -> set[str]:
    where = central.address(site)
    return await _each((_dump(where.nb, "OVN_Northbound", ()), _dump(where.sb, "OVN_Southbound", SOUTHBOUND)))


async def _dump(remote: str, database: str, only: tuple[str, ...]) -> set[str]:
    """Table and UUID of every row, of all tables or of some."""
    text = await run("ovsdb-client", "-f", "json", "dump", remote, database)
    tables = [json.loads(line) for line in text.splitlines() if line]
    return {
        f"{table['caption'].removesuffix(' table')} {row[table['headings'].index('_uuid')][1]}"
        for table in tables
        if (name := table["caption"].removesuffix(" table")) not in ENGINE_TABLES and (not only or name in only)
        for row in table["data"]
    }


def _machines(site: Site) -> set[str]:
    """libvirt's domains, running or not."""
    return {f"{name}/{domain.name()}" for name, domain in _domains(site)}


def _domains(site: Site) -> Iterator[tuple[str, Any]]:
    for name in site.hosts:
        connection = libvirt.open(f"qemu+unix:///system?socket={libvirtd.socket(site.folder(name))}")
        try:
            yield from ((name, domain) for domain in connection.listAllDomains())
        finally:
            connection.close()


def running(site: Site) -> set[str]:
    """Ids of the Servers whose machine runs, by libvirt."""
    return {domain.name().removeprefix("hagane-") for _, domain in _domains(site) if domain.isActive()}


def plugged(site: Site) -> set[str]:
    """Ids of the Ports that a Host has plugged and whose flows are installed, by OVN's Southbound database."""
    words = ("ovn-sbctl", f"--db={central.address(site).sb}", "-f", "json", "--columns=logical_port")
    shown = json.loads(asyncio.run(run(*words, "find", "Port_Binding", "up=true")))
    return {row[0] for row in shown["data"]}


def _target_sockets(site: Site) -> list[Path]:
    """One for each target daemon that runs, or was killed."""
    return [file.with_suffix("") for file in (site.run_folder / "export").glob("*.0")]


async def _targets(socket: Path) -> set[str]:
    """Names of a daemon's targets, by its own client. One that was killed has none any more."""
    words = ("env", f"TGT_IPC_SOCKET={socket}", "tgtadm", "--lld", "iscsi", "--mode", "target", "--op", "show")
    with contextlib.suppress(DeviceFailed):
        return set(re.findall(r"^Target \d+: (\S+)", await run(*words), re.MULTILINE))
    return set()


def _files(site: Site) -> set[str]:
    """Disks, images, config drives and console logs."""
    folders = [site.state / "images", *(libvirtd.pool(site.folder(name)).parent for name in site.hosts)]
    return {str(file) for folder in folders for file in folder.rglob("*") if file.is_file()}
