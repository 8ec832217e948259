"""The volumes that a Node starts from, as rows: volume targets and connectors of the bare-metal API.

What a Server orders is written as targets of its Node (`give`), as compute of the real service does; they end with the
claim. Those of an operator stay.
"""

from uuid import uuid4

from hagane.api.http import Caller
from hagane.baremetal import san
from hagane.baremetal.volume import SERVER, Connectors, Targets
from hagane.errors import Invalid
from hagane.state import clock
from hagane.state.database import Reader, Row, Tx


async def targets(reader: Reader, node_id: str) -> list[Row]:
    return await Targets.table.select(reader, {"node_id": node_id}, order="boot_index, id")


async def connectors(reader: Reader, node_id: str) -> list[Row]:
    return await Connectors.table.select(reader, {"node_id": node_id}, order="created_at, id")


async def check(reader: Reader, caller: Caller, node: Row, found: list[Row]) -> None:
    """Whether the caller may have this Node boot from its volume, which may have changed hands since its target was
    written: it is theirs, or that of the Node's owner or lessee. Raises Invalid.

    A Server's was asked for by compute, with the rights of the Server's owner."""
    boot = san.root(node, found)
    if caller.is_admin or boot is None or server_of(boot):
        return
    # By its table: the block storage API is beside this one, not below it.
    rows = await reader.fetch_tuples("SELECT project_id FROM volume WHERE id = :id", {"id": boot["volume_id"]})
    if {project for (project,) in rows}.isdisjoint({caller.project_id, node["owner"], node["lessee"]} - {None}):
        raise Invalid(f"Volume {boot['volume_id']} could not be found.")


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
