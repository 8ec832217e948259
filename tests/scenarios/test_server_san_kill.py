"""A Server's Node dies; and while the Server is brought back with its volume, the process dies at each of its writes."""

from pathlib import Path

from hagane.baremetal.volume import Targets
from hagane.reconcile.devices import Devices
from hagane.reconcile.node_sim import Fleet
from tests.scenarios.kill import Killer, at_every_write, of_module
from tests.scenarios.steel_world import beside, steel
from tests.scenarios.test_server_san import CAN, connector, dead, disk, evacuate, has_status, volume

OURS = of_module("hagane.reconcile.server", "hagane.reconcile.node", "hagane.reconcile.volume")


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
        killer = Killer(w, number, OURS, after=number % 2 == 0)
        assert (await evacuate(w, server)).status_code == 200
        finished = await killer.spares(w.becomes(server, "ACTIVE"))
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
    await at_every_write(tmp_path, _life, more_than=5)
