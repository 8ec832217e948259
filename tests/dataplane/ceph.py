"""A real Ceph cluster of one machine: monitor, manager, one OSD on a sparse file, cephx; in a network namespace of its own.

    root namespace: hgceph0 ───────── st0: mon, mgr, osd      everything gone at the end of the block
    Host: st0 ───────┘ (macvlan)

What reaches it (this machine, and each Host that joins) has an interface in the storage network, as in a data centre, and
Hosts get theirs as docs/volumes.md says.
"""

import asyncio
import json
import os
import shutil
import signal
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hagane.lab import netns
from hagane.lab.netns import End, inside
from hagane.lab.process import tool
from tests.dataplane.slot import slot

SLOTS = 8
USER, POOL = "hagane", "volumes"
CONF = """\
[global]
fsid = {fsid}
mon_host = [v2:{address}:3300,v1:{address}:6789]
public_addr = {address}
auth_cluster_required = cephx
auth_service_required = cephx
auth_client_required = cephx
keyring = {folder}/$cluster.$name.keyring
log_file = {folder}/$name.log
run_dir = {folder}
crash_dir = {folder}
mon_data = {folder}/mon
mgr_data = {folder}/mgr
osd_data = {folder}/osd
osd_objectstore = bluestore
bluestore_block_size = {size}
osd_memory_target = 939524096
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
mon_osd_full_ratio = .98
osd_failsafe_full_ratio = .99
mon_data_avail_crit = 1
mon_data_avail_warn = 2

[mon]
pid_file = {folder}/$name.pid

[mgr]
pid_file = {folder}/$name.pid

[osd]
pid_file = {folder}/$name.pid

[client]
admin_socket =
log_file =
"""


class Ceph:
    """One cluster. `conf` and `keyring` are what an operator gives Hagane."""

    def __init__(self, folder: Path, slot: int, *, size_gb: int = 20) -> None:
        self.folder, self.space = folder, f"hgceph{slot}"
        self._net = f"198.19.{slot}"
        self.address, self._here = f"{self._net}.1", f"{self._net}.2"
        self.conf = folder / "ceph.conf"
        self.keyring = folder / f"ceph.client.{USER}.keyring"
        self._conf = CONF.format(fsid=uuid.uuid4(), address=self.address, folder=folder, size=size_gb << 30)

    # -- start and end ---------------------------------------------------------------------------------------------

    def up(self) -> None:
        self.folder.mkdir(parents=True)
        self.folder.chmod(0o755)
        self.conf.write_text(self._conf)
        asyncio.run(self._network())
        self._monitor()
        self._manager()
        self._osd()
        self._pool()

    async def _network(self) -> None:
        await netns.create(self.space)
        here, there = End("", self.space), End(self.space, "st0")
        await netns.cable(here, there, mtu=1500)
        for end, address in ((here, self._here), (there, self.address)):
            await netns.batch(end.netns, f"address replace {address}/24 dev {end.name}")

    def join(self, *spaces: str) -> None:
        """These namespaces have an interface in the storage network."""
        for number, space in enumerate(spaces):
            tool("ip", "link", "add", "st0", "link", self.space, "netns", space, "type", "macvlan", "mode", "bridge")
            tool("ip", "-n", space, "address", "add", f"{self._net}.{11 + number}/24", "dev", "st0")
            tool("ip", "-n", space, "link", "set", "st0", "up")

    def _monitor(self) -> None:
        mon, admin, monmap = (
            self.folder / "mon.keyring",
            self.folder / "ceph.client.admin.keyring",
            self.folder / "monmap",
        )
        every = ("mon", "osd", "mgr", "mds")
        tool(
            "ceph-authtool",
            "-C",
            admin,
            "--gen-key",
            "-n",
            "client.admin",
            *self._caps(dict.fromkeys(every, "allow *")),
        )
        tool("ceph-authtool", "-C", mon, "--gen-key", "-n", "mon.", "--cap", "mon", "allow *")
        tool("ceph-authtool", mon, "--import-keyring", admin)
        fsid = self._conf.partition("fsid = ")[2].partition("\n")[0]
        where = f"[v2:{self.address}:3300,v1:{self.address}:6789]"
        tool("monmaptool", "--create", "--addv", "a", where, "--fsid", fsid, monmap)
        (self.folder / "mon").mkdir()
        tool("ceph-mon", "-c", self.conf, "--mkfs", "-i", "a", "--monmap", monmap, "--keyring", mon)
        self.start("mon")

    @staticmethod
    def _caps(caps: dict[str, str]) -> list[str]:
        return [word for daemon, cap in caps.items() for word in ("--cap", daemon, cap)]

    def _manager(self) -> None:
        (self.folder / "mgr").mkdir()
        self.ceph("auth", "get-or-create", "mgr.a", "mon", "allow profile mgr", "osd", "allow *", "mds", "allow *",
                  "-o", self.folder / "ceph.mgr.a.keyring")  # fmt: skip
        self.start("mgr")

    def _osd(self) -> None:
        (self.folder / "osd").mkdir()
        key = str(uuid.uuid4())
        self.ceph("osd", "new", key)
        self.ceph("auth", "get-or-create", "osd.0", "mon", "allow profile osd", "mgr", "allow profile osd", "osd",
                  "allow *", "-o", self.folder / "ceph.osd.0.keyring")  # fmt: skip
        tool("ceph-osd", "-c", self.conf, "-i", "0", "--mkfs", "--osd-uuid", key)
        self.start("osd")

    def _pool(self) -> None:
        self.ceph("osd", "pool", "create", POOL, "8", "8")
        tool("rbd", "-c", self.conf, "pool", "init", POOL)
        self.ceph("auth", "get-or-create", f"client.{USER}", "mon", "profile rbd", "osd", f"profile rbd pool={POOL}",
                  "mgr", f"profile rbd pool={POOL}", "-o", self.keyring)  # fmt: skip
        deadline = time.monotonic() + 60
        while "max_avail" not in self.ceph("df", "-f", "json") or not self._roomy():
            assert time.monotonic() < deadline, self.ceph("-s")
            time.sleep(0.2)

    def _roomy(self) -> bool:
        pools = json.loads(self.ceph("df", "-f", "json"))["pools"]
        return any(pool["name"] == POOL and pool["stats"]["max_avail"] for pool in pools)

    def start(self, name: str) -> None:
        """One of "mon", "mgr", "osd". They detach when they are ready."""
        key = "0" if name == "osd" else "a"
        tool(*inside(self.space, f"ceph-{name}", "-c", str(self.conf), "-i", key), timeout=60)

    def stop(self, name: str) -> None:
        """Gone at once: kill -9."""
        pid = int(next(self.folder.glob(f"{name}.*.pid")).read_text())
        os.kill(pid, signal.SIGKILL)
        while Path(f"/proc/{pid}").exists():
            time.sleep(0.02)

    def down(self) -> None:
        asyncio.run(netns.remove_link("", self.space))
        asyncio.run(netns.delete(self.space))
        shutil.rmtree(self.folder, ignore_errors=True)

    # -- look ------------------------------------------------------------------------------------------------------

    def ceph(self, *words: object) -> str:
        """As the administrator."""
        return tool("ceph", "-c", self.conf, "--connect-timeout", "20", *words, timeout=60)

    def rbd(self, *words: object) -> str:
        return tool("rbd", "-c", self.conf, "--pool", POOL, *words, timeout=60)

    def left(self) -> list[str]:
        """All that is in the pool: images, and what lies in the trash."""
        return self.rbd("ls").split("\n")[:-1] + [
            f"trash {line}" for line in self.rbd("trash", "ls", "-a").split("\n")[:-1]
        ]


@contextmanager
def cluster(folder: Path) -> Iterator[Ceph]:
    """A cluster that is up inside the block."""
    with slot("ceph", SLOTS) as number:
        made = Ceph(folder, number)
        made.down()  # what an interrupted run left
        began = time.monotonic()
        try:
            made.up()
            print(f"\nCeph was ready after {time.monotonic() - began:.1f} s")
            yield made
        finally:
            made.down()
