"""One complete Open vSwitch (database server and switch) inside a network namespace, in folders of its own.

The kernel's datapath is used where the kernel has it; otherwise the userspace datapath ("netdev"), which does the same,
slower. With userspace a bridge's own interface is a tap that dies with the switch, so whoever gave it an address must
give it again after a restart (host.py does: its `up` is repeatable).
"""

from dataclasses import dataclass
from pathlib import Path

from hagane.errors import HaganeError
from hagane.lab.netns import inside
from hagane.lab.process import Daemon, run, start

SCHEMA = Path("/usr/share/openvswitch/vswitch.ovsschema")
QUIET = ("-vconsole:off", "-vsyslog:off", "-vfile:info")


@dataclass(frozen=True, slots=True)
class Ovs:
    """Where one OVS lives: `run` holds sockets and pid files, `db` the configuration, `log` the logs."""

    name: str
    netns: str
    run: Path
    db: Path
    log: Path
    listen: str = ""  # "port:address": where the database answers besides its socket

    @property
    def socket(self) -> Path:
        return self.run / "db.sock"

    @property
    def remote(self) -> str:
        return f"unix:{self.socket}"

    @property
    def env(self) -> tuple[tuple[str, str], ...]:
        return (("OVS_RUNDIR", str(self.run)), ("OVN_RUNDIR", str(self.run)))


def daemons(ovs: Ovs) -> tuple[Daemon, Daemon]:
    """The database server and the switch."""
    remotes = [f"--remote=punix:{ovs.socket}", *([f"--remote=ptcp:{ovs.listen}"] if ovs.listen else [])]
    server = detached(ovs, "ovsdb-server", f"{ovs.db}", *remotes, f"--unixctl={ovs.run}/ovsdb-server.ctl")
    switch = detached(ovs, "ovs-vswitchd", ovs.remote, f"--unixctl={ovs.run}/ovs-vswitchd.ctl")
    return server, switch


def detached(ovs: Ovs, program: str, *arguments: str, label: str = "") -> Daemon:
    """A daemon of the OVS family, run in the namespace of `ovs`."""
    label = label or program
    log = ovs.log / f"{label}.log"
    pid_file = ovs.run / f"{label}.pid"
    options = (*QUIET, f"--log-file={log}", f"--pidfile={pid_file}", "--detach", "--no-chdir")
    argv = inside(ovs.netns, program, *arguments, *options)
    return Daemon(f"{ovs.name}/{label}", program, argv, pid_file, log, ovs.env)


async def up(ovs: Ovs) -> None:
    """Database and both daemons, whatever of them is missing."""
    server, switch = daemons(ovs)
    await ensure_database(ovs.db, SCHEMA)
    await start(server)
    await vsctl(ovs, "--no-wait", "init")
    await start(switch)


async def without_zero_snat(ovs: Ovs) -> None:
    """Tell ovn-controller that the userspace datapath cannot do all-zero SNAT. Repeat this when the switch was started.

    It can, but with it OVN commits every connection as nat(src), and OVS 3.1 keeps a twin for the reverse direction,
    which does not expire and is found by the same hash. A packet that comes after its connection expired and before
    that was swept (the SYN 63 seconds after the first to a silent address) meets the twin alone, and the switch dies:
    "lib/conntrack.c:1063: assertion conn->conn_type == CT_CONN_TYPE_DEFAULT failed in conn_update_state()". Twins of
    true NAT have another hash. OVS 3.3 and later keep no twins: then this can go.

    ovn-controller believes the database. The switch writes there what it can do when it starts, and then no more.
    """
    if await datapath() != "netdev":
        return
    lie = "capabilities:ct_zero_snat=false"
    row = (await vsctl(ovs, "--if-exists", "get", "Open_vSwitch", ".", "datapaths:netdev")).strip()
    if not row:  # ovs-vsctl waits for the switch, which may write into a new row too
        make = ("--id=@new", "create", "Datapath", lie, "--", "set", "Open_vSwitch", ".", "datapaths:netdev=@new")
        row = (await vsctl(ovs, *make)).strip()
    await vsctl(ovs, "--no-wait", "set", "Datapath", row, lie)


async def vsctl(ovs: Ovs, *arguments: str) -> str:
    """One ovs-vsctl transaction."""
    return await run("ovs-vsctl", f"--db={ovs.remote}", "--timeout=15", *arguments)


async def ensure_database(path: Path, schema: Path) -> None:
    """Create the database file, or bring it to the installed schema (after a package upgrade)."""
    if not _present(path):
        await run("ovsdb-tool", "create", str(path), str(schema))
    elif (await run("ovsdb-tool", "needs-conversion", str(path), str(schema))).strip() == "yes":
        await run("ovsdb-tool", "convert", str(path), str(schema))


_FOUND: list[str] = []


async def datapath() -> str:
    """The best datapath of this machine: "system" (the kernel's) or "netdev" (userspace)."""
    if not _FOUND:
        _FOUND.append("system" if await kernel_module("openvswitch") else "netdev")
    return _FOUND[0]


async def kernel_module(name: str) -> bool:
    """Whether the kernel has the module: built in, loaded, or loadable."""
    if not _loaded(name):
        try:
            await run("modprobe", name)
        except HaganeError:
            return False
    return _loaded(name)


def _loaded(module: str) -> bool:
    return Path(f"/sys/module/{module}").exists()


def _present(path: Path) -> bool:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.exists()
