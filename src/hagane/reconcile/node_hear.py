"""What a Node's firmware fetches tells how far its start has come: steps, as the provisioning service hears of them.

    boot loader or script ─▶ it has an address ("dhcp")    ramdisk taken ─▶ it is loaded ("ramdisk"), calls back next
    virtual CD ─▶ the BMC reads it: some BMCs all of it before the machine is on, others as the machine asks for it,
                  which ends nothing: `ramdisk` ends when the ramdisk speaks (baremetal/agent_gate.py)

Events are gathered for a moment and written together: a hundred Nodes that start at once cost a few writes.
"""

import asyncio
import logging

from hagane.baremetal import node_progress
from hagane.baremetal.node import NODE
from hagane.baremetal.node_history import record
from hagane.baremetal.node_state import WAITING
from hagane.baremetal.provision import Fetched
from hagane.errors import HaganeError
from hagane.state import work
from hagane.state.database import Database, Tx

log = logging.getLogger(__name__)
GATHER = 0.2  # seconds


class Hearing:
    def __init__(self, db: Database) -> None:
        self._db = db
        self._heard: list[tuple[str, Fetched, str]] = []
        self._task: asyncio.Task[None] | None = None

    def heard(self, node_id: str, what: Fetched, when: str) -> None:
        """See baremetal/provision.py: OnFetch."""
        if what is Fetched.IMAGE:
            return
        self._heard.append((node_id, what, when))
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._write(), name="node-hearing")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _write(self) -> None:
        while self._heard:
            await asyncio.sleep(GATHER)
            heard, self._heard = self._heard, []
            try:
                await self._db.write(lambda tx, those=heard: note(tx, those))  # type: ignore[misc]
            except HaganeError as error:  # the steps are told when the ramdisk calls back, at the latest
                log.info("what Nodes fetched is not noted: %s", error.message)


async def note(tx: Tx, heard: list[tuple[str, Fetched, str]]) -> None:
    """Write what was heard into the steps of Nodes that are being waited for."""
    rows = {row["id"]: row for row in await NODE.select(tx, {"id": sorted({key for key, _, _ in heard})})}
    for key, row in rows.items():
        if row["provision_state"] not in WAITING.values() or row["driver_internal_info"].get("agent_secret_token"):
            continue
        steps = [dict(step) for step in row["seen"].get("steps") or []]
        for _, what, when in (one for one in heard if one[0] == key):
            for name, message in _ended(what, when):
                seconds = node_progress.finish(steps, name, message=message)
                if seconds is not None:
                    await record(tx, row, f"{name}: {message}", duration=seconds)
            node_progress.begin(steps, *_begun(what, when))
        if steps != row["seen"].get("steps"):
            await NODE.update(tx, {"id": key}, {"seen": row["seen"] | {"steps": steps}})
            if row["instance_id"]:
                await work.wake(tx, "server", row["instance_id"])


def _ended(what: Fetched, when: str) -> list[tuple[str, str]]:
    if what is Fetched.MEDIA:
        return []
    ended = [("dhcp", "the firmware has an address")]
    return [*ended, ("ramdisk", "the ramdisk is loaded")] if (what, when) == (Fetched.RAMDISK, "done") else ended


def _begun(what: Fetched, when: str) -> tuple[str, str]:
    if (what, when) == (Fetched.RAMDISK, "done"):
        return "callback", "the ramdisk starts"
    return "ramdisk", "the BMC reads the CD" if what is Fetched.MEDIA else f"the firmware takes its {what}"
