"""What Hagane does per second on this machine, beside the floor, the targets and the real services.

    make bench                        about three minutes
    python bench/run.py --full        also 50,000 ports and 10,000 servers
    python bench/run.py --real        only: a real boot, which needs root and the real devices
    python bench/run.py --json FILE   the numbers for programs

Everything runs in processes and temporary folders of its own, which are gone afterwards. bench/policy.py, fernet.py,
ovsdb.py and image.py measure single parts.
"""

import argparse
import json
import shutil
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import central
from cloud import ROOT, Cloud
from measure.floor import Floor
from measure.port import Ports
from measure.server import Servers
from measure.stall import stalls
from measure.start import Starts
from measure.token import Tokens
from report import Number, table


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure Hagane.")
    parser.add_argument("--full", action="store_true", help="also 50,000 ports and 10,000 servers")
    parser.add_argument("--real", action="store_true", help="boot a real machine (root), and nothing else")
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with ExitStack() as stack:
        if arguments.real:
            sys.path.insert(0, str(ROOT / "src"))
            from measure import boot

            numbers = boot.numbers()
        else:
            numbers = measure(stack, arguments.rounds, full=arguments.full)
    print(table(numbers))
    if arguments.json:
        arguments.json.write_text(json.dumps([number.as_json() for number in numbers], indent=1))
    return 0 if all(number.good is not False for number in numbers) else 1


def measure(stack: ExitStack, rounds: int, *, full: bool) -> list[Number]:
    """Rounds of everything in turn, then what happens once."""
    folder = Path(tempfile.mkdtemp(prefix="hagane-bench-"))
    stack.callback(shutil.rmtree, folder, ignore_errors=True)
    ovn = _central(stack, folder)
    floor = Floor(folder)
    stack.callback(floor.stop)
    networked, simulated = Cloud(nb=ovn.nb, sb=ovn.sb) if ovn else Cloud(), Cloud()
    stack.callback(networked.stop)
    stack.callback(simulated.stop)
    tokens, ports, servers, starts = Tokens(simulated), Ports(networked, ovn), Servers(simulated), Starts(simulated)
    for number in range(rounds):
        _say(f"round {number + 1} of {rounds}")
        for subject in (floor, tokens, servers, starts, ports):
            subject.round()
        ports.settle(30.0)
    _say("lists, passwords")
    tokens.last()
    ports.lists()
    servers.lists()
    _say("what holds the event loop")
    held = stalls()
    ports.lists()
    servers.lists()
    starts.round()
    numbers = [*floor.numbers(), *tokens.numbers(floor), *ports.numbers(floor), *servers.numbers(floor)]
    numbers += [*starts.numbers(), *held]
    if full:
        _say("50,000 ports")
        numbers += ports.crowd(50_000)
        _say("10,000 servers")
        numbers += servers.crowd(10_000)
    return numbers


def _central(stack: ExitStack, folder: Path) -> central.Central | None:
    if not central.available():
        _say("OVN is not installed: ports are measured with the simulated one")
        return None
    ovn = central.Central(folder)
    stack.callback(ovn.stop)
    return ovn


def _say(text: str) -> None:
    print(f"... {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
