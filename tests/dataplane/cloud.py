"""A real cloud for tests: `hagane up` as a process of its own, with Hosts, networks and an outside of its own.

    Cloud ── Process (hagane up) ── OVN, and two Hosts with Open vSwitch and libvirt      everything gone after `down`

Several test runs may have one each at a time: whoever runs holds the lock of a number, which is in all names.
"""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import openstack.exceptions
from openstack.connection import Connection

from hagane import config
from hagane.errors import HaganeError
from hagane.lab import central, host, libvirtd, machine, netns
from hagane.lab.process import DaemonSeen, tool
from hagane.lab.site import Site
from hagane.operate.site import site
from tests.dataplane.slot import slot
from tests.outside import Process

T = TypeVar("T")
SLOTS = 16  # clouds that may run at a time on one machine, each with names and addresses of its own
Row = dict[str, Any]


def until(look: Callable[[], T], seconds: float, what: str) -> T:
    """The first true answer of `look`; fails with `what` when there is none in time. Errors of a look count as no."""
    deadline, last = time.monotonic() + seconds, ""
    while True:
        try:
            if answer := look():
                return answer
        except (AssertionError, openstack.exceptions.SDKException, OSError, HaganeError) as error:
            last = f": {error}"
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}{last}")
        time.sleep(0.05)


class Clock:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        return round(time.monotonic() - self._began, 2)


class Cloud:
    """See the module's text."""

    def __init__(self, folder: Path, slot: int, *, hosts: int = 2, **settings: Any) -> None:
        self.here = f"198.18.{slot + 64}.1"  # this machine's own address outside
        self.dns = f"198.18.{slot + 64}.53"
        own = {
            "sim": False, "prefix": f"hgt{slot}", "run": f"/run/hgt{slot}", "hosts": hosts, "dns_servers": [self.dns],
            "external_network": f"198.18.{slot + 64}.0/24", "external_network_v6": f"2001:db8:{slot + 64}::/64",
        }  # fmt: skip
        self.settings = own | settings
        self.process = Process(folder / "state", **self.settings)
        self.site: Site = site(config.load(self.process.config))

    # -- the process ---------------------------------------------------------------------------------------------

    def start(self) -> float:
        return self.process.start(timeout=90)

    @cached_property
    def conn(self) -> Connection:
        """As the administrator, in the project admin. It lives on when the process starts anew on the same port."""
        return self.process.connect()

    def member(self, name: str) -> Connection:
        """As a new user with the role member in a new project; both have this name."""
        project = self.conn.identity.create_project(name=name, domain_id="default")
        user = self.conn.identity.create_user(name=name, password="secret-of-" + name, domain_id="default")
        role = self.conn.identity.find_role("member")
        self.conn.identity.assign_project_role_to_user(project, user, role)
        auth = {"auth_url": f"{self.process.url}/identity/v3", "username": name, "password": "secret-of-" + name,
                "project_name": name, "user_domain_id": "default", "project_domain_id": "default"}  # fmt: skip
        return openstack.connect(auth=auth, region_name="RegionOne", load_yaml_config=False, load_envvars=False)

    def forget(self, name: str) -> None:
        """Remove what `member` made."""
        project = self.conn.identity.find_project(name)
        for group in self.conn.network.security_groups(project_id=project.id):
            self.conn.network.delete_security_group(group)
        self.conn.identity.delete_user(self.conn.identity.find_user(name))
        self.conn.identity.delete_project(project)

    def down(self) -> None:
        """Everything gone, whatever state it was in; fails if anything is left on this machine."""
        for process in [known for known in Process.alive if known.state == self.site.state]:
            process.kill()
        for log in self.site.state.glob("log-*"):  # for whoever looks into what went wrong
            shutil.copy(log, self.site.state.parent)
        done = self.process.command("down", "--delete")
        assert done.returncode == 0, done.stdout + done.stderr
        assert self.traces() == []

    def traces(self) -> list[str]:
        """Whatever of this cloud is on this machine."""
        found = [f"namespace {name}" for name in netns.named(f"{self.site.prefix}-")]
        found += [f"interface {name}" for name in asyncio.run(netns.links("")) if name.startswith(self.site.prefix)]
        found += [f"daemon {seen.name}" for seen in machine.status(self.site) if seen.running]
        found += [f"process {pid}: {line}" for pid, line in processes(str(self.site.state))]
        return found + [str(path) for path in (self.site.state, self.site.run) if path.exists()]

    # -- its devices -----------------------------------------------------------------------------------------------

    def nb(self, *words: str) -> str:
        """ovn-nbctl."""
        return tool("ovn-nbctl", f"--db={central.address(self.site).nb}", "--timeout=15", *words).strip()

    def rows(self, table: str, database: str = "nb") -> list[Row]:
        """All rows of a table of OVN, sets as lists and maps as dictionaries."""
        remote = getattr(central.address(self.site), database)
        name = {"nb": "OVN_Northbound", "sb": "OVN_Southbound"}[database]
        shown = json.loads(tool("ovsdb-client", "-f", "json", "dump", remote, name, table))
        return [
            {column: _plain(value) for column, value in zip(shown["headings"], row, strict=True)}
            for row in shown["data"]
        ]

    def switch(self, host_name: str, *words: str) -> str:
        """ovs-vsctl on a Host."""
        return tool("ovs-vsctl", f"--db={host.switch(self.site, host_name).remote}", "--timeout=15", *words).strip()

    def daemon(self, name: str) -> DaemonSeen:
        return next(seen for seen in machine.status(self.site) if seen.name == name)

    def kill_daemon(self, name: str) -> int:
        """kill -9; returns the pid that it had."""
        pid = self.daemon(name).pid
        assert pid, name
        os.kill(pid, signal.SIGKILL)
        return pid

    def libvirt(self, host_name: str) -> Any:
        """A connection of our own to a Host's libvirt; close it."""
        import libvirt

        return libvirt.open(f"qemu+unix:///system?socket={libvirtd.socket(self.site.folder(host_name))}")

    def qemu(self, server_id: str) -> int:
        """The pid of a Server's QEMU; 0: there is none."""
        return next((pid for pid, line in processes(f"hagane-{server_id}") if "qemu-system" in line.split()[0]), 0)

    # -- what there is -----------------------------------------------------------------------------------------------

    def doctor(self) -> None:
        """`hagane doctor` finds rows and world in agreement."""
        until(lambda: self._examined(), 20, "doctor is content")

    def _examined(self) -> bool:
        done = self.process.command("doctor")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "Rows and world agree" in done.stdout, done.stdout
        return True


def _plain(value: Any) -> Any:
    if isinstance(value, list) and len(value) == 2 and value[0] in ("set", "map", "uuid"):
        kind, content = value
        if kind == "map":
            return {_plain(key): _plain(entry) for key, entry in content}
        return content if kind == "uuid" else [_plain(entry) for entry in content]
    return value


def processes(mark: str) -> Iterator[tuple[int, str]]:
    """(pid, command line) of the processes on whose command line the mark stands, ourselves and our own left out."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if mark in line and int(folder.name) != os.getpid():
            yield int(folder.name), line


@contextmanager
def running(folder: Path, **settings: Any) -> Iterator[Cloud]:
    """A cloud that is up inside the block. QEMU runs as a user of its own, who must be able to come to its state."""
    for parent in (folder, *folder.parents[:2]):
        parent.chmod(0o755)
    with slot("test", SLOTS) as number:
        cloud = Cloud(folder, number, **settings)
        assert cloud.process.command("down").returncode == 0  # what an interrupted run left
        clock = Clock()
        try:
            cloud.start()
            print(f"\nthe cloud was ready after {clock.seconds} s")
            yield cloud
            told = cloud.process.log()
            assert "Traceback" not in told, told[max(0, told.index("Traceback") - 500) :][:4000]
        finally:
            cloud.down()


def pings_from_here(address: str, wait: float = 1.0) -> bool:
    """Whether a ping from this machine's own shell, which is on the external network, is answered."""
    return subprocess.run(["ping", "-c1", f"-W{wait:g}", address], capture_output=True).returncode == 0
