"""OVN's centre: the Northbound and Southbound databases and northd, on Unix sockets.

Hosts of the lab share this machine's file system, so they reach the Southbound database by its socket too: it is the
fastest way, and a chassis keeps its session while its own switch restarts. The databases keep their files; a restart of
any of the three loses nothing.
"""

from dataclasses import dataclass
from pathlib import Path

from hagane.lab.ovs import Ovs, detached, ensure_database
from hagane.lab.process import Daemon, start, together
from hagane.lab.site import Site

SCHEMAS = {"nb": Path("/usr/share/ovn/ovn-nb.ovsschema"), "sb": Path("/usr/share/ovn/ovn-sb.ovsschema")}


@dataclass(frozen=True, slots=True)
class CentralAddress:
    """Where the OVN databases answer, as OVSDB remotes ("unix:/...")."""

    nb: str
    sb: str


def address(site: Site) -> CentralAddress:
    """Where they answer once they are up."""
    run = site.folder("central").run
    return CentralAddress(f"unix:{run}/nb.sock", f"unix:{run}/sb.sock")


def daemons(site: Site) -> tuple[Daemon, ...]:
    """Both database servers and northd."""
    folder, where = site.folder("central"), address(site)
    place = Ovs("central", "", folder.run, folder.state, folder.log)
    servers = [
        detached(
            place,
            "ovsdb-server",
            f"{folder.state}/{db}.db",
            f"--remote=p{remote}",
            f"--unixctl={folder.run}/{db}.ctl",
            label=db,
        )
        for db, remote in (("nb", where.nb), ("sb", where.sb))
    ]
    databases = (f"--ovnnb-db={where.nb}", f"--ovnsb-db={where.sb}")
    northd = detached(place, "ovn-northd", *databases, f"--unixctl={folder.run}/northd.ctl", label="northd")
    return (*servers, northd)


async def up(site: Site) -> CentralAddress:
    """Create what is missing, start what does not run."""
    folder = site.folder("central")
    *servers, northd = daemons(site)
    await together(*(ensure_database(folder.state / f"{db}.db", schema) for db, schema in SCHEMAS.items()))
    await together(*(start(server) for server in servers))
    await start(northd)
    return address(site)
