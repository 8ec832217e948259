"""Another type for a volume: checks and quota when it is asked for, the change itself by the reconciler.

A volume stays where it is: a type that its pool does not suit is refused, and said so in a message.
"""

from hagane.state import clock
from hagane.state.database import Row, Tx
from hagane.volume import message, pool, quota
from hagane.volume.row import SNAPSHOT, VOLUME
from hagane.volume.task import type_counts
from hagane.volume.type_row import TYPE, is_multiattach


async def finish(tx: Tx, row: Row) -> None:
    """Give the volume its new type, if its pool suits; count it there either way."""
    current = await VOLUME.get(tx, id=row["id"])
    if current is None or current["status"] != "retyping":
        return
    old = await TYPE.get(tx, id=current["type_id"])
    new = await TYPE.get(tx, id=(current["task"] or {}).get("type_id"))
    changes: Row = {"status": current["previous_status"] or "available", "previous_status": None, "task": {}}
    if new is not None and await pool.suits(tx, new, current["host"]):
        changes |= {"type_id": new["id"], "multiattach": is_multiattach(new)}
        leaving = old
        await SNAPSHOT.update(tx, {"volume_id": row["id"]}, {"type_id": new["id"]})
    else:
        leaving = new
        await message.tell(tx, message.VOLUME, current, "allocate", "No backend suits the new type here.", None)
    if leaving is not None:
        left = await type_counts(tx, current, leaving["name"])
        await quota.add(tx, current["project_id"], {name: -number for name, number in left.items()})
    await VOLUME.update(tx, {"id": row["id"]}, changes | {"updated_at": clock.now()})
