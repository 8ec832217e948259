"""The storage backends of this process: which driver has which pool, how much room there is, what strays there.

Pools are looked at every few seconds and kept as rows, from which the API answers and volumes are placed.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol, runtime_checkable

from hagane.cloud import Cloud
from hagane.drivers.volume.base import GIB, Absent, VolumeDriver
from hagane.errors import HaganeError, NotFound, Unavailable
from hagane.state import clock
from hagane.state.database import Row, Tx
from hagane.state.work import wake_all
from hagane.volume import base
from hagane.volume.backup_row import BACKUP
from hagane.volume.group_row import GROUP, GROUP_SNAPSHOT
from hagane.volume.pool import POOL, SERVICE, backend
from hagane.volume.row import SNAPSHOT, VOLUME

log = logging.getLogger(__name__)
LOOK, SWEEP = 10.0, 3600.0  # seconds
PATIENCE = 8.0  # seconds that a backend may take to tell its room


def pool_name(name: str) -> str:
    return f"{base.HOST}@{name}#{name}"


def backend_name(host: str) -> str:
    """The backend that has a pool."""
    return backend(host).partition("@")[2]


@runtime_checkable
class Keyed(Protocol):
    """A backend that machines reach by themselves, with a key that opens all of it."""

    secret: str

    async def key(self) -> str: ...

    async def share(self, volume_id: str) -> None: ...


class Backends:
    """`drivers`: by the backend's name."""

    def __init__(self, cloud: Cloud, drivers: Mapping[str, VolumeDriver]) -> None:
        self._db, self._drivers = cloud.db, dict(drivers)
        self._task: asyncio.Task[None] | None = None

    def of(self, host: str | None) -> VolumeDriver:
        """The driver of a pool. Raises Unavailable; NotFound where there is no pool, for which nobody need wait."""
        if not host:
            raise NotFound("The volume is on no storage backend: it has no bytes anywhere.")
        name = backend_name(host)
        if name not in self._drivers:
            raise Unavailable(f"The storage backend {host} is not known to this process.")
        return self._drivers[name]

    async def key(self, secret: str) -> str:
        """The key that a connection names. Raises Unavailable."""
        for driver in self._drivers.values():
            if isinstance(driver, Keyed) and driver.secret == secret:
                return await driver.key()
        raise Unavailable("The settings name no storage backend any more that has the key to this volume.")

    async def start(self) -> None:
        await self.look()
        await asyncio.gather(*(self._finish(driver) for driver in self._drivers.values()))
        await self._db.write(self._resume)
        self._task = asyncio.get_running_loop().create_task(self._watch(), name="volume-pools")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _resume(self, tx: Tx) -> None:
        """Whatever was under way is looked at again; its work rows are there, unless somebody restored a backup."""
        kinds = ((base.VOLUME, VOLUME.name), (base.SNAPSHOT, SNAPSHOT.name), (base.BACKUP, BACKUP.name),
                 (base.GROUP, GROUP.name), (base.GROUP_SNAPSHOT, GROUP_SNAPSHOT.name))  # fmt: skip
        for kind, table in kinds:
            await wake_all(tx, kind, f"SELECT id AS key FROM {table} WHERE status LIKE '%ing'", {})

    async def _finish(self, driver: VolumeDriver) -> None:
        """Before any machine is started: what a kill left half done in a backend is brought to its end by looking."""
        with contextlib.suppress(HaganeError, TimeoutError):
            async with asyncio.timeout(PATIENCE):
                await driver.read()

    async def _watch(self) -> None:
        """A sweep may take long where a backend has much; the looks do not wait for it."""
        await asyncio.gather(self._repeat(self.look, LOOK, first=LOOK), self._repeat(self._tell_strays, SWEEP))

    async def _repeat(self, work: Callable[[], Awaitable[None]], seconds: float, *, first: float = 0.0) -> None:
        await asyncio.sleep(first)
        while True:
            try:
                await work()
            except Exception:
                log.exception("cannot look at the storage backends")
            await asyncio.sleep(seconds)

    async def _tell_strays(self) -> None:
        for line in await self.sweep():
            log.warning("%s", line)

    async def look(self) -> None:
        """Note the room of every pool."""
        rows = await asyncio.gather(*(self._seen(name, driver) for name, driver in self._drivers.items()))

        async def work(tx: Tx) -> None:
            for row in rows:
                if not await POOL.update(tx, {"name": row["name"]}, row):
                    await POOL.insert(tx, row)
            known = {f"{base.HOST}@{name}" for name in self._drivers}
            for host in known:
                key = {"binary_name": "cinder-volume", "host": host}
                if await SERVICE.get(tx, **key) is None:
                    await SERVICE.insert(tx, key | {"disabled": False, "updated_at": clock.now()})

        await self._db.write(work)

    async def _seen(self, name: str, driver: VolumeDriver) -> Row:
        row: Row = {"name": pool_name(name), "driver": driver.family, "seen_at": clock.now(), "reason": ""}
        nothing: Row = {"total_gb": 0.0, "free_gb": 0.0, "capabilities": {}}
        try:
            async with asyncio.timeout(PATIENCE):
                space = await driver.space()
        except HaganeError as error:
            return row | nothing | {"reason": error.message}
        except TimeoutError:
            return row | nothing | {"reason": f"It has not answered for {PATIENCE:.0f} seconds."}
        facts = {"total_gb": space.total_gb, "free_gb": space.free_gb, "capabilities": dict(space.capabilities)}
        return row | facts

    async def sweep(self, *, remove: bool = False) -> list[str]:
        """Find what backends keep for ids that no row has; mark volumes whose bytes are gone. Says what it found.

        Rows come before bytes and go after them, so only a lost or older store leaves strays: they may be all that is
        left of somebody's data, and are removed only when a person says so (`remove`).
        """
        word = "removed" if remove else "left there"
        done: list[str] = []
        for name, driver in self._drivers.items():
            before = await self._here(name)
            try:
                seen = await driver.read()  # before other rows: one that is made later has its thing made later still
            except HaganeError as error:
                done.append(f"the backend {name} cannot be looked through: {error.message}")
                continue
            volumes = {row["id"] for row in await VOLUME.select(self._db, columns=("id",))}
            snapshots = {row["id"] for row in await SNAPSHOT.select(self._db, columns=("id",))}
            for key in sorted(seen.snapshots - snapshots):
                if remove:
                    await driver.apply(Absent("snapshot", key))
                done.append(f"snapshot {key} on {name}: it belongs to nobody; {word}")
            for key in sorted(set(seen.volumes) - volumes):
                if remove:
                    await driver.apply(Absent("volume", key))
                done.append(f"volume {key} on {name}: it belongs to nobody; {word}")
            for key, size in (await self._here(name)).items():
                if before.get(key) == size:  # what was made or extended meanwhile was not seen as it is
                    done += await self._lost({"id": key, "size": size}, name, seen.volumes.get(key))
        return done

    async def _here(self, name: str) -> dict[str, int]:
        """Sizes of the volumes that a backend has at rest."""
        where = {"host": pool_name(name), "status": "available"}
        return {row["id"]: row["size"] for row in await VOLUME.select(self._db, where, columns=("id", "size"))}

    async def _lost(self, row: Row, name: str, size: int | None) -> list[str]:
        """Mark a volume that the backend has not, or has too few bytes of; says so."""
        if size is None:
            why, short = f"The bytes of this volume are not on the backend {name} any more.", "its bytes are gone"
        elif size < row["size"] * GIB:
            why = f"The backend {name} has only {size / GIB:.1f} of the {row['size']} GB of this volume."
            short = f"it has only {size / GIB:.1f} of {row['size']} GB"
        else:
            return []
        where = {"id": row["id"], "status": "available", "size": row["size"]}
        changed = await self._db.write(lambda tx: VOLUME.update(tx, where, {"status": "error", "fault": why}))
        return [f"volume {row['id']} on {name}: {short}; it is in error"] if changed else []
