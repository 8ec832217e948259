"""Network namespaces and the virtual cables between them, through ip(8).

Every call says what should be there, and does only what is missing, so that each may be repeated at any time. Commands
go to ip(8) as arguments or as batch lines on stdin, never through a shell. A name in /run/netns that is not a mounted
namespace (left over from before a reboot, where /run is no tmpfs) counts as absent and is replaced.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from hagane.errors import DeviceFailed
from hagane.lab.process import end, run, together

FOLDER = Path("/run/netns")


@dataclass(frozen=True, slots=True)
class End:
    """One end of a veth cable: an interface in a namespace ("" is the machine's own)."""

    netns: str
    name: str


def exists(netns: str) -> bool:
    """Whether the name stands for a live namespace."""
    try:
        return (FOLDER / netns).stat().st_dev == Path("/proc/self/ns/net").stat().st_dev
    except OSError:
        return False


def named(prefix: str) -> list[str]:
    """The names of all namespaces, living or left over, that begin with `prefix`."""
    return sorted(entry.name for entry in FOLDER.glob(f"{prefix}*"))


async def create(netns: str, *, ipv6: bool = True) -> None:
    """Make the namespace, with its loopback up, unless it is there. Without `ipv6` its interfaces stay silent: a
    namespace that only carries packets of others must not announce itself among them, nor take addresses."""
    if not exists(netns):
        (FOLDER / netns).unlink(missing_ok=True)
        await run("ip", "netns", "add", netns)
    if not ipv6:
        for scope in ("all", "default"):
            await run(*inside(netns, "tee", f"/proc/sys/net/ipv6/conf/{scope}/disable_ipv6"), stdin="1")
    await batch(netns, "link set lo up")


async def delete(netns: str) -> None:
    """End every process inside, then remove the namespace and with it every interface that was born in it."""
    if exists(netns):
        await together(*(end(pid) for pid in await pids(netns)))
        await run("ip", "netns", "delete", netns)
    (FOLDER / netns).unlink(missing_ok=True)


async def pids(netns: str) -> list[int]:
    """The processes whose main thread lives in the namespace, except ourselves."""
    listed = (await run("ip", "netns", "pids", netns)).split()
    return [int(pid) for pid in listed if int(pid) != os.getpid()]


def inside(netns: str, *argv: str) -> tuple[str, ...]:
    """The command line that runs `argv` inside the namespace ("": here)."""
    return ("ip", "netns", "exec", netns, *argv) if netns else argv


async def batch(netns: str, *lines: str) -> None:
    """Run ip(8) commands, one per line, in the namespace, in one process."""
    await run("ip", *(("-n", netns) if netns else ()), "-batch", "-", stdin="".join(f"{line}\n" for line in lines))


async def links(netns: str) -> set[str]:
    """Names of the interfaces in the namespace."""
    shown = await run("ip", *(("-n", netns) if netns else ()), "-json", "link", "show")
    return {str(link["ifname"]) for link in json.loads(shown)}


async def cable(one: End, other: End, *, mtu: int) -> None:
    """A veth pair, both ends up. Checksum offload is off: a userspace switch gets packets as they are, and a half-made
    checksum would let pings through and TCP hang."""
    if one.name not in await links(one.netns):
        here = ("netns", one.netns) if one.netns else ()
        there = ("netns", other.netns) if other.netns else ()
        await run("ip", "link", "add", one.name, *here, "type", "veth", "peer", "name", other.name, *there)
    await together(*(_prepare(end, mtu) for end in (one, other)))


async def _prepare(end: End, mtu: int) -> None:
    try:
        await batch(end.netns, f"link set {end.name} mtu {mtu} up")
    except DeviceFailed as error:
        raise DeviceFailed(f"{end.name} is not the cable it should be: {error.message}") from error
    await run(*inside(end.netns, "ethtool", "-K", end.name, "tx", "off"))


async def bridge(netns: str, name: str, *, mtu: int) -> None:
    """A Linux bridge, up, without spanning tree or multicast snooping: it only stands for a cable between many."""
    if name not in await links(netns):
        await batch(netns, f"link add {name} type bridge mcast_snooping 0")
    await batch(netns, f"link set {name} mtu {mtu} up")


async def remove_link(netns: str, name: str) -> None:
    """Remove an interface, if it is there."""
    if name in await links(netns):
        await batch(netns, f"link del {name}")
