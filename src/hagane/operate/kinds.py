"""The kinds of things that the operator's commands can speak of."""

from collections.abc import Callable
from dataclasses import dataclass

from hagane.baremetal.node import NODE
from hagane.baremetal.node_state import STABLE
from hagane.baremetal.rack import GATEWAY, SWITCH, UP
from hagane.compute.row import SERVER
from hagane.image.image import Image
from hagane.network.network import Network
from hagane.network.port_row import PORT
from hagane.network.router_row import FLOATING, ROUTER
from hagane.network.security_group_row import GROUP
from hagane.network.subnet_row import SUBNET
from hagane.placement.host import HOST, is_up
from hagane.state.database import Row
from hagane.state.table import Table
from hagane.volume import group_row
from hagane.volume.backup_row import BACKUP
from hagane.volume.row import SNAPSHOT, VOLUME


@dataclass(frozen=True)
class Kind:
    """`state`: how a person calls the row's state; `settled`: whether the row itself claims to be as it should be."""

    name: str
    table: Table
    name_column: str = "name"
    owner_column: str = "project_id"  # "": only administrators know of it
    state: Callable[[Row], str] = lambda row: str(row.get("status") or "")
    settled: Callable[[Row], bool] = lambda row: True


def _server_state(row: Row) -> str:
    return str(row["vm_state"]) + (f" ({row['task_state']})" if row["task_state"] else "")


def _node_state(row: Row) -> str:
    return str(row["provision_state"]) + (
        f" (to {row['target_provision_state']})" if row["target_provision_state"] else ""
    )


def _node_settled(row: Row) -> bool:
    return row["provision_state"] in STABLE and not row["wanted"]


def _host_state(row: Row) -> str:
    state = "up" if is_up(row) else f"down: {row['reason']}" if row["reason"] else "down"
    return state + (f", disabled: {row['disabled_reason'] or 'no reason given'}" if row["disabled"] else "")


def _part_state(row: Row) -> str:
    return f"{row['state'] or 'not reached yet'}" + (f": {row['reason']}" if row["reason"] else "")


def _is_available(row: Row) -> bool:
    return bool(row["status"] == "available")


KINDS = {
    kind.name: kind
    for kind in (
        Kind("server", SERVER, state=_server_state, settled=lambda r: not r["task_state"] and r["vm_state"] != "error"),
        Kind("image", Image.table, owner_column="owner", settled=lambda row: row["status"] == "active"),
        Kind("network", Network.table),
        Kind("subnet", SUBNET),
        Kind("port", PORT, settled=lambda row: row["status"] == "ACTIVE" or not row["device_id"]),
        Kind("router", ROUTER),
        Kind("floatingip", FLOATING, name_column="floating_ip_address"),
        Kind("security_group", GROUP),
        Kind("rack_gateway", GATEWAY, owner_column="", state=_part_state, settled=lambda row: row["state"] == UP),
        Kind("switch", SWITCH, owner_column="", state=_part_state, settled=lambda row: row["state"] == UP),
        Kind("node", NODE, owner_column="owner", state=_node_state, settled=_node_settled),
        Kind("volume", VOLUME, settled=lambda row: row["status"] in ("available", "in-use")),
        Kind("snapshot", SNAPSHOT, settled=_is_available),
        Kind("backup", BACKUP, settled=_is_available),
        Kind("volume_group", group_row.GROUP, settled=_is_available),
        Kind("volume_group_snapshot", group_row.GROUP_SNAPSHOT, settled=_is_available),
        Kind("host", HOST, owner_column="", state=_host_state, settled=is_up),
    )
}
