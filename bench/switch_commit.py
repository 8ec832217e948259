"""What one commit for all ports of a switch saves over one commit for each.

    python bench/switch_commit.py [--commit 0.3] [--family eos]

Each family's driver talks to its emulator over real SSH on loopback. What a commit costs a switch is set on the
emulator and printed: real switches take a few tenths of a second (EOS, NX-OS, NETCONF) to many seconds (SONiC). The
times of the driver itself, SSH and parsing included, are what they are on this machine.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "src"))

from hagane.drivers.switch import make
from hagane.drivers.switch.base import Switch, SwitchAccess, SwitchDesired, SwitchPort
from hagane.lab.switch import eos, netconf, nxos, sonic
from hagane.lab.switch.server import SwitchServer

SIZES = (1, 8, 48)
SERVERS: dict[str, Callable[[], SwitchServer]] = {
    "eos": lambda: eos.serve(eos.make(ports=48)),
    "nxos": lambda: nxos.serve(nxos.make(ports=48)),
    "sonic": lambda: sonic.serve(sonic.make(ports=48)),
    "netconf": lambda: netconf.serve(netconf.make(ports=48)),
}


def desired(names: tuple[str, ...], first: int) -> SwitchDesired:
    return SwitchDesired({name: SwitchPort(native=first + i) for i, name in enumerate(names)})


async def once(driver: Switch, names: tuple[str, ...], first: int) -> float:
    """All ports in one `apply`; the seconds that it took."""
    began = time.perf_counter()
    assert (await driver.apply(desired(names, first))).commits == 1
    return time.perf_counter() - began


async def each(driver: Switch, names: tuple[str, ...], first: int) -> float:
    """One port more in each `apply`, as a driver that plugs port by port does."""
    began = time.perf_counter()
    for i in range(len(names)):
        now = {name: SwitchPort(native=first + j if j <= i else 100 + j) for j, name in enumerate(names)}
        assert (await driver.apply(SwitchDesired(now))).commits == 1
    return time.perf_counter() - began


async def measure(family: str, commit: float) -> None:
    server = SERVERS[family]()
    await server.start()
    options = {"host_key": server.fingerprint}
    access = SwitchAccess("127.0.0.1", server.port, "admin", "secret", timeout=60, options=options)
    driver = make(family, access)
    try:
        for size in SIZES:
            names = server.box.names()[:size]
            # The state that both begin with, so that the two have the same to do.
            await driver.apply(desired(names, 100))
            server.box.commit_seconds = commit
            apart = await each(driver, names, 1001)
            server.box.commit_seconds = 0.0
            await driver.apply(desired(names, 100))
            server.box.commit_seconds = commit
            together = await once(driver, names, 1001)
            server.box.commit_seconds = 0.0
            ratio = apart / together
            print(f"{family:8} {size:5} {together:12.3f} {apart:14.3f} {ratio:8.1f}x", flush=True)
    finally:
        await driver.close()
        await server.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure what one commit for many ports saves.")
    parser.add_argument("--commit", type=float, default=0.3, help="seconds that a commit takes the emulated switch")
    parser.add_argument("--family", choices=sorted(SERVERS), help="only this one")
    arguments = parser.parse_args()
    print(f"emulated commit time: {arguments.commit} s")
    print(f"{'family':8} {'ports':>5} {'one commit':>12} {'one a port':>14}   gain")
    for family in [arguments.family] if arguments.family else SERVERS:
        asyncio.run(measure(family, arguments.commit))


if __name__ == "__main__":
    main()
