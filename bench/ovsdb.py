"""OVSDB: ports per second into a real Northbound database, initial sync, cost among 50,000; beside the Python IDL.

PYTHONPATH=src python bench/ovsdb.py            (needs ovsdb-server and OVN's schema; the peer needs ovs and ovsdbapp)
"""

import asyncio
import logging
import os
import resource
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hagane.ovn.desired import Desired, Scope
from hagane.ovn.northbound import Northbound, Table

NB_SCHEMA = Path("/usr/share/ovn/ovn-nb.ovsschema")


class Server:
    def __init__(self, folder: Path) -> None:
        subprocess.run(["ovsdb-tool", "create", folder / "nb.db", NB_SCHEMA], check=True)
        self.remote = f"unix:{folder}/nb.sock"
        command = ["ovsdb-server", "-vconsole:off", "-vsyslog:off", "--no-chdir", f"--unixctl={folder}/nb.ctl"]
        command += [f"--remote=p{self.remote}", str(folder / "nb.db")]
        self.process = subprocess.Popen(command, env={**os.environ, "OVS_RUNDIR": str(folder)})
        while not (folder / "nb.sock").exists():
            time.sleep(0.01)

    def cpu(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


def port(number: int) -> Desired:
    octets = number.to_bytes(3)
    address = f"fa:16:3e:{octets.hex(':')} 10.{'.'.join(map(str, octets))}"
    columns = {
        "name": f"p{number}",
        "addresses": [address],
        "port_security": [address],
        "options": {"mcast_flood": "false"},
    }
    member_of = {("Port_Group", "ports"): ["sg:1"]}
    return Desired(Table.PORT, f"port:{number}", columns, (Table.SWITCH, "net:1", "ports"), member_of)


async def create(nb: Northbound, first: int, count: int, workers: int) -> float:
    """Seconds for `count` ports, each planned and committed by itself by one of so many workers."""
    numbers = iter(range(first, first + count))

    async def work() -> None:
        for number in numbers:
            await nb.apply([port(number)])

    began = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(workers)))
    return time.perf_counter() - began


async def measure(server: Server, label: str, run: Callable[[], Any], count: int) -> float:
    """Prints, and returns the rate."""
    own, theirs = time.process_time(), server.cpu()
    seconds = await run()
    own, theirs = time.process_time() - own, server.cpu() - theirs
    rate = count / seconds
    cpu = f"own {own / count * 1e6:5.0f} µs, server {theirs / count * 1e6:5.0f} µs"
    print(f"{label:44}{rate:8.0f}/s   CPU per port: {cpu}")
    return rate


async def ours(server: Server) -> tuple[float, float]:
    """Rates of small transactions and of one port at a time."""
    nb = Northbound(server.remote)
    await nb.start()
    await nb.ready.wait()
    await nb.apply([Desired(Table.SWITCH, "net:1", {"name": "n"}), Desired(Table.PORT_GROUP, "sg:1", {"name": "pg"})])
    single = await measure(server, "one at a time, among none", lambda: create(nb, 0, 500, 1), 500)
    many = await measure(server, "16 workers", lambda: create(nb, 500, 2000, 16), 2000)
    await measure(server, "1,000 workers", lambda: create(nb, 2500, 7500, 1000), 7500)
    await sync(server, 10_000)
    for first in range(10_000, 50_000, 2000):
        await nb.apply([port(number) for number in range(first, first + 2000)])
    await sync(server, 50_000)
    late = await measure(server, "one at a time, among 50,000", lambda: create(nb, 50_000, 300, 1), 300)
    await measure(server, "16 workers, among 50,000", lambda: create(nb, 50_300, 2000, 16), 2000)
    print(f"{'a port among 50,000 against among none':44}{single / late:8.2f}x the time (the server copies its set)")
    began = time.perf_counter()
    everything = [port(number) for number in range(52_300)]
    assert nb.plan(everything) == []
    print(f"{'a full pass over 52,300 settled ports':44}{time.perf_counter() - began:8.2f} s")
    await nb.apply([], Scope(owners=["port:1"]))
    await nb.stop()
    return single, many


async def sync(server: Server, count: int) -> float:
    nb = Northbound(server.remote)
    own, began, memory = time.process_time(), time.perf_counter(), resident()
    await nb.start()
    await nb.ready.wait()
    seconds, own = time.perf_counter() - began, time.process_time() - own
    used = (resident() - memory) / count
    print(f"{f'initial sync of {count:,} ports':44}{seconds:8.2f} s   own CPU {own:.2f} s, {used:.1f} KiB a port")
    await nb.stop()
    return seconds


def resident() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1024


def peer(server: Server) -> tuple[float, float] | None:
    """The same ports through ovsdbapp: its rate one at a time, and how many times our initial sync its own takes. None
    if it is not installed."""
    try:
        from ovsdbapp.backend.ovs_idl import connection
        from ovsdbapp.schema.ovn_northbound.impl_idl import OvnNbApiIdlImpl
    except ImportError:
        return None
    count = 2000

    def connect() -> Any:
        return connection.Connection(idl=connection.OvsdbIdl.from_server(server.remote, "OVN_Northbound"), timeout=60)

    api = OvnNbApiIdlImpl(connect())
    api.ls_add("n").execute(check_error=True)
    api.pg_add("pg").execute(check_error=True)
    own, theirs, began = time.process_time(), server.cpu(), time.perf_counter()
    for number in range(count):
        want = port(number)
        with api.transaction(check_error=True) as txn:
            columns = {"port_security": list(want.columns["port_security"]), "external_ids": {"key": want.key}}
            row = txn.add(api.lsp_add("n", want.columns["name"], **columns))
            txn.add(api.lsp_set_addresses(want.columns["name"], want.columns["addresses"]))
            txn.add(api.pg_add_ports("pg", row))
    seconds = time.perf_counter() - began
    own, theirs = (time.process_time() - own) / count * 1e6, (server.cpu() - theirs) / count * 1e6
    cpu = f"own {own:5.0f} µs, server {theirs:5.0f} µs"
    print(f"{'ovsdbapp, one at a time':44}{count / seconds:8.0f}/s   CPU per port: {cpu}")
    began = time.perf_counter()
    second = connect()
    second.start()
    assert len(second.idl.tables[Table.PORT].rows) == count
    idle = time.perf_counter() - began
    return count / seconds, idle / asyncio.run(sync(server, count))


def with_server(run: Callable[[Server], Any]) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder))
        try:
            return run(server)
        finally:
            server.stop()


def main() -> None:
    logging.disable(logging.WARNING)
    single, many = with_server(lambda server: asyncio.run(ours(server)))
    found = with_server(peer)
    if found is None:
        print("peer: not measured, ovsdbapp is not installed in this environment")
        return
    rate, sync_ratio = found
    print(f"ours against ovsdbapp: {single / rate:.1f}x one at a time, {many / rate:.1f}x with 16 workers,", end=" ")
    print(f"{sync_ratio:.0f}x the initial sync")


if __name__ == "__main__":
    main()
