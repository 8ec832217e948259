"""A Server's Node dies; and while the Server is brought back with its volume, the process dies at each of its writes."""

import asyncio
from pathlib import Path
from typing import Any

from hagane.baremetal.volume import Targets
from hagane.errors import Unavailable
from hagane.reconcile.devices import Devices
from hagane.reconcile.node_sim import Fleet
from tests.scenarios.server_world import killed
from tests.scenarios.steel_world import Steel, beside, steel
from tests.scenarios.test_server_san import CAN, connector, dead, disk, evacuate, has_status, volume


class Killer:
    """Ends all writing at the n-th write of a reconciler, when it is in the store or just before that."""

    def __init__(self, w: Steel, number: int) -> None:
        self.left, self.after, self.dead = number, number % 2 == 0, asyncio.Event()
        self._write = w.db.write
        w.db.write = self.write  # type: ignore[method-assign,assignment]

    async def write(self, work: Any) -> Any:
        if self.dead.is_set():
            raise Unavailable("there is no process")
        name = str(getattr(work, "__module__", ""))
        ours = name.startswith(("hagane.reconcile.server", "hagane.reconcile.node", "hagane.reconcile.volume"))
        self.left -= ours
        if ours and self.left == 0:
            if self.after:
                await self._write(work)
            self.dead.set()
            await asyncio.Event().wait()
        return await self._write(work)


async def _life(folder: Path, number: int) -> bool:
    """Evacuate in a process that dies at its n-th write; False when it had ended before."""
    fleet = Fleet()
    folder.mkdir()
    async with steel(folder, 2, fleet=fleet, **CAN) as w:
        key = await volume(w)
        server = (await w.create(imageRef="", block_device_mapping_v2=disk(key)))["id"]
        await w.becomes(server, "ACTIVE")
        source = (await w.row(server))["node_id"]
        await dead(w, source)
        killer = Killer(w, number)
        assert (await evacuate(w, server)).status_code == 200
        finished = await killed(w, killer.dead, w.becomes(server, "ACTIVE"))
    async with beside(folder, fleet) as w:
        await w.becomes(server, "ACTIVE")
        row = await w.row(server)
        assert row["node_id"] not in (None, source)
        assert [one["node_id"] for one in await Targets.table.select(w.db)] == [row["node_id"]]
        assert (await connector(w, key))["host"] == row["node_id"]
        fleet.machines[source].fail_always = None
        assert (await w.metal.delete(f"/baremetal/v1/nodes/{source}/maintenance")).status_code == 202
        await w.end(server)
        await has_status(w, key, "available")
        assert await w.db.fetch("SELECT id FROM volume_export") == []
        assert w.cloud.use(Devices).exports is None or not await w.cloud.use(Devices).exports.read()  # type: ignore[union-attr]
    await fleet.close()
    return not finished


async def test_evacuation_killed_at_every_write(tmp_path: Path) -> None:
    number = 1
    while await _life(tmp_path / str(number), number):
        number += 1
        assert number < 60
    assert number > 5, "there are more writes than that"
