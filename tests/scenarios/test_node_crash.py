"""`kill -9` between any two steps: whoever comes next goes on from the row and the world, and it ends as it would have.

The process is killed at its n-th write of a Node's work, for every n that there is: before the write (what was done to
the machine is not written), and after it (what is written goes no further).
"""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from hagane.errors import Unavailable
from hagane.reconcile.node_sim import Fleet
from tests.scenarios.node_world import World, world


class Killer:
    """Stops all that a Node's reconciler does at its n-th write; `after`: when the write is in the store."""

    def __init__(self, w: World, number: int, *, after: bool) -> None:
        self.left, self.after, self.dead = number, after, asyncio.Event()
        self._write = w.part.tools.cloud.db.write
        self.names = ("Job._store", "Job.answered", "join", "leave", "teardown")
        w.db.write = self.write  # type: ignore[method-assign,assignment]

    async def write(self, work: Any) -> Any:
        if self.dead.is_set():
            raise Unavailable("there is no process")
        ours = any(name in work.__qualname__ for name in self.names)
        self.left -= ours
        if ours and self.left == 0:
            if self.after:
                await self._write(work)
            self.dead.set()
            await asyncio.Event().wait()
        return await self._write(work)


async def _life(folder: Path, verb: str, state: str, number: int, *, after: bool) -> bool:
    """Run a verb in a process that dies at its n-th write, then in another; False when it had ended before."""
    fleet = Fleet()
    folder.mkdir()
    async with world(folder, fleet=fleet) as w:
        node = await (w.active() if verb in ("deleted", "rescue") else w.available())
        await w.instance(node)
        killer = Killer(w, number, after=after)
        more = {"rescue_password": "x"} if verb == "rescue" else {}
        assert (await w.ask(node, verb, **more)).status_code == 202
        ended = asyncio.create_task(w.at(node, state))
        died = asyncio.create_task(killer.dead.wait())
        await asyncio.wait({ended, died}, return_when=asyncio.FIRST_COMPLETED, timeout=20)
        finished = ended.done() and not died.done()
        for task in (ended, died):
            task.cancel()
        await asyncio.gather(ended, died, return_exceptions=True)
        await _kill(w)
    async with world(folder, fleet=fleet) as w:
        await w.at(node, state)
        row = await w.row(node)
        assert row["last_error"] is None
        if state == "available":
            assert await w.leaks(node) == {}
        if state == "active":
            assert row["power_state"] == "power on" and fleet.machines[node].ramdisk is None
            assert fleet.machines[node].did.count("standby.prepare_image") >= 1
    await fleet.close()
    return not finished


async def _kill(w: World) -> None:
    """End everything at once, as a kill does; what was sent to machines has been sent."""
    for task in [*w.hagane.engine._tasks, *w.hagane.engine._running]:
        task.cancel()
    await asyncio.gather(*w.hagane.engine._tasks, *w.hagane.engine._running, return_exceptions=True)
    await w.db.close()


@pytest.mark.parametrize("after", [False, True], ids=["before the write", "after the write"])
@pytest.mark.parametrize(("verb", "state"), [("active", "active"), ("deleted", "available"), ("rescue", "rescue")])
async def test_killed_at_every_write(tmp_path: Path, verb: str, state: str, after: bool) -> None:
    number = 1
    while await _life(tmp_path / str(number), verb, state, number, after=after):
        number += 1
        assert number < 60
    assert number > 5, "there are more writes than that"
