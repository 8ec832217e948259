"""One emulated switch to try things on: python -m hagane.lab.switch eos --port 2022 [--commit 0.3] [--refuse Ethernet2]

User "admin", password "secret". It prints the host key's fingerprint for the `host_key` option.
"""

import argparse
import asyncio
from collections.abc import Callable

from hagane.lab.switch import eos, netconf, nxos, sonic
from hagane.lab.switch.server import SwitchServer

FAMILIES: dict[str, Callable[[int], SwitchServer]] = {
    "eos": lambda ports: eos.serve(eos.make(ports=ports)),
    "netconf": lambda ports: netconf.serve(netconf.make(ports=ports)),
    "nxos": lambda ports: nxos.serve(nxos.make(ports=ports)),
    "sonic": lambda ports: sonic.serve(sonic.make(ports=ports)),
}


async def run(arguments: argparse.Namespace) -> None:
    server = FAMILIES[arguments.family](arguments.ports)
    box = server.box
    box.commit_seconds = arguments.commit
    box.faults.slow, box.faults.hang, box.faults.locked = arguments.slow, arguments.hang, arguments.locked
    box.faults.refuse, box.faults.ignore = frozenset(arguments.refuse), frozenset(arguments.ignore)
    await server.start(arguments.address, arguments.port)
    print(f"{arguments.family} on {arguments.address} port {server.port}, host key {server.fingerprint}", flush=True)
    await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(prog="hagane.lab.switch", description="Run one emulated switch.")
    parser.add_argument("family", choices=sorted(FAMILIES))
    parser.add_argument("--address", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: any that is free")
    parser.add_argument("--ports", type=int, default=8, help="front panel ports")
    parser.add_argument("--commit", type=float, default=0.0, help="seconds that a commit takes")
    parser.add_argument("--slow", type=float, default=0.0, help="seconds before each answer")
    parser.add_argument("--hang", action="store_true", help="never end a commit")
    parser.add_argument("--locked", default="", metavar="USER", help="the configuration is locked by this user")
    parser.add_argument("--refuse", action="append", default=[], metavar="PORT", help="refuse the VLANs of this port")
    parser.add_argument("--ignore", action="append", default=[], metavar="PORT", help="take and forget its settings")
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
