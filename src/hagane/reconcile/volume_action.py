"""What a volume's growth is to the Servers that have it: an action of theirs, which clients wait for.

The block storage API answers when it has begun, and a volume in use is in use before, meanwhile and afterwards; that
the machine has the new size is seen only here: /servers/{id}/os-instance-actions says "extend_volume".
"""

from uuid import uuid4

from hagane.compute.row import KIND, SERVER
from hagane.state import clock, event
from hagane.state.database import Row, Tx
from hagane.volume.row import ATTACHMENT

ACTION, STEP = "extend_volume", "grow"


async def tell_grown(tx: Tx, volume: Row, request_id: str | None, *, error: str = "") -> None:
    """Note in every Server that has the volume that it grew, or why it did not."""
    if volume["status"] != "extending" or volume["previous_status"] != "in-use":
        return
    rows = await ATTACHMENT.select(tx, {"volume_id": volume["id"]}, columns=("instance_uuid",))
    ids = sorted({row["instance_uuid"] for row in rows if row["instance_uuid"]})
    over: Row = {"started_at": volume["updated_at"], "finished_at": clock.now(), "message": error or None,
                 "result": "Error" if error else "Success"}  # fmt: skip
    for server in await SERVER.select(tx, {"id": ids}, columns=("id", "user_id", "project_id", "host")):
        whose = {name: server[name] for name in ("user_id", "project_id", "host")}
        steps = [over | whose | {"step": step} for step in ("", STEP)]
        await event.record(tx, KIND, server["id"], request_id or f"req-{uuid4()}", ACTION, steps)
