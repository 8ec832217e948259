"""Volumes as images of a Ceph pool, by the `rbd` command: https://docs.ceph.com/en/latest/man/8/rbd/

A snapshot of ours is an image of its own: a clone (format 2, so that its parent's snapshot stays in the trash as long
as somebody needs it) of a snapshot that is taken for it and removed at once. So each thing has one name, and goes when
it is asked to; Ceph keeps shared bytes as long as there are copies.

    image ──trash mv──▶ in the trash ──trash rm──▶ gone; then what it was a copy of, if that lies in the trash as well

Machines are told the monitors and a client's name. The key goes to their Hosts alone (`key`): it opens the whole pool.
"""

import asyncio
import contextlib
import json
import time
from typing import Any
from uuid import UUID, uuid5

from hagane.drivers.volume import block
from hagane.drivers.volume.base import GIB, Space
from hagane.drivers.volume.block import SNAPSHOT, TEMP, VOLUME, BlockVolumes
from hagane.drivers.volume.command import Command, Refused
from hagane.drivers.volume.rbd_words import CONNECT, NOTHING, OPERATION, cause, is_busy, is_needed, is_nothing, is_there
from hagane.drivers.volume.rbd_words import Client as Client
from hagane.errors import DeviceFailed, HaganeError, Unavailable

# An object map makes the removal of an empty terabyte a matter of a blink instead of a minute; it needs the lock.
ALONE = ("fast-diff", "object-map", "exclusive-lock")
FEATURES = ",".join(("layering", *reversed(ALONE)))
OURS = (VOLUME, SNAPSHOT, TEMP)
LOOK = 6.0  # seconds for an answer that shows that Ceph is well
LEAST = 64 << 20  # bytes without which a pool counts as full: what is left would be gone before it is looked at again
COUNT = 30.0  # seconds between looks at how full the pool is
PURGE = 24 * 3600.0  # seconds for the bytes of one image to go
FRESH = 300.0  # seconds for which it is believed where the monitors are
_SECRETS = UUID("0f2b9a1e-6c1d-4a53-9a0e-8f6a3d5c7b42")


class RbdVolumes(BlockVolumes):
    """`monitors`: where Hosts find them, if not where they are for us."""

    family = "rbd"

    def __init__(
        self, pool: str, client: Client, *, monitors: tuple[str, ...] = (), command: Command | None = None
    ) -> None:
        super().__init__(command)
        self._pool, self._client, self._fixed = pool, client, monitors
        self._monitors: tuple[float, list[str]] = (0.0, [])
        self._free, self._used = LEAST, 0  # bytes, as last seen
        self._counted = -COUNT
        self.secret = str(uuid5(_SECRETS, f"{client.conf} {client.user}"))
        """By this id a connection says whose key it needs."""

    async def _rbd(self, *words: str, seconds: float = 120.0, wait: float = OPERATION) -> str:
        limits = ("--client-mount-timeout", f"{CONNECT:.0f}", "--rados-mon-op-timeout", f"{wait:.0f}",
                  "--rados-osd-op-timeout", f"{wait:.0f}")  # fmt: skip
        try:
            said = (*self._client.words, *limits, "--pool", self._pool, *words)
            return await self._command("rbd", *said, seconds=seconds)
        except Refused as error:
            raise self._meant(error) from error

    async def _json(self, *words: str) -> Any:
        return self._parsed(await self._rbd(*words, "--format", "json"))

    async def _ceph(self, *words: str) -> Any:
        limit = ("--connect-timeout", f"{CONNECT:.0f}")
        try:
            said = (*self._client.words, *limit, *words, "--format", "json")
            return self._parsed(await self._command("ceph", *said, seconds=LOOK))
        except Refused as error:
            raise self._meant(error) from error

    def _parsed(self, text: str) -> Any:
        try:
            return json.loads(text)
        except ValueError as error:
            raise Unavailable("The answer of Ceph cannot be read.", detail=text[:500]) from error

    def _meant(self, error: DeviceFailed) -> HaganeError:
        return cause(error, self._client, self._pool)

    # -- names -------------------------------------------------------------------------------------------------------

    async def _info(self, *name: str) -> dict[str, Any] | None:
        """What Ceph says of an image; None: there is none."""
        try:
            found: dict[str, Any] = await self._json("info", *name)
        except NOTHING as error:
            if is_nothing(error):
                return None
            raise
        return found

    async def _sizes(self, *names: str) -> dict[str, int]:
        found = await asyncio.gather(*(self._info(name) for name in names))
        return {name: info["size"] for name, info in zip(names, found, strict=True) if info is not None}

    async def _all(self) -> dict[str, int]:
        rows = await self._list()
        if left := self._shots(rows):
            await asyncio.sleep(block.SURE)  # another process may be about to copy them
            for shot in left & self._shots(await self._list()):
                with contextlib.suppress(DeviceFailed):
                    await self._rbd("snap", "rm", "--no-progress", shot)
        return {row["image"]: row["size"] for row in rows if "snapshot" not in row}

    async def _list(self) -> list[dict[str, Any]]:
        return [row for row in await self._json("ls", "--long") if row["image"].startswith(OURS)]

    def _shots(self, rows: list[dict[str, Any]]) -> set[str]:
        """Snapshots that were taken for a copy which this process does not make."""
        found = ((row["image"], row.get("snapshot", "")) for row in rows)
        return {f"{name}@{shot}" for name, shot in found if shot.startswith(OURS) and shot not in self._making}

    def _address(self, name: str) -> str:
        return f"rbd:{self._pool}/{name}:{self._client.options}"

    # -- what a thing needs ------------------------------------------------------------------------------------------

    async def _create(self, name: str, size: int) -> None:
        self._room()
        await self._rbd("create", "--size", f"{size}B", "--image-feature", FEATURES, name)

    async def _copy(self, source: str, name: str) -> None:
        """A kill may leave the snapshot behind: it is taken anew under the same name the next time."""
        self._room()
        shot = f"{source}@{name}"
        try:
            await self._rbd("snap", "create", "--no-progress", shot)
        except DeviceFailed as error:
            if not is_there(error):
                raise
            await self._rbd("snap", "rm", "--no-progress", shot)
            await self._rbd("snap", "create", "--no-progress", shot)
        how = ("--rbd-default-clone-format", "2", "--image-feature", FEATURES)
        await self._rbd("clone", *how, f"{self._pool}/{shot}", f"{self._pool}/{name}")
        await self._rbd("snap", "rm", "--no-progress", shot)

    async def _grow(self, name: str, size: int) -> None:
        await self._rbd("resize", "--no-progress", "--size", f"{size}B", name)

    async def _rename(self, name: str, new: str) -> None:
        await self._rbd("rename", name, new)

    async def _remove(self, name: str) -> None:
        """An image with copies cannot be removed, but need not be seen."""
        await self._rbd("trash", "mv", name)

    async def _end(self, name: str) -> None:
        """At once if nothing needs it, as a full pool lets nothing into the trash, but lets go of everything."""
        info = await self._info(name)
        try:
            await self._rbd("rm", "--no-progress", name, seconds=PURGE)
        except DeviceFailed as error:
            if not is_needed(error):
                raise
            await self._remove(name)
        else:
            await self._bury_parent(info)

    async def _purge(self, *names: str, patient: bool = False) -> None:
        for row in await self._json("trash", "ls"):
            if row["name"] in names or (not names and row["name"].startswith(OURS)):
                await self._bury(row["id"], patient=patient)

    async def _bury(self, key: str, *, patient: bool) -> None:
        """An image in the trash is gone, unless it has copies."""
        info = await self._info("--image-id", key)
        try:
            if await self._json("snap", "ls", "--image-id", key):  # what a kill in the middle of a copy left
                await self._rbd("snap", "purge", "--no-progress", "--image-id", key)
            await self._rbd("trash", "rm", "--no-progress", key, seconds=PURGE)
        except (DeviceFailed, Unavailable) as error:
            if is_needed(error) or is_nothing(error) or (patient and is_busy(error)):
                return
            raise
        await self._bury_parent(info)

    async def _bury_parent(self, info: dict[str, Any] | None) -> None:
        """What a thing that is gone was a copy of, if that waits in the trash for the end of its copies."""
        parent = (info or {}).get("parent") or {}
        if parent.get("trash") and parent["image"].startswith(OURS):
            await self._bury(parent["id"], patient=True)

    async def _is_open(self, name: str) -> bool:
        return bool((await self._json("status", name)).get("watchers"))

    # -- for whoever uses it -----------------------------------------------------------------------------------------

    async def space(self) -> Space:
        """An OSD is asked each time: the monitors answer for a cluster that can neither read nor write. `ceph` is a
        Python program, and costs ten times as much as `rbd`: it counts now and then."""
        probe = self._rbd("namespace", "ls", seconds=LOOK + 1, wait=LOOK)
        if time.monotonic() - self._counted < COUNT:
            await probe
        else:
            await asyncio.gather(self._count(), probe)
        can = {"thin_provisioning_support": True, "multiattach": True}
        return Space(round((self._free + self._used) / GIB, 2), round(self._free / GIB, 2), can)

    async def _count(self) -> None:
        told = await self._ceph("df", "detail")
        try:
            stats = {row["name"]: row["stats"] for row in told["pools"]}[self._pool]
            free, used, quota = stats["max_avail"], stats["stored"], stats.get("quota_bytes") or 0
        except KeyError as error:
            raise Unavailable(f"Ceph says nothing of the pool {self._pool}.", detail=str(told)[:500]) from error
        self._free, self._used = max(0, min(free, quota - used) if quota else free), used
        self._counted = time.monotonic()

    def _room(self) -> None:
        """Ceph lets whoever writes to a full pool wait until there is room."""
        if self._free < LEAST:
            raise DeviceFailed("The storage backend is full.")

    async def connection(self, volume_id: str) -> dict[str, Any]:
        self._demand(await self._sizes(VOLUME + volume_id), VOLUME, volume_id)
        pairs = [monitor.rpartition(":") for monitor in await self._reached()]
        data = {
            "name": f"{self._pool}/{VOLUME}{volume_id}", "hosts": [host.strip("[]") for host, _, _ in pairs],
            "ports": [port for _, _, port in pairs], "auth_enabled": True, "auth_username": self._client.user,
            "secret_type": "ceph", "secret_uuid": self.secret, "volume_id": volume_id, "discard": True,
        }  # fmt: skip
        return {"driver_volume_type": "rbd", "data": data}

    async def _reached(self) -> list[str]:
        """ADDRESS:PORT of the monitors."""
        if self._fixed:
            return list(self._fixed)
        when, found = self._monitors
        if time.monotonic() - when > FRESH or not found:
            told = await self._ceph("mon", "dump")
            found = [str(monitor["public_addr"]).partition("/")[0] for monitor in told["mons"]]
            self._monitors = (time.monotonic(), found)
        return found

    async def share(self, volume_id: str) -> None:
        """Several machines are about to write to it: with a lock each would have to wait for it to be handed over."""
        name = VOLUME + volume_id
        has = (await self._info(name) or {}).get("features", ())
        if lock := [feature for feature in ALONE if feature in has]:
            await self._rbd("feature", "disable", name, *lock)

    async def key(self) -> str:
        """What a Host must have to open images as our client, in Ceph's own spelling (base 64). Raises Unavailable."""
        return await asyncio.to_thread(self._client.key)
