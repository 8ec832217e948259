"""Ports of this cloud's own on this machine: a network namespace each, a cable into the local Host's switch.

    hagane-meta-<12 digits of the network>            hagane-host1
    sockets ── meta0 (Port's MAC, addresses) ──────── hm<12 digits> ── br-int (iface-id = Port)

No process runs in the namespaces: the sockets belong to this process (space.py). They stay plugged when it ends, so the
next start opens sockets in what it finds. OVN does the rest: the Port is an ordinary one, so that machines on any Host
or in any rack reach it through their network. Whatever carries our mark and is not wanted is removed.
"""

import asyncio
import json
import subprocess
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from hagane.drivers.metadata import space
from hagane.drivers.metadata.base import Endpoint
from hagane.errors import DeviceFailed, HaganeError, Unavailable

AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Switch:
    """The local Host's switch: its database, the namespace it runs in ("" is ours), its integration bridge."""

    db: str
    netns: str = ""
    bridge: str = "br-int"
    prefix: str = "hagane"  # of our namespaces' names, so that two clouds on a machine leave each other alone


@dataclass(frozen=True, slots=True)
class Kind:
    """What a use of such Ports has of its own. `mark` is the name in external_ids under which the network's id is."""

    mark: str
    word: str  # in the names of its namespaces
    inside: str  # the interface in the namespace
    outside: str  # two letters before the digits: the interface at the switch
    addresses: tuple[str, ...] = ()  # besides the Port's
    address_v6: str = ""


class Closes(Protocol):
    async def close(self) -> None: ...


Open = Callable[[Endpoint, str], Awaitable[Closes]]
"""Opens the sockets of a Port in its namespace, whose name is given."""


@dataclass(slots=True)
class _Opened:
    endpoint: Endpoint
    identity: int
    sockets: Closes


class PluggedPorts:
    """All Ports of one kind on this machine, and what listens at them."""

    def __init__(self, switch: Switch, kind: Kind, open_sockets: Open) -> None:
        self._switch, self._kind, self._sockets = switch, kind, open_sockets
        self._open: dict[str, _Opened] = {}

    async def apply(self, endpoints: Sequence[Endpoint]) -> dict[str, str]:
        """Plug exactly these. Returns what failed: network id -> why."""
        plugged = await self._plugged() if endpoints or self._open or self._spaces() else {}
        await self._remove_others({self.space(one.network_id) for one in endpoints}, plugged)
        links = await asyncio.to_thread(space.links, [name for name in self._spaces() if space.exists(name)])
        wrong = [one for one in endpoints if not self._right(one, links, plugged)]
        places, failed = asyncio.Semaphore(AT_ONCE), {}

        async def bring(one: Endpoint) -> None:
            async with places:
                try:
                    await self._bring(one)
                except HaganeError as error:
                    failed[one.network_id] = error.message

        await asyncio.gather(*(bring(one) for one in wrong))
        return failed

    async def close(self) -> None:
        """Stop listening; everything stays plugged."""
        for opened in self._open.values():
            await opened.sockets.close()
        self._open = {}

    def space(self, network_id: str) -> str:
        """The name of a network's namespace."""
        return f"{self._switch.prefix}-{self._kind.word}-{_short(network_id)}"

    # -- what is there -------------------------------------------------------------------------------------------

    def _spaces(self) -> list[str]:
        return space.named(f"{self._switch.prefix}-{self._kind.word}-")

    def _outside(self, network_id: str) -> str:
        return f"{self._kind.outside}{_short(network_id)}"

    def _right(self, one: Endpoint, links: dict[str, frozenset[str]], plugged: dict[str, tuple[str, str]]) -> bool:
        opened, name = self._open.get(one.network_id), self.space(one.network_id)
        return (
            opened is not None
            and opened.endpoint == one
            and opened.identity == space.identity(name)
            and self._kind.inside in links.get(name, ())
            and plugged.get(self._outside(one.network_id)) == (one.network_id, one.port_id)
        )

    async def _plugged(self) -> dict[str, tuple[str, str]]:
        """Our interfaces in the switch: name -> (network, Port)."""
        mark = self._kind.mark
        asked = await self._vsctl("--format=json", "--columns=name,external_ids", "find", "Interface",
                                  f'external_ids:{mark}!=""')  # fmt: skip
        found = {}
        for name, (_, pairs) in json.loads(asked)["data"]:
            ids = dict(pairs)
            if mark in ids:
                found[name] = (ids[mark], ids.get("iface-id", ""))
        return found

    # -- what has to change --------------------------------------------------------------------------------------

    async def _remove_others(self, wanted: set[str], plugged: dict[str, tuple[str, str]]) -> None:
        for network_id in [key for key in self._open if self.space(key) not in wanted]:
            await self._open.pop(network_id).sockets.close()
        loose = [name for name, (network_id, _) in plugged.items() if self.space(network_id) not in wanted]
        if loose:
            words = [word for name in loose for word in ("--", "--if-exists", "del-port", self._switch.bridge, name)]
            await self._vsctl(*words[1:])
            for name in loose:
                plugged.pop(name)
        for name in self._spaces():
            if name not in wanted:
                # A connection that a killed process had open keeps a namespace alive for minutes, without its name.
                outside = f"{self._kind.outside}{name.rpartition('-')[2]}"
                await _tolerant("ip", *_in(self._switch.netns), "link", "delete", outside)
                await _tolerant("ip", "netns", "delete", name)

    async def _bring(self, one: Endpoint) -> None:
        """Make what is missing, put right what is wrong, and listen."""
        name, outside, inside = self.space(one.network_id), self._outside(one.network_id), self._kind.inside
        if not space.exists(name):
            await _tolerant("ip", "netns", "delete", name)
            await _tolerant("ip", "netns", "add", name)
        links = await asyncio.to_thread(space.links, [name])
        if inside not in links.get(name, ()):
            # The switch holds on to an interface that it has open: it must let go before one of that name is made anew.
            await self._vsctl("--if-exists", "del-port", self._switch.bridge, outside)
            await _tolerant("ip", *_in(self._switch.netns), "link", "delete", outside)
            await _run("ip", *_in(self._switch.netns), "link", "add", outside, "type", "veth", "peer", "name", inside,
                       "netns", name)  # fmt: skip
        await self._configure(one, name, outside)
        ids = (f"external_ids:iface-id={one.port_id}", f"external_ids:{self._kind.mark}={one.network_id}")
        await self._vsctl(
            "--may-exist", "add-port", self._switch.bridge, outside, "--", "set", "Interface", outside, *ids
        )
        await self._listen(one, name)

    async def _configure(self, one: Endpoint, name: str, outside: str) -> None:
        inside, kept = self._kind.inside, (*self._kind.addresses, *one.addresses)
        await asyncio.to_thread(space.inside, name, lambda: space.quiet(inside))
        lines = ["link set lo up", f"link set {inside} address {one.mac} mtu {one.mtu} up"]
        # What has to go goes first: with the first address of a subnet the kernel removes all others of it.
        lines += [f"address delete {address} dev {inside}" for address in await self._stale(name, kept)]
        lines += [f"address replace {address} dev {inside}" for address in kept]
        await _run("ip", "-n", name, "-batch", "-", stdin="\n".join(lines) + "\n")
        if self._kind.address_v6:
            await _tolerant("ip", "-n", name, "address", "replace", self._kind.address_v6, "dev", inside, "nodad")
        await _run("ip", *_in(self._switch.netns), "link", "set", outside, "mtu", str(one.mtu), "up")
        # A userspace switch takes packets as they are: half-made checksums would let pings through and TCP hang.
        await _run("ip", "netns", "exec", name, "ethtool", "-K", inside, "tx", "off")
        outside_space = ("ip", "netns", "exec", self._switch.netns) if self._switch.netns else ()
        await _run(*outside_space, "ethtool", "-K", outside, "tx", "off")

    async def _stale(self, name: str, kept: Sequence[str]) -> list[str]:
        """Addresses of subnets that the network no longer has."""
        shown = json.loads(await _run("ip", "-n", name, "-json", "address", "show", "dev", self._kind.inside))
        there = [f"{a['local']}/{a['prefixlen']}" for link in shown for a in link["addr_info"] if a["family"] == "inet"]
        return [address for address in there if address not in kept]

    async def _listen(self, one: Endpoint, name: str) -> None:
        identity, opened = space.identity(name), self._open.pop(one.network_id, None)
        if opened is not None and opened.identity == identity:
            self._open[one.network_id] = _Opened(one, identity, opened.sockets)
            return
        if opened is not None:
            await opened.sockets.close()
        self._open[one.network_id] = _Opened(one, identity, await self._sockets(one, name))

    async def _vsctl(self, *words: str) -> str:
        return await _run("ovs-vsctl", f"--db={self._switch.db}", "--timeout=10", *words)


def _short(network_id: str) -> str:
    return network_id.replace("-", "")[:12]


def _in(netns: str) -> tuple[str, ...]:
    return ("-n", netns) if netns else ()


async def _run(*argv: str, stdin: str = "") -> str:
    """A program's output. Raises Unavailable or DeviceFailed. In a thread: it must not be cancelled half-way."""
    return await asyncio.to_thread(_program, argv, stdin)


async def _tolerant(*argv: str) -> None:
    """For what may be there, or gone, already."""
    try:
        await _run(*argv)
    except DeviceFailed:
        return


def _program(argv: tuple[str, ...], stdin: str) -> str:
    try:
        done = subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=30)
    except FileNotFoundError as error:
        raise Unavailable(f"The program {argv[0]} is not installed; `hagane doctor` names the package.") from error
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"`{' '.join(argv)}` did not end within 30 s.") from error
    if done.returncode:
        raise DeviceFailed(f"`{' '.join(argv)}` failed: {done.stderr.strip() or done.returncode}", detail=stdin)
    return done.stdout
