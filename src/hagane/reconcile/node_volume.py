"""The way from a Node to the volume that it starts from, as rows tell it: whose it is, how it is told, how it ends."""

from hagane.baremetal import san, san_target
from hagane.cloud import Cloud
from hagane.compute.row import SERVER
from hagane.drivers.boot import san as boot
from hagane.errors import Conflict, Unavailable
from hagane.state.database import Reader, Row, Tx
from hagane.state.secret import Secrets
from hagane.volume import attach
from hagane.volume.row import ATTACHMENT, VOLUME


async def target_of(reader: Reader, node: Row) -> Row:
    """The target that the Node was told to start from. Raises Conflict when it is gone."""
    mark = (node["driver_internal_info"] or {}).get(san.MARK)
    found = next((one for one in await san_target.targets(reader, node["id"]) if one["id"] == mark), None)
    if found is None:
        raise Conflict(f"Node {node['id']} has no volume target any more to start from.")
    return found


def owner_of(node: Row, target: Row) -> str:
    """In whose name the volume is attached."""
    return san_target.server_of(target) or str(node["instance_id"] or node["id"])


async def script(cloud: Cloud, node: Row) -> str:
    """What iPXE on this Node is told; it holds the volume's password. Raises Unavailable, Conflict."""
    target = await target_of(cloud.db, node)
    found = await ATTACHMENT.get(cloud.db, volume_id=target["volume_id"], instance_uuid=owner_of(node, target))
    if found is None or (found["connector"] or {}).get("host") != node["id"]:
        raise Unavailable("The volume is not exported for this machine.")
    connection = attach.connection_of(cloud.use(Secrets), found)
    return boot.script(boot.disk(connection, str(found["connector"]["initiator"])))


async def part(cloud: Cloud, attachment: Row, node_id: str) -> None:
    """End what leads from a Node to a volume, by force: after this nothing that the machine writes arrives, whatever it
    may still have open. Another Node's way to the same volume stays. Raises Unavailable."""
    connector = attachment["connector"] or {}
    volume = await VOLUME.get(cloud.db, id=attachment["volume_id"])
    if volume is not None and connector.get("host") == node_id:
        await cloud.use(attach.Connections).disconnect(volume, connector)


async def held(reader: Reader, node_id: str) -> set[str]:
    """The volumes that something leads to from a Node."""
    return {one["volume_id"] for one in await _attached(reader, node_id)}


async def _attached(reader: Reader, node_id: str) -> list[Row]:
    found = await ATTACHMENT.select(reader, {"attached_host": node_id})
    return [one for one in found if attach.OURS in (one["connector"] or {})]  # others may say any name


async def end(cloud: Cloud, node_id: str) -> None:
    """Nothing leads from a Node to any volume any more; what is attached in no Server's name is detached. By the
    attachments alone: targets may be others by now, and the Node may be gone. Raises Unavailable."""
    mine = await _attached(cloud.db, node_id)
    for one in mine:
        await part(cloud, one, node_id)
    if mine:
        await cloud.db.write(lambda tx: _detached(tx, mine))


async def _detached(tx: Tx, attachments: list[Row]) -> None:
    """A Server's attachment ends with the Server."""
    ids = [one["instance_uuid"] for one in attachments]
    servers = {row["id"] for row in await SERVER.select(tx, {"id": ids}, columns=("id",))}
    for one in attachments:
        if one["instance_uuid"] not in servers:
            await attach.detach(tx, one["id"])
