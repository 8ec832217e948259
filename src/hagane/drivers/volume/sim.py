"""A simulated backend: it keeps a note of every volume, not its bytes; a journal lets a restart find them again.

`hook` is called with the name of each call before it happens; tests let it raise or count.
"""

import asyncio
import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hagane.drivers.volume.base import (
    GIB,
    Absent,
    Desired,
    FromBackup,
    FromImage,
    FromSnapshot,
    FromVolume,
    Moved,
    Observed,
    Reverted,
    Snapshot,
    Source,
    Space,
    Volume,
    quiet,
)
from hagane.errors import DeviceFailed


class SimVolumes:
    """`total_gb` is its room; sizes count in full, as nothing is known of their bytes."""

    family = "sim"

    def __init__(self, state: Path | None = None, *, total_gb: int = 10_000) -> None:
        self._state, self._total = state, total_gb
        self.hook: Callable[[str], None] = lambda call: None
        self.volumes: dict[str, dict[str, Any]] = {}  # id -> size_gb, content
        self.snapshots: dict[str, dict[str, Any]] = {}
        if state is not None:
            self._load(state)

    def _load(self, state: Path) -> None:
        """Read the journal, whose last line a kill may have cut off, and begin it anew with what is left."""
        for line in state.read_text().splitlines() if state.exists() else []:
            with contextlib.suppress(ValueError):
                kind, key, kept = json.loads(line)
                self._note(kind, key, kept)
        state.parent.mkdir(parents=True, exist_ok=True)
        new = state.with_suffix(".new")
        things = (("volume", self.volumes), ("snapshot", self.snapshots))
        lines = [json.dumps([kind, key, kept]) for kind, known in things for key, kept in known.items()]
        new.write_text("".join(line + "\n" for line in lines))
        new.rename(state)

    def _note(self, kind: str, key: str, kept: dict[str, Any] | None) -> None:
        things = self.volumes if kind == "volume" else self.snapshots
        if kept is None:
            things.pop(key, None)
        else:
            things[key] = kept

    def _set(self, kind: str, key: str, kept: dict[str, Any] | None) -> None:
        self._note(kind, key, kept)
        if self._state is not None:
            with self._state.open("a") as journal:
                journal.write(json.dumps([kind, key, kept]) + "\n")

    async def apply(self, desired: Desired, moved: Moved = quiet) -> None:
        await asyncio.sleep(0)
        self.hook(type(desired).__name__)
        match desired:
            case Volume():
                self._volume(desired)
            case Snapshot():
                if desired.id not in self.snapshots:
                    self._set("snapshot", desired.id, dict(self._known(desired.volume_id)))
            case Reverted():
                kept = self._snapshot(desired.snapshot_id)
                self._set("volume", desired.volume_id, kept | {"size_gb": desired.size_gb})
            case Absent():
                self._set(desired.kind, desired.id, None)
        moved(100)

    def _volume(self, desired: Volume) -> None:
        known = self.volumes.get(desired.id)
        more = desired.size_gb - (known["size_gb"] if known else 0)
        if more > self._total - self._used():
            raise DeviceFailed("The storage backend is full.")
        if known is None or desired.over:
            known = {"content": self._content(desired.source), "size_gb": 0}
        self._set("volume", desired.id, known | {"size_gb": max(known["size_gb"], desired.size_gb)})

    def _content(self, source: Source | None) -> str:
        match source:
            case FromImage():
                return f"image {source.id}"
            case FromSnapshot():
                return str(self._snapshot(source.id)["content"])
            case FromVolume():
                return str(self._known(source.id)["content"])
            case FromBackup():
                return source.path.read_text()
        return ""

    def _known(self, volume_id: str) -> dict[str, Any]:
        if volume_id not in self.volumes:
            raise DeviceFailed(f"The backend has no volume {volume_id}.")
        return self.volumes[volume_id]

    def _snapshot(self, snapshot_id: str) -> dict[str, Any]:
        if snapshot_id not in self.snapshots:
            raise DeviceFailed(f"The backend has no snapshot {snapshot_id}.")
        return self.snapshots[snapshot_id]

    async def read(self) -> Observed:
        self.hook("read")
        sizes = {key: volume["size_gb"] * GIB for key, volume in self.volumes.items()}
        return Observed(sizes, frozenset(self.snapshots))

    async def space(self) -> Space:
        self.hook("space")
        return Space(self._total, self._total - self._used(), {"thin_provisioning_support": True, "multiattach": True})

    def _used(self) -> int:
        return sum(volume["size_gb"] for volume in self.volumes.values())

    async def connection(self, volume_id: str) -> dict[str, Any]:
        self.hook("connection")
        self._known(volume_id)
        return {"driver_volume_type": "local", "data": {"device_path": f"/sim/{volume_id}"}}

    async def save(
        self, volume_id: str, path: Path, disk_format: str, *, parent: Path | None = None, moved: Moved = quiet
    ) -> None:
        self.hook("save")
        await asyncio.to_thread(path.write_text, self._known(volume_id)["content"])
        moved(100)

    async def save_snapshot(
        self, snapshot_id: str, volume_id: str, path: Path, disk_format: str, *, parent: Path | None = None
    ) -> None:
        self.hook("save_snapshot")
        await asyncio.to_thread(path.write_text, self._snapshot(snapshot_id)["content"])
