"""What is done with volumes while a fault comes: begun, ended, found good, put back. One class for each kind of work.

Each goes from a volume with a mark that the guest has synced, and ends with that mark read again, wherever it has to be.
"""

import uuid
from typing import Any, ClassVar

from tests.dataplane.cloud import until
from tests.dataplane.volume_world import LONG, VolumeWorld


class Work:
    """`steps`: name -> the place where Hagane waits for the fault (volume_tap.py); "": before the order."""

    steps: ClassVar[dict[str, str]] = {"ordered": ""}

    def __init__(self, world: VolumeWorld) -> None:
        self.world, self.text = world, uuid.uuid4().hex

    def prepare(self) -> None:
        """All volumes are at rest, and marked."""

    def begin(self) -> None:
        """Order it."""

    def end(self) -> str:
        """How it ended, in a word, when it has; AssertionError if that is not well."""
        raise NotImplementedError

    def attached(self) -> dict[str, str]:
        """Volume -> Server, as it has to be after the end."""
        return {self.world.writer: self.world.server.id}

    def check(self) -> None:
        """What was marked is there."""

    def clean(self) -> None:
        """As before."""


class Write(Work):
    """Nothing but the writer."""

    steps = {"running": ""}

    def end(self) -> str:
        return "ok"


class _OfParcel(Work):
    """With a volume that the Server has as well."""

    def prepare(self) -> None:
        self.parcel = self.world.volume("parcel")
        self.world.plug(self.parcel)
        self.world.status(self.parcel, "in-use")
        self.world.mark(self.world.disk(self.parcel), self.text)

    def attached(self) -> dict[str, str]:
        return super().attached() | {self.parcel: self.world.server.id}

    def end(self) -> str:
        return "ok"

    def check(self) -> None:
        self.has(self.parcel, self.text)

    def has(self, volume: str, text: str) -> None:
        found = self.world.marked(self.world.disk(volume))
        assert found == text, f"{found!r} is on volume {volume}, not {text!r}"

    def clean(self) -> None:
        self.take_out(self.parcel)
        self.world.drop(self.parcel)

    def take_out(self, volume: str) -> None:
        self.world.unplug(volume)
        self.world.status(volume, "available")

    def holds(self, volume: str, text: str) -> None:
        """A volume that nobody has holds the mark; it ends with that."""
        self.world.plug(volume)
        self.world.status(volume, "in-use")
        self.has(volume, text)
        self.take_out(volume)
        self.world.drop(volume)


class Attach(_OfParcel):
    steps = {"ordered": "", "target": "target before", "exported": "target after", "plug": "Attach before",
             "plugged": "Attach after"}  # fmt: skip

    def prepare(self) -> None:
        super().prepare()
        self.take_out(self.parcel)

    def begin(self) -> None:
        self.world.plug(self.parcel)

    def end(self) -> str:
        self.world.status(self.parcel, "in-use")
        return "in-use"


class Detach(_OfParcel):
    steps = {"ordered": "", "unplug": "Detach before", "unplugged": "Detach after", "untarget": "untarget before",
             "untargeted": "untarget after"}  # fmt: skip

    def begin(self) -> None:
        self.world.unplug(self.parcel)

    def end(self) -> str:
        self.world.status(self.parcel, "available")
        return "available"

    def attached(self) -> dict[str, str]:
        return Work.attached(self)

    def check(self) -> None:
        self.holds(self.parcel, self.text)

    def clean(self) -> None:
        """It is gone already."""


class Snapshot(_OfParcel):
    steps = {"ordered": "", "freeze": "Snapshot before", "layer": "layer before", "layered": "layer after",
             "frozen": "Snapshot after"}  # fmt: skip

    def begin(self) -> None:
        self.snapshot: str = self.world.storage.create_snapshot(volume_id=self.parcel, is_forced=True).id

    def end(self) -> str:
        until(self._there, LONG, "the snapshot is there")
        return "available"

    def _there(self) -> bool:
        status = self.world.storage.get_snapshot(self.snapshot).status
        if status == "error":
            raise RuntimeError(f"snapshot {self.snapshot} is in error")
        return bool(status == "available")

    def check(self) -> None:
        """What is written later is on the volume alone."""
        super().check()
        later = uuid.uuid4().hex
        self.world.mark(self.world.disk(self.parcel), later)
        self.holds(self.world.volume("of-snapshot", snapshot_id=self.snapshot), self.text)
        self.has(self.parcel, later)

    def clean(self) -> None:
        storage = self.world.storage
        storage.delete_snapshot(self.snapshot)
        until(lambda: self.snapshot not in [one.id for one in storage.snapshots()], 30, "the snapshot is gone")
        super().clean()


class Clone(_OfParcel):
    steps = {"ordered": "", "make": "Volume before", "layer": "layer before", "layered": "layer after",
             "made": "Volume after"}  # fmt: skip

    def begin(self) -> None:
        self.clone: str = self.world.storage.create_volume(name="clone", size=1, source_volume_id=self.parcel).id

    def end(self) -> str:
        self.world.status(self.clone, "available")
        return "available"

    def check(self) -> None:
        super().check()
        self.holds(self.clone, self.text)


class Boot(Work):
    """Of a Server whose root is a volume that another one has started from, and has left a file on."""

    steps = {"ordered": "", "target": "target before", "exported": "target after", "define": "Define before",
             "start": "Start before", "started": "Start after"}  # fmt: skip

    def prepare(self) -> None:
        found = [one.id for one in self.world.storage.volumes() if one.name == "root"]
        self.root = found[0] if found else self.world.volume("root", image_id=self.world.servers.image.id)

    def begin(self) -> None:
        disk = {"uuid": self.root, "source_type": "volume", "destination_type": "volume", "boot_index": 0}
        self.server: Any = self.world.servers.order(
            "anchor", self.world.network, self.world.group, host="host2", image_id="", block_device_mapping=[disk]
        )

    def end(self) -> str:
        self.world.servers.active(self.server, LONG)
        self.world.servers.booted(self.server, seconds=LONG)
        return "active"

    def attached(self) -> dict[str, str]:
        return super().attached() | {self.root: self.server.id}

    def check(self) -> None:
        """The root's mark has its number in the volume's name for it."""
        servers, kept = self.world.servers, self.world.kept.get(self.root, "")
        assert servers.reached(self.server, "cat /root/kept 2>/dev/null || true", LONG) == kept
        servers.ssh(self.server, f"echo {self.text} > /root/kept; sync")
        self.world.kept[self.root] = self.text

    def clean(self) -> None:
        self.world.servers.forget(self.server)
        self.world.servers.delete(self.server)
        self.world.status(self.root, "available")


KINDS: dict[str, type[Work]] = {
    "write": Write, "attach": Attach, "detach": Detach, "snapshot": Snapshot, "clone": Clone, "boot": Boot,
}  # fmt: skip
