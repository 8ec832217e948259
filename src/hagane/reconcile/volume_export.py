"""Exports of volumes: their rows made targets, all of them at once.

One key stands for all, as the targets of a machine are one state: rows are read, and the driver brings what it has to
them. It is woken when a row goes, when a daemon ends by itself, at the start, and a while after a row was made, to see
whether anybody noted it.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from hagane.drivers.volume.export import Export, Exports, Home
from hagane.drivers.volume.tgt import Portal
from hagane.errors import DeviceFailed, HaganeError, Unavailable
from hagane.reconcile.engine import Answer, Done, Outcome, Wait
from hagane.reconcile.volume_backends import Backends, backend_name
from hagane.state.database import Database, Row, Tx
from hagane.state.secret import Secrets
from hagane.state.work import Claim, wake
from hagane.volume import base, export
from hagane.volume.export import EXPORT
from hagane.volume.row import VOLUME

AGAIN = 5.0  # seconds until what could not be exported is tried again


class ExportReconciler:
    """Moves exports. Without `exports` (no backend needs any) there are no rows, and nothing to do."""

    kind, batch, parallel = base.EXPORT, 1, 1

    def __init__(self, db: Database, backends: Backends, exports: Exports | None, secrets: Secrets) -> None:
        self._db, self._backends, self._exports, self.secrets = db, backends, exports, secrets
        self._turn = asyncio.Lock()  # who reads the rows later applies them later
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        if self._exports is not None:
            self._exports.watch(self._changed)
            await self._wake()

    async def stop(self) -> None:
        if self._exports is not None:
            await self._exports.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def reconcile(self, keys: Sequence[Claim]) -> Mapping[str, Answer]:
        return {claim.key: self._all() for claim in keys}

    async def begin(self, volume_id: str, connector: dict[str, Any]) -> Row:
        """The row of an export that there is when this returns. Raises Unavailable, DeviceFailed."""
        where = {"volume_id": volume_id, "machine": export.machine_of(connector)}

        async def work(tx: Tx) -> tuple[Row, bool]:
            fresh = not await EXPORT.count(tx, where)
            return await export.take(tx, self.secrets, volume_id, connector), fresh

        row, fresh = await self._db.write(work)
        if problem := (await self._apply()).get(row["id"]):
            if fresh and export.OURS not in connector:  # ours ask again until it is so; others may never come back
                mine = {"id": row["id"], "made_at": row["made_at"]}
                await self._db.write(lambda tx: export.give_back(tx, mine))
            raise problem
        return row

    async def end(self, where: Row, *, at_home: bool = False) -> None:
        """When this returns, nothing leads to the volume that no row wants. `at_home`: the machine needed no export,
        unless it was elsewhere before. Raises Unavailable."""
        if await EXPORT.count(self._db, where):
            await self._db.write(lambda tx: export.give_back(tx, where))
            await self._apply()
        elif at_home:
            return
        if not await self._agrees(where["volume_id"]):
            await self._apply()  # another one's may just have been on its way out
            if not await self._agrees(where["volume_id"]):
                raise Unavailable("The way to the volume is not ended yet.")

    async def _agrees(self, volume_id: str) -> bool:
        """Whether nothing leads to the volume that no row wants. What is not known may well lead there."""
        if self._exports is None:
            return True
        async with self._turn:
            try:
                there = await self._exports.read()
            except Unavailable:
                return False
            rows = await EXPORT.select(self._db, {"volume_id": volume_id}, columns=("id", "volume_id"))
        return not any(name.startswith(f"{volume_id}.") for name in there - {_name(row) for row in rows})

    async def _all(self) -> Outcome:
        again = await self._db.write(export.sweep) if await EXPORT.count(self._db) else None
        problems = await self._apply()
        return Wait(AGAIN, next(iter(problems.values())).message) if problems else Done(again)

    async def _apply(self) -> dict[str, HaganeError]:
        """Make the rows so; says what could not be, by row, "": all that went wrong in making them so."""
        if self._exports is None:
            return {}
        async with self._turn:
            rows = await EXPORT.select(self._db, order="made_at, id")
            found = await VOLUME.select(self._db, {"id": [row["volume_id"] for row in rows]}, columns=("id", "host"))
            hosts = {one["id"]: one["host"] for one in found}
            problems: dict[str, HaganeError] = {}
            wanted = []
            for row in rows:
                try:
                    wanted.append(await self._wanted(row, hosts))
                except HaganeError as error:
                    problems[row["id"]] = error
            # A backend that does not answer now cuts nobody off.
            keep = frozenset(_name(row) for row in rows if row["id"] in problems and row["volume_id"] in hosts)
            try:
                await self._exports.apply(wanted, keep)
            except HaganeError as error:
                problems = {"": error} | dict.fromkeys(await self._without(rows), error) | problems
            return problems

    async def _without(self, rows: Sequence[Row]) -> list[str]:
        """Rows whose volumes are not as they shall be: the trouble of one volume is none of the others'."""
        assert self._exports is not None
        try:
            there = await self._exports.read()
        except HaganeError:
            return [row["id"] for row in rows]
        strays = {name.rpartition(".")[0] for name in there - {_name(row) for row in rows}}
        return [row["id"] for row in rows if _name(row) not in there or row["volume_id"] in strays]

    async def _wanted(self, row: Row, hosts: Mapping[str, str]) -> Export:
        host = hosts.get(row["volume_id"])
        home = self._exports.home(backend_name(host)) if self._exports and host else None
        if self._exports is None or home is None:
            raise DeviceFailed(f"The volume {row['volume_id']} cannot be exported from where it is.")
        info = await self._backends.of(host).connection(row["volume_id"])
        return export_of(row, info, home, self._exports, self.secrets)

    async def _wake(self) -> None:
        async def work(tx: Tx) -> None:
            await wake(tx, base.EXPORT, export.KEY)

        await self._db.write(work)

    def _changed(self) -> None:
        """A daemon is gone."""
        task = asyncio.get_running_loop().create_task(self._wake(), name="volume-exports")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _name(row: Row) -> str:
    """Of its export."""
    return f"{row['volume_id']}.{row['id']}"


def export_of(row: Row, info: Row, home: Home, exports: Exports, secrets: Secrets) -> Export:
    """The export that a row stands for; `info`: how the backend's own Host reaches the volume."""
    where, data = export.place(row["connector"]), info["data"]
    return Export(
        row["volume_id"], home.file(str(data["device_path"])), data.get("format", "raw"),
        Portal(*where) if where else exports.portal, row["id"], secrets.decrypt(row["secret"]),
        row["connector"].get("initiator") or "",
    )  # fmt: skip
