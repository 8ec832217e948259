"""Metadata Ports on this machine: a network namespace each, a cable into the local Host's switch, sockets inside.

    hagane-meta-<12 digits of the network>            hagane-host1
    listening :80 ── meta0 (Port's MAC, addresses) ── hm<12 digits> ── br-int (iface-id = Port)

No process runs in the namespaces: the sockets belong to this process (space.py). They stay plugged when it ends, so the
next start opens sockets in what it finds. OVN does the rest: the Port is an ordinary one, so that machines on any Host
or in any rack reach it through their network. Whatever carries our mark and is not wanted is removed.
"""

import asyncio
import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from hagane.drivers.metadata import space
from hagane.drivers.metadata.base import ADDRESS, ADDRESS_V6, Answer, Endpoint
from hagane.drivers.metadata.http import Listener
from hagane.errors import DeviceFailed, HaganeError, Unavailable

MARK = "hagane-metadata"  # in external_ids of what we plug: the network's id
INSIDE = "meta0"
AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Switch:
    """The local Host's switch: its database, the namespace it runs in ("" is ours), its integration bridge."""

    db: str
    netns: str = ""
    bridge: str = "br-int"
    prefix: str = "hagane"  # of our namespaces' names, so that two clouds on a machine leave each other alone


@dataclass(slots=True)
class _Open:
    endpoint: Endpoint
    identity: int
    listener: Listener


class NetnsMetadata:
    """A MetadataDriver for a machine with Open vSwitch."""

    def __init__(self, switch: Switch, answer: Answer) -> None:
        self._switch, self._answer = switch, answer
        self._open: dict[str, _Open] = {}

    async def apply(self, endpoints: Sequence[Endpoint]) -> dict[str, str]:
        plugged = await self._plugged() if endpoints or self._open or self._spaces() else {}
        await self._remove_others({self._space(one.network_id) for one in endpoints}, plugged)
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
        for opened in self._open.values():
            await opened.listener.close()
        self._open = {}

    # -- what is there -------------------------------------------------------------------------------------------

    def _space(self, network_id: str) -> str:
        return f"{self._switch.prefix}-meta-{_short(network_id)}"

    def _spaces(self) -> list[str]:
        return space.named(f"{self._switch.prefix}-meta-")

    def _right(self, one: Endpoint, links: dict[str, frozenset[str]], plugged: dict[str, tuple[str, str]]) -> bool:
        opened, name = self._open.get(one.network_id), self._space(one.network_id)
        return (
            opened is not None
            and opened.endpoint == one
            and opened.identity == space.identity(name)
            and INSIDE in links.get(name, ())
            and plugged.get(_outside(one.network_id)) == (one.network_id, one.port_id)
        )

    async def _plugged(self) -> dict[str, tuple[str, str]]:
        """Our interfaces in the switch: name -> (network, Port)."""
        asked = await self._vsctl("--format=json", "--columns=name,external_ids", "find", "Interface",
                                  f'external_ids:{MARK}!=""')  # fmt: skip
        found = {}
        for name, (_, pairs) in json.loads(asked)["data"]:
            ids = dict(pairs)
            if MARK in ids:
                found[name] = (ids[MARK], ids.get("iface-id", ""))
        return found

    # -- what has to change --------------------------------------------------------------------------------------

    async def _remove_others(self, wanted: set[str], plugged: dict[str, tuple[str, str]]) -> None:
        for network_id in [key for key in self._open if self._space(key) not in wanted]:
            await self._open.pop(network_id).listener.close()
        loose = [name for name, (network_id, _) in plugged.items() if self._space(network_id) not in wanted]
        if loose:
            words = [word for name in loose for word in ("--", "--if-exists", "del-port", self._switch.bridge, name)]
            await self._vsctl(*words[1:])
            for name in loose:
                plugged.pop(name)
        for name in self._spaces():
            if name not in wanted:
                # A connection that a killed process had open keeps a namespace alive for minutes, without its name.
                outside = f"hm{name.rpartition('-')[2]}"
                await _tolerant("ip", *_in(self._switch.netns), "link", "delete", outside)
                await _tolerant("ip", "netns", "delete", name)

    async def _bring(self, one: Endpoint) -> None:
        """Make what is missing, put right what is wrong, and listen."""
        name, outside = self._space(one.network_id), _outside(one.network_id)
        if not space.exists(name):
            await _tolerant("ip", "netns", "delete", name)
            await _tolerant("ip", "netns", "add", name)
        links = await asyncio.to_thread(space.links, [name])
        if INSIDE not in links.get(name, ()):
            # The switch holds on to an interface that it has open: it must let go before one of that name is made anew.
            await self._vsctl("--if-exists", "del-port", self._switch.bridge, outside)
            await _tolerant("ip", *_in(self._switch.netns), "link", "delete", outside)
            await _run("ip", *_in(self._switch.netns), "link", "add", outside, "type", "veth", "peer", "name", INSIDE,
                       "netns", name)  # fmt: skip
        await self._configure(one, name, outside)
        ids = (f"external_ids:iface-id={one.port_id}", f"external_ids:{MARK}={one.network_id}")
        await self._vsctl(
            "--may-exist", "add-port", self._switch.bridge, outside, "--", "set", "Interface", outside, *ids
        )
        await self._listen(one, name)

    async def _configure(self, one: Endpoint, name: str, outside: str) -> None:
        await asyncio.to_thread(space.inside, name, lambda: space.quiet(INSIDE))
        lines = ["link set lo up", f"link set {INSIDE} address {one.mac} mtu {one.mtu} up"]
        # What has to go goes first: with the first address of a subnet the kernel removes all others of it.
        lines += [f"address delete {address} dev {INSIDE}" for address in await self._stale(one, name)]
        lines += [f"address replace {address} dev {INSIDE}" for address in (f"{ADDRESS}/32", *one.addresses)]
        await _run("ip", "-n", name, "-batch", "-", stdin="\n".join(lines) + "\n")
        await _tolerant("ip", "-n", name, "address", "replace", f"{ADDRESS_V6}/64", "dev", INSIDE, "nodad")
        await _run("ip", *_in(self._switch.netns), "link", "set", outside, "mtu", str(one.mtu), "up")
        # A userspace switch takes packets as they are: half-made checksums would let pings through and TCP hang.
        await _run("ip", "netns", "exec", name, "ethtool", "-K", INSIDE, "tx", "off")
        outside_space = ("ip", "netns", "exec", self._switch.netns) if self._switch.netns else ()
        await _run(*outside_space, "ethtool", "-K", outside, "tx", "off")

    async def _stale(self, one: Endpoint, name: str) -> list[str]:
        """Addresses of subnets that the network no longer has."""
        shown = json.loads(await _run("ip", "-n", name, "-json", "address", "show", "dev", INSIDE))
        kept = {f"{ADDRESS}/32", *one.addresses}
        there = [f"{a['local']}/{a['prefixlen']}" for link in shown for a in link["addr_info"] if a["family"] == "inet"]
        return [address for address in there if address not in kept]

    async def _listen(self, one: Endpoint, name: str) -> None:
        identity, opened = space.identity(name), self._open.pop(one.network_id, None)
        if opened is not None and opened.identity == identity:
            self._open[one.network_id] = _Open(one, identity, opened.listener)
            return
        if opened is not None:
            await opened.listener.close()
        listener = Listener(one.network_id, self._answer)
        await listener.open(await asyncio.to_thread(space.inside, name, space.listen))
        self._open[one.network_id] = _Open(one, identity, listener)

    async def _vsctl(self, *words: str) -> str:
        return await _run("ovs-vsctl", f"--db={self._switch.db}", "--timeout=10", *words)


def _short(network_id: str) -> str:
    return network_id.replace("-", "")[:12]


def _outside(network_id: str) -> str:
    return f"hm{_short(network_id)}"


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
