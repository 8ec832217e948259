"""Servers on Nodes that boot from a volume: which Node can, what it is told, and what is waited for before.

The volume is the Server's: reserved before the Node is told to deploy, exported for the Node by that Node's own
reconciler (node_san.py), free again, or gone, with the Server. The Node knows it as a volume target of its own.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from hagane.baremetal import san, san_target
from hagane.baremetal.node_row import UNPLUGGED
from hagane.cloud import Cloud
from hagane.compute import device
from hagane.errors import Conflict, DeviceFailed
from hagane.reconcile import node_volume, server_volume, server_volume_rows
from hagane.reconcile.engine import Wait
from hagane.reconcile.server_steps import Steps
from hagane.state import clock
from hagane.state.database import Reader, Row, Tx
from hagane.volume.row import ATTACHMENT

COLUMNS = ("driver", "storage_interface", "boot_interface", "deploy_interface", "network_interface", "properties")
"""What is needed of a Node to tell whether it can boot from a volume."""
PATIENCE = 900  # seconds from the order until a volume that is still not made ends it


def unfit(row: Mapping[str, Any], node: Mapping[str, Any]) -> str:
    """Why a Node cannot boot the Server from its volume; "" if it can, or need not."""
    root = device.root(row)
    if root is None:
        return ""
    if node["storage_interface"] != san.INTERFACE:
        return f"its storage interface is {node['storage_interface']}: it cannot boot from a volume"
    target = {"id": "of the server", "boot_index": 0, "volume_type": "iscsi", "volume_id": root["volume_id"]}
    return san.lack(dict(node) | {"instance_info": {}}, [target])


def kept_nic(row: Mapping[str, Any], node: Mapping[str, Any], nics: Sequence[Row]) -> str | None:
    """The Nic that is left to the volume; None where none has to be. Raises Conflict when there is none."""
    if device.root(row) is None or node["network_interface"] in UNPLUGGED:
        return None
    found = san.nic(nics, {nic["id"] for nic in nics if nic["vif"]})
    if found is None:
        raise Conflict(san.no_nic(node))
    return str(found["id"])


async def give(tx: Tx, row: Row, node: Row) -> None:
    """A claimed Node is told of the Server's volume. Raises Conflict."""
    root = device.root(row)
    if root is None:
        return
    if await san_target.targets(tx, node["id"]):
        raise Conflict("it has volume targets of its operator's")
    await san_target.give(tx, node["id"], row["id"], root["volume_id"])


async def prepare(cloud: Cloud, row: Row) -> tuple[Row, Wait | None]:
    """The Server's volumes are reserved; its row as it is then, and what it still waits for. Raises DeviceFailed,
    Overtaken."""
    steps, deadline = Steps(row), clock.seconds(row["acted_at"]) + PATIENCE
    row, why = await server_volume.Volumes(cloud).prepare(row, steps)
    if why and clock.wall() > deadline:
        raise DeviceFailed(f"{why} Given up.")
    if steps.changed:
        await cloud.db.write(steps.write if why else partial(steps.end, whole=False))
    return row, Wait(5.0, why, deadline) if why else None  # whoever makes a volume wakes its Server


async def cut(cloud: Cloud, row: Row, node_id: str) -> None:
    """Nothing leads from a Node to the Server's volumes any more, whatever the machine does. Raises Unavailable."""
    for found in await _held(cloud.db, row):
        await node_volume.part(cloud, found, node_id)


async def _held(reader: Reader, row: Row) -> list[Row]:
    ids = server_volume_rows.held(row)
    return await ATTACHMENT.select(reader, {"id": ids}) if ids else []
