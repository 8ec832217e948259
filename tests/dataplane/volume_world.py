"""What faults of volumes are tried on: a cloud whose second Host has every volume by iSCSI, and a Server there that writes.

    host1: volume.<id> ─▶ view ─▶ tgtd ── underlay (the cable that is cut) ── host2: QEMU ─▶ writer: /dev/vdb

The writer's volume is in the Server all the time, so there is a target daemon to be killed at every step, and every fault
meets writes under way: each block that the guest was told is on the disk has to be there afterwards.
"""

import asyncio
import os
import signal
import sqlite3
import subprocess
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hagane.drivers.volume.tgt import Target, Tgtd, portal_of
from tests.dataplane import leaks
from tests.dataplane.cloud import Cloud, running, until
from tests.dataplane.servers import Servers
from tests.dataplane.tenant import Tenant
from tests.dataplane.volume_tap import REACHED, STOP
from tests.outside import Process

HOST, TARGET_HOST = "host2", "host1"
COMING, LONG = 30.0, 150.0  # seconds until a step is reached; until all is well after a fault
RESTING = ("available", "in-use")
BLOCKS = 4000  # of 512 bytes, that the writer goes round in
WRITE = """cat > /root/writer <<'END'
echo $$ > /tmp/writer
i=0
while [ $i -lt {blocks} ]; do
  i=$((i + 1))
  printf '%-511s\\n' $i | dd of={disk} bs=512 seek=$i conv=fsync 2>/dev/null || {{ echo $i > /tmp/failed; exit; }}
  echo $i > /tmp/new && mv /tmp/new /tmp/told
  sleep 0.05
done
END
rm -f /tmp/failed /tmp/told /tmp/writer; setsid sh /root/writer >/dev/null 2>&1 </dev/null &"""
STOP_WRITER = "kill $(cat /tmp/writer) 2>/dev/null; sleep 0.2; "


class VolumeWorld:
    """See the module's text."""

    def __init__(self, cloud: Cloud, tenant: Tenant, servers: Servers) -> None:
        self.cloud, self.tenant, self.servers = cloud, tenant, servers
        self.storage, self.compute = tenant.conn.block_storage, tenant.conn.compute
        self._folder = cloud.process.config.parent
        self.network = tenant.network("volumes", "10.10.0.0/24")
        tenant.router("volumes", self.network)
        self.group = tenant.open_group()
        self.server = servers.active(servers.order("anvil", self.network, self.group, host=HOST))
        servers.reached(self.server)
        self.boot_id = self._boot_id(self.server)
        self.kept: dict[str, str] = {}  # what has to be in the file of a volume that Servers start from
        self.writer = self.volume("writer")
        self.plug(self.writer)
        self.status(self.writer, "in-use")

    # -- orders ----------------------------------------------------------------------------------------------------

    def volume(self, name: str, **more: Any) -> str:
        key: str = self.storage.create_volume(name=name, size=1, **more).id
        self.status(key, "available")
        return key

    def plug(self, volume: str) -> None:
        self.compute.create_volume_attachment(self.server, volume_id=volume)

    def unplug(self, volume: str) -> None:
        self.compute.delete_volume_attachment(self.server, volume)

    def status(self, volume: str, *wanted: str, seconds: float = LONG) -> str:
        """The status, when it is one of these. One that is in error is so for good."""

        def look() -> str:
            now = str(self.storage.get_volume(volume).status)
            if now.startswith("error") and now not in wanted:
                raise RuntimeError(f"volume {volume} is in {now}")
            return now if now in wanted else ""

        return until(look, seconds, f"volume {volume} is {' or '.join(wanted)}")

    def drop(self, volume: str) -> None:
        self.storage.delete_volume(volume)
        until(lambda: volume not in [one.id for one in self.storage.volumes()], 30, "the volume is gone")

    # -- faults ----------------------------------------------------------------------------------------------------

    @contextmanager
    def stopped(self, place: str) -> Iterator[None]:
        """Hagane waits at this place as soon as it comes there, until the end of the block."""
        (self._folder / REACHED).unlink(missing_ok=True)
        (self._folder / STOP).write_text(place)
        try:
            yield
        finally:
            self.go_on()

    def reached(self) -> bool:
        """Whether the place is reached; False: not in time."""
        deadline = time.monotonic() + COMING
        while not (self._folder / REACHED).exists():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.005)
        return True

    def go_on(self) -> None:
        (self._folder / STOP).unlink(missing_ok=True)

    def kill(self) -> None:
        """kill -9 of Hagane. The next one has to be started."""
        self.cloud.process.kill()
        self.go_on()

    def kill_targets(self) -> int:
        """kill -9 of the target daemons; how many there were."""
        files = list(self._exports.glob("*.pid"))
        for file in files:
            os.kill(int(file.read_text()), signal.SIGKILL)
        return len(files)

    def cut(self) -> None:
        """The Host that has the targets has no network."""
        self._cable("down")

    def mend(self) -> None:
        self._cable("up")

    def _cable(self, state: str) -> None:
        name = f"ul-{TARGET_HOST}"
        subprocess.run(["ip", "-n", self.cloud.site.fabric, "link", "set", name, state], check=True)

    # -- what the guest wrote --------------------------------------------------------------------------------------

    def write(self) -> None:
        """The guest writes, block after block, and notes what is on the disk."""
        self.servers.ssh(self.server, WRITE.format(disk="/dev/vdb", blocks=BLOCKS))
        until(lambda: self.servers.ssh(self.server, "cat /tmp/told || true"), 20, "the guest writes")

    def writes_on(self) -> int:
        """The writer was not refused anything, goes on, and all that it was told is there; how much that is."""
        ssh = self.servers.reached
        before = int(ssh(self.server, "cat /tmp/told", LONG))
        look = "cat /tmp/failed 2>/dev/null; cat /tmp/told"
        until(lambda: self._count(ssh(self.server, look)) > min(before, BLOCKS - 1), LONG, "the guest writes on")
        told = self._count(ssh(self.server, STOP_WRITER + look))
        read = f"dd if=/dev/vdb bs=512 skip=1 count={told} iflag=direct 2>/dev/null | tr -d ' ' | md5sum"
        assert ssh(self.server, read) == ssh(self.server, f"seq {told} | md5sum"), "not all that was synced is there"
        return told

    @staticmethod
    def _count(text: str) -> int:
        assert len(text.split()) == 1, f"a write was refused: {text}"
        return int(text)

    def mark(self, disk: str, text: str) -> None:
        """Write a line into the first block of a disk of the Server; it is there when this returns."""
        self.servers.reached(self.server, f"printf '%-511s\\n' {text} | dd of={disk} bs=512 conv=fsync 2>/dev/null")

    def marked(self, disk: str) -> str:
        return self.servers.reached(self.server, f"dd if={disk} bs=512 count=1 iflag=direct 2>/dev/null").strip()

    def disk(self, volume: str) -> str:
        """Where the guest has the volume."""
        return until(lambda: self._disk(volume), 30, "the guest has a disk for it")

    def _disk(self, volume: str) -> str:
        device = str(self.compute.get_volume_attachment(self.server, volume).device)
        self.servers.ssh(self.server, f"test -b {device}")
        return device

    def untouched(self) -> None:
        """The Server was not started anew."""
        assert self._boot_id(self.server) == self.boot_id

    def _boot_id(self, server: Any) -> str:
        return self.servers.reached(server, "cat /proc/sys/kernel/random/boot_id")

    # -- what has to hold ------------------------------------------------------------------------------------------

    @property
    def _exports(self) -> Path:
        return self.cloud.site.run_folder / "export"

    def sql(self, query: str, *values: str) -> list[tuple[Any, ...]]:
        with sqlite3.connect(f"file:{self.cloud.site.state}/hagane.db?mode=ro", uri=True) as store:
            rows = store.execute(query, values).fetchall()
        store.close()
        return rows

    def whole(self, attached: dict[str, str]) -> None:
        """Rows, targets and machines agree, and nothing else is there. `attached`: volume -> Server."""
        until(lambda: self._whole(attached), 30, "rows and world agree")

    def _whole(self, attached: dict[str, str]) -> bool:
        rows = self.sql("SELECT volume_id, instance_uuid, attach_status FROM volume_attachment")
        assert sorted(rows) == sorted((key, server, "attached") for key, server in attached.items()), rows
        status = dict(self.sql("SELECT id, status FROM volume"))
        assert {key: "in-use" if key in attached else "available" for key in status} == status, status
        exports = {f"{volume}.{user}": user for volume, user in self.sql("SELECT volume_id, id FROM volume_export")}
        assert sorted(name.rpartition(".")[0] for name in exports) == sorted(attached), exports
        assert {target.name: target.users for target in self._targets()} == {n: (u,) for n, u in exports.items()}
        assert all(target.sessions for target in self._targets()), self._targets()  # one that lost its network counts
        views = {path.stem for path in self._exports.glob("raw/*.pid")}
        assert views == set(attached), views
        assert sorted(self._sources()) == sorted((server, key) for key, server in attached.items()), self._sources()
        waiting = self.sql("SELECT kind, reason FROM work WHERE kind LIKE 'volume%' OR kind = 'server'")
        assert [reason for _, reason in waiting if reason] == [], waiting  # exports are looked at again after a minute
        return True

    def _targets(self) -> list[Target]:
        portals = [portal for path in self._exports.glob("*.pid") if (portal := portal_of(path.stem))]
        return [one for portal in portals for one in asyncio.run(Tgtd(portal, self._exports).targets())]

    def _sources(self) -> Iterator[tuple[str, str]]:
        """(Server, volume) that machines have open by iSCSI."""
        connection = self.cloud.libvirt(HOST)
        try:
            for domain in connection.listAllDomains(0):
                for source in ET.fromstring(domain.XMLDesc(0)).findall(".//disk/source[@protocol='iscsi']"):
                    name = source.get("name", "").partition(":")[2].partition(".")[0]
                    yield domain.name().removeprefix("hagane-"), name
        finally:
            connection.close()

    def again(self) -> None:
        """After a cell that went wrong: as it was, for the next. Raises AssertionError when that cannot be."""
        self.go_on()
        self.mend()
        if self.cloud.process not in Process.alive:
            self.cloud.start()
        for one in self.compute.servers():
            if one.id != self.server.id:
                self.servers.forget(one)
                self.servers.delete(one)
        for shot in self.storage.snapshots():
            self.storage.delete_snapshot(shot.id)
        for plugged in self.compute.volume_attachments(self.server):
            if plugged.volume_id != self.writer:
                self.unplug(plugged.volume_id)
        for volume in self.storage.volumes():
            if volume.id != self.writer:
                self.status(volume.id, "available", "error")
                self.drop(volume.id)
        self.servers.reached(self.server, STOP_WRITER, LONG)
        self.whole({self.writer: self.server.id})

    def end(self) -> None:
        """All of it is deleted."""
        self.servers.end()
        for volume in self.storage.volumes():
            self.drop(volume.id)
        self.tenant.end()


@contextmanager
def volume_world(folder: Path) -> Iterator[VolumeWorld]:
    """In the end nothing is left of what was done inside the block."""
    with running(folder, hosts=2) as cloud:
        cloud.process.stop()
        cloud.process.module = "tests.dataplane.volume_tap"
        cloud.start()
        tenant = Tenant(cloud)
        assert list(tenant.api.security_groups())
        before = leaks.look(cloud)
        keys = folder / "keys"
        keys.mkdir()
        world = VolumeWorld(cloud, tenant, Servers(tenant, keys))
        yield world
        world.end()
        leaks.none_left(cloud, before, seconds=60)
