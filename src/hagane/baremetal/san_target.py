"""The volumes that a Node starts from, as rows: volume targets and connectors of the bare-metal API.

What a Server orders is written as targets of its Node (`give`), as compute of the real service does; they end with the
claim. Those of an operator stay.
"""

from uuid import uuid4

from hagane.baremetal.volume import SERVER, Connectors, Targets
from hagane.state import clock
from hagane.state.database import Reader, Row, Tx


async def targets(reader: Reader, node_id: str) -> list[Row]:
    return await Targets.table.select(reader, {"node_id": node_id}, order="boot_index, id")


async def connectors(reader: Reader, node_id: str) -> list[Row]:
    return await Connectors.table.select(reader, {"node_id": node_id}, order="created_at, id")


async def give(tx: Tx, node_id: str, server_id: str, volume_id: str) -> None:
    """A claimed Node is to boot from a Server's volume."""
    moment = clock.now()
    await Targets.table.insert(tx, {
        "id": str(uuid4()), "node_id": node_id, "boot_index": 0, "volume_type": "iscsi", "volume_id": volume_id,
        "properties": {}, "extra": {SERVER: server_id}, "created_at": moment, "updated_at": moment,
    })  # fmt: skip


def server_of(target: Row) -> str:
    """The Server whose order a target is; "": an operator's."""
    return str((target["extra"] or {}).get(SERVER) or "")


async def take_back(tx: Tx, node_id: str) -> None:
    """What Servers ordered of a Node ends."""
    mine = [one["id"] for one in await targets(tx, node_id) if server_of(one)]
    if mine:
        await Targets.table.delete(tx, {"id": mine})
