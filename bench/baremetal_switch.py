"""A Nic's way from the ramdisk's network to its tenant's, and many SwitchPorts at once, on real switches.

    python bench/baremetal_switch.py [--moves 20] [--only moves|ports]         (root; Open vSwitch and OVN)

moves   a guarded Nic of the lab's rack goes to and fro between two networks; the time from asking for it to the first
        answer to a packet of the machine, with two gateways, through OVN and over the trunk
ports   n SwitchPorts of an Open vSwitch put into other VLANs: one commit for all of them, beside one commit for each;
        a commit ends when ovs-vswitchd has taken it
"""

import argparse
import asyncio
import contextlib
import logging
import socket
import statistics
import struct
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1] / "src"), str(Path(__file__).parents[1])]

from tests.dataplane.racklab import Metal, RackLab, rack_lab  # noqa: E402
from tests.dataplane.space import Guest  # noqa: E402

from hagane.drivers.switch.base import SwitchAccess, SwitchDesired, SwitchPort  # noqa: E402
from hagane.drivers.switch.ovsdb import OvsdbSwitch  # noqa: E402
from hagane.lab import netns, ovs  # noqa: E402
from hagane.lab.ovs import Ovs  # noqa: E402
from hagane.lab.process import stop  # noqa: E402

EVERY = 0.002  # seconds between two packets: how finely a move is measured


class Pinger:
    """Echo requests without end from a machine's raw socket; `answered` is when the first answer came after `arm`."""

    def __init__(self, source: Metal, target: Guest) -> None:
        self._wire = source.wire()
        self._wire.settimeout(EVERY)
        self._source, self._target = source, target
        self._frame, self._reply = b"", b""
        self._stop = threading.Event()
        self.answered = threading.Event()
        self.at = 0.0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def arm(self, address: str) -> None:
        """Ask as this address from now on."""
        self.answered.clear()
        self._reply = bytes(map(int, self._target.ip.split("."))) + bytes(map(int, address.split(".")))
        self._frame = _echo(self._source.mac, self._target.mac, address, self._target.ip)

    def _run(self) -> None:
        sent = 0.0
        while not self._stop.is_set():
            now = time.perf_counter()
            if self._frame and now - sent >= EVERY:
                sent = now
                with contextlib.suppress(OSError):
                    self._wire.send(self._frame)
            with contextlib.suppress(OSError):
                frame = self._wire.recv(2048)
                if frame[26:34] == self._reply and frame[12:14] == b"\x08\x00" and not self.answered.is_set():
                    self.at = time.perf_counter()
                    self.answered.set()

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self._wire.close()


def _echo(source: str, target: str, ip: str, to: str) -> bytes:
    """An ICMP echo request as a whole frame."""
    icmp = struct.pack("!BBHHH", 8, 0, 0, 7, 7) + bytes(16)
    icmp = icmp[:2] + struct.pack("!H", _sum(icmp)) + icmp[4:]
    head = struct.pack(
        "!BBHHHBBH4s4s", 0x45, 0, 20 + len(icmp), 0, 0, 64, 1, 0, socket.inet_aton(ip), socket.inet_aton(to)
    )
    head = head[:10] + struct.pack("!H", _sum(head)) + head[12:]
    macs = bytes.fromhex((target + source).replace(":", ""))
    return macs + b"\x08\x00" + head + icmp


def _sum(data: bytes) -> int:
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


async def moves(count: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with rack_lab(Path(folder), "rbench") as lab:
            await _moves(lab, count)


async def _moves(lab: RackLab, count: int) -> None:
    net = await lab.network("tenant", "10.9.0.0/24")
    node, metal = await lab.metal("bm1")
    virtual = await lab.virtual(net, port_security_enabled=False)
    vif = await lab.port(net)
    await lab.give(node, vif["id"])
    [row] = await lab.plugged(node, "tenant")
    metal.has(row)
    await lab.pings(metal, virtual.ip)
    pinger = Pinger(metal, virtual)
    whole: list[float] = []
    rows: list[float] = []
    try:
        for _ in range(count):
            await lab.plugged(node, "provisioning")
            await asyncio.sleep(0.1)
            pinger.arm(metal.ip)
            await asyncio.sleep(0.05)
            assert not pinger.answered.is_set(), "the machine reaches its tenant's network from the ramdisk's"
            started = time.perf_counter()
            await lab.plug(node, "tenant")
            rows.append(time.perf_counter() - started)
            assert await asyncio.to_thread(pinger.answered.wait, 10), "no answer after the move"
            whole.append(pinger.at - started)
    finally:
        pinger.close()
    print(f"guarded move, {count} times: first answer after {_ms(whole)}; of that the transaction {_ms(rows)}")


def _ms(values: list[float]) -> str:
    ordered = sorted(values)
    low, most = ordered[0], ordered[max(0, int(len(ordered) * 0.95) - 1)]
    return f"{statistics.median(ordered) * 1000:.0f} ms (fastest {low * 1000:.0f}, 95 %: {most * 1000:.0f})"


async def ports() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        place = Ovs("tor", "rbench-ports", folder / "run", folder / "db" / "conf.db", folder / "log")
        for part in (place.run, place.log):
            part.mkdir(parents=True)
        await netns.create(place.netns)
        try:
            await ovs.up(place)
            await _ports(place)
        finally:
            for daemon in reversed(ovs.daemons(place)):
                await stop(daemon)
            await netns.delete(place.netns)


async def _ports(place: Ovs) -> None:
    kind = await ovs.datapath()
    words = ["--", "add-br", "br-tor", "--", "set", "Bridge", "br-tor", f"datapath_type={kind}"]
    names = [f"p{number}" for number in range(48)]
    for name in names:
        words += ["--", "add-port", "br-tor", name, "--", "set", "Interface", name, "type=internal"]
    await ovs.vsctl(place, *words)
    driver = OvsdbSwitch(SwitchAccess("", 0, options={"remote": place.remote}))
    vlans = iter(range(100, 4000))
    try:
        for count in (1, 8, 48):
            together = [await _timed(driver, names[:count], vlans) for _ in range(5)]
            each = []
            for _ in range(5):
                each.append(sum([await _timed(driver, [name], vlans) for name in names[:count]]))
            print(f"{count:2} SwitchPorts: one commit {_ms(together)}; a commit for each {_ms(each)}")
    finally:
        await driver.close()


async def _timed(driver: OvsdbSwitch, names: list[str], vlans: Iterator[int]) -> float:
    vlan = next(vlans)
    started = time.perf_counter()
    seen = await driver.apply(SwitchDesired({name: SwitchPort(native=vlan) for name in names}))
    assert seen.commits == 1
    return time.perf_counter() - started


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--moves", type=int, default=20)
    parser.add_argument("--only", choices=("moves", "ports"))
    arguments = parser.parse_args()
    logging.getLogger("hagane").setLevel(logging.ERROR)
    if arguments.only != "ports":
        await moves(arguments.moves)
    if arguments.only != "moves":
        await ports()


if __name__ == "__main__":
    asyncio.run(main())
