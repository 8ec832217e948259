"""`make test-ceph`, the whole way: volumes of a real Ceph cluster in real guests on two Hosts, of a real cloud.

Not collected by the other targets (its name says so): a cluster of three daemons beside the cloud and its guests.
"""

import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.dataplane import leaks
from tests.dataplane.ceph import POOL, USER, Ceph, cluster
from tests.dataplane.cloud import Cloud, running, until
from tests.dataplane.servers import Servers
from tests.dataplane.tenant import Tenant
from tests.dataplane.volume_tap import REACHED, STOP

LONG = 120.0
DROP = "echo 3 > /proc/sys/vm/drop_caches; "


class World:
    """A cloud with a backend `ceph`, a network, and orders."""

    def __init__(self, cloud: Cloud, ceph: Ceph, folder: Path) -> None:
        self.cloud, self.ceph = cloud, ceph
        self._folder = cloud.process.config.parent
        self.tenant = tenant = Tenant(cloud)
        assert list(tenant.api.security_groups())
        self.before = leaks.look(cloud)
        self.storage, self.compute = tenant.conn.block_storage, tenant.conn.compute
        self.storage.default_microversion = "3.70"
        self.types = [self._type("ceph"), self._type("shared", multiattach="<is> True")]
        keys = folder / "keys"
        keys.mkdir()
        self.servers = Servers(tenant, keys)
        self.network = tenant.network("ceph", "10.10.0.0/24")
        tenant.router("ceph", self.network)
        self.group = tenant.open_group()

    def _type(self, name: str, **specs: str) -> Any:
        made = self.storage.create_type(name=name)
        self.storage.update_type_extra_specs(made, volume_backend_name="ceph", **specs)
        return made

    # -- orders ----------------------------------------------------------------------------------------------------

    def volume(self, name: str, size: int = 1, kind: str = "ceph", **more: Any) -> str:
        key: str = self.storage.create_volume(name=name, size=size, volume_type=kind, **more).id
        self.status(key, "available")
        return key

    def status(self, volume: str, wanted: str, seconds: float = LONG) -> None:
        def look() -> bool:
            now = str(self.storage.get_volume(volume).status)
            if now.startswith("error") and not wanted.startswith("error"):
                raise RuntimeError(f"volume {volume} is in {now}: {self.explain(volume)}")
            return now == wanted

        until(look, seconds, f"volume {volume} is {wanted}")

    def boot(self, name: str, host: str, volume: str) -> Any:
        disk = {"uuid": volume, "source_type": "volume", "destination_type": "volume", "boot_index": 0}
        made = self.servers.order(name, self.network, self.group, host=host, image_id="", block_device_mapping=[disk])
        self.servers.active(made)
        self.servers.reached(made, seconds=LONG)
        return made

    def plug(self, server: Any, volume: str) -> str:
        """Where the guest has it."""
        self.compute.create_volume_attachment(server, volume_id=volume)
        self.status(volume, "in-use")
        return self.disk(server, volume)

    def disk(self, server: Any, volume: str) -> str:
        """By the serial number, as the device's name is the guest's own."""
        look = f"grep -l {volume[:20]} /sys/block/vd*/serial | cut -d/ -f4"
        return "/dev/" + until(lambda: self.servers.ssh(server, look), 30, "the guest has a disk for it")

    def unplug(self, server: Any, volume: str, then: str = "available") -> None:
        self.compute.delete_volume_attachment(server, volume)
        self.status(volume, then)

    def explain(self, volume: str) -> str:
        return self.cloud.process.command("explain", "volume", volume).stdout

    # -- what the guest reads and writes -----------------------------------------------------------------------------

    def mark(self, server: Any, disk: str, text: str) -> None:
        """There when this returns."""
        self.servers.ssh(server, f"printf '%-511s\\n' {text} | dd of={disk} bs=512 conv=fsync 2>/dev/null")

    def marked(self, server: Any, disk: str) -> str:
        return self.servers.ssh(server, f"dd if={disk} bs=512 count=1 iflag=direct 2>/dev/null").strip()

    def holds(self, server: Any, volume: str, text: str) -> None:
        """A volume that nobody has holds the mark; it ends with that."""
        found = self.marked(server, self.plug(server, volume))
        assert found == text, (found, text)
        self.unplug(server, volume)
        self.drop(volume)

    def drop(self, *volumes: str) -> None:
        for volume in volumes:
            self.storage.delete_volume(volume)
        until(lambda: not {one.id for one in self.storage.volumes()} & set(volumes), LONG, "the volumes are gone")

    # -- faults ------------------------------------------------------------------------------------------------------

    @contextmanager
    def killed_at(self, place: str) -> Iterator[None]:
        """What is begun in the block is cut off there by a kill -9, and Hagane started again."""
        (self._folder / REACHED).unlink(missing_ok=True)
        (self._folder / STOP).write_text(place)
        try:
            yield
            until(lambda: (self._folder / REACHED).exists(), 30, f"{place} is reached")
            self.cloud.process.kill()
        finally:
            (self._folder / STOP).unlink(missing_ok=True)
        self.cloud.start()

    def secrets(self) -> list[str]:
        """What libvirt knows on both Hosts."""
        found = []
        for host in ("host1", "host2"):
            connection = self.cloud.libvirt(host)
            try:
                found += [secret.usageID() for secret in connection.listAllSecrets()]
            finally:
                connection.close()
        return found

    def end(self) -> None:
        self.servers.end()
        for shot in self.storage.snapshots():
            self.storage.delete_snapshot(shot.id)
        for backup in self.storage.backups():
            self.storage.delete_backup(backup.id)
        until(lambda: not [*self.storage.snapshots(), *self.storage.backups()], LONG, "they are gone")
        self.drop(*(one.id for one in self.storage.volumes()))
        for made in self.types:
            self.storage.delete_type(made)
        self.tenant.end()
        assert self.ceph.left() == []
        assert self.secrets() == []
        leaks.none_left(self.cloud, self.before, seconds=60)


@contextmanager
def world(folder: Path) -> Iterator[World]:
    with cluster(folder / "ceph") as ceph:
        backend = {"driver": "rbd", "pool": POOL, "user": USER, "conf": str(ceph.conf), "keyring": str(ceph.keyring)}
        with running(folder, hosts=2, **{"volumes.ceph": backend}) as cloud:
            ceph.join(*(cloud.site.netns(host) for host in cloud.site.hosts))
            cloud.process.stop()
            cloud.process.module = "tests.dataplane.volume_tap"
            cloud.start()
            made = World(cloud, ceph, folder)
            yield made
            made.end()


@pytest.mark.timeout(1500)
def test_volumes_of_ceph(tmp_path: Path) -> None:
    with world(tmp_path) as made:
        began = time.monotonic()

        def done(what: str) -> None:
            print(f"{time.monotonic() - began:6.1f} s  {what}", flush=True)

        root = made.volume("root", image_id=made.servers.image.id)
        first = made.boot("first", "host1", root)
        done("booted from a volume of an image")
        assert f"hagane-{first.id}" in made.secrets()[0]
        _nobody_is_told_the_key(made)
        data = made.volume("data")
        disk = made.plug(first, data)
        made.mark(first, disk, "one")
        done("a second one attached, and written to")
        _in_use(made, first, data, disk)
        done("snapshot, copy, growth, backup and restore while it is in use")
        second = made.boot("second", "host2", made.volume("root2", source_volume_id=root))
        done("booted on the other Host, of a copy of the volume in use")
        _shared(made, first, second)
        done("one volume in two Servers")
        _moved(made, first, disk)
        done("moved to the other Host while it runs")
        _killed(made, first)
        done("killed in the middle of attaching, copying, snapshotting, removing")
        _silent(made, first, data, disk)
        done("without monitors, and without OSDs")
        made.unplug(first, data)


def _nobody_is_told_the_key(made: World) -> None:
    key = made.ceph.ceph("auth", "get-key", f"client.{USER}").strip()
    store = sqlite3.connect(f"file:{made.cloud.site.state}/hagane.db?mode=ro", uri=True)
    assert not [line for line in store.iterdump() if key in line]
    store.close()
    assert key not in made.cloud.process.log()
    lines = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout
    assert key not in lines
    said = made.storage.get("/attachments/detail", microversion="3.70").text
    assert key not in str(said)


def _in_use(made: World, server: Any, data: str, disk: str) -> None:
    storage, ssh = made.storage, made.servers.ssh
    began = time.monotonic()
    shot = storage.create_snapshot(volume_id=data, is_forced=True)
    until(lambda: storage.get_snapshot(shot.id).status == "available", LONG, "the snapshot is there")
    print(f"          a snapshot took {time.monotonic() - began:.2f} s")
    copy = made.volume("copy", source_volume_id=data)
    backup = storage.create_backup(volume_id=data, force=True)
    until(lambda: storage.get_backup(backup.id).status == "available", LONG, "the backup is there")
    made.mark(server, disk, "two")
    made.holds(server, copy, "one")
    made.holds(server, made.volume("of-snapshot", snapshot_id=shot.id), "one")
    storage.extend_volume(data, 3)
    until(lambda: ssh(server, f"cat /sys/block/{disk[5:]}/size") == str(3 << 21), LONG, "the guest sees it grow")
    made.status(data, "in-use")
    restored = storage.restore_backup(backup.id, name="restored")
    until(lambda: storage.get_backup(backup.id).status == "available", LONG, "it is restored")
    key = next(one.id for one in storage.volumes() if one.name == "restored")
    made.status(key, "available")
    assert restored is not None
    made.holds(server, key, "one")
    assert made.marked(server, disk) == "two"


def _shared(made: World, first: Any, second: Any) -> None:
    volume = made.volume("shared", kind="shared")
    here, there = made.plug(first, volume), made.plug(second, volume)
    assert "exclusive-lock" not in made.ceph.rbd("info", f"volume-{volume}")
    for server, disk, other, elsewhere in ((first, here, second, there), (second, there, first, here)):
        made.mark(server, disk, f"by-{server.name}")
        assert made.marked(other, elsewhere) == f"by-{server.name}"
    made.unplug(second, volume, "in-use")
    made.unplug(first, volume)
    made.drop(volume)


def _moved(made: World, server: Any, disk: str) -> None:
    boot_id = "cat /proc/sys/kernel/random/boot_id"
    before = made.servers.ssh(server, boot_id)
    made.compute.live_migrate_server(server.id, host="host2", block_migration=False)
    made.servers.status(server, "ACTIVE", LONG)
    until(lambda: made.compute.get_server(server.id).compute_host == "host2", LONG, "it is on the other Host")
    made.servers.status(server, "ACTIVE", LONG)
    assert made.servers.reached(server, boot_id) == before
    assert made.marked(server, disk) == "two"
    made.mark(server, disk, "three")


def _killed(made: World, server: Any) -> None:
    volume = made.volume("killed")
    with made.killed_at("Attach before"):
        made.compute.create_volume_attachment(server, volume_id=volume)
    made.status(volume, "in-use")
    made.mark(server, made.disk(server, volume), "kept")
    with made.killed_at("copy after"):
        shot = made.storage.create_snapshot(volume_id=volume, is_forced=True)
    until(lambda: made.storage.get_snapshot(shot.id).status == "available", LONG, "the snapshot is there")
    with made.killed_at("copy before"):
        copy = made.storage.create_volume(name="cut", size=1, volume_type="ceph", source_volume_id=volume).id
    made.status(copy, "available")
    made.holds(server, copy, "kept")
    with made.killed_at("Detach before"):
        made.compute.delete_volume_attachment(server, volume)
    made.status(volume, "available")
    made.storage.delete_snapshot(shot.id)
    until(lambda: not list(made.storage.snapshots(volume_id=volume)), LONG, "the snapshot is gone")
    with made.killed_at("Absent before"):
        made.storage.delete_volume(volume)
    until(lambda: volume not in [one.id for one in made.storage.volumes()], LONG, "the volume is gone")
    assert not [line for line in made.ceph.left() if volume in line or copy in line]


def _silent(made: World, server: Any, data: str, disk: str) -> None:
    """Orders wait, the cause is said, other backends go on; the guest's writes wait and go on."""
    for daemon, words in (("mon", "monitors did not answer"), ("osd", "OSDs may be down")):
        made.ceph.stop(daemon)
        until(lambda words=words: words in made.cloud.process.command("doctor").stdout, 40, "doctor says it")  # type: ignore[misc]
        ordered = made.storage.create_snapshot(volume_id=data, is_forced=True).id
        other = made.storage.create_volume(name="elsewhere", size=1).id
        made.status(other, "available", 10)
        until(lambda words=words: words in made.explain(data), 60, "explain says it")  # type: ignore[misc]
        print("\n".join(f"          {line}" for line in made.explain(data).splitlines()))
        made.ceph.start(daemon)
        until(lambda ordered=ordered: made.storage.get_snapshot(ordered).status == "available", LONG, "it is there")  # type: ignore[misc]
        made.mark(server, disk, f"after-{daemon}")
        assert made.marked(server, disk) == f"after-{daemon}"
        made.drop(other)
