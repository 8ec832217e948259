"""Finding Nodes for Servers, many in one transaction: by resource class, traits and Nics that reach the networks.

A Node that is taken carries the Server's id and name, what the deployment needs to know (the fields that the real
service's ironic driver writes), and the Server's Ports as VIFs of its Nics; each Port has its Nic's MAC address from
then on. A Server that no Node fits says why, Node by Node.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from hagane.baremetal import claim, vif
from hagane.baremetal.base import CONDUCTOR
from hagane.baremetal.claim import custom
from hagane.baremetal.node import NODE
from hagane.baremetal.node_secret import opened, sealed
from hagane.compute import device, migration_row, nic
from hagane.compute.flavor_node import NodeWish, capabilities, wish_of
from hagane.compute.row import KIND, SERVER, Task, VmState, fault, port_ids
from hagane.errors import Conflict, HaganeError
from hagane.network import attach
from hagane.placement.host import DEFAULT_ZONE
from hagane.reconcile import server_node_volume, server_volume_rows
from hagane.reconcile.server_place import NOWHERE
from hagane.state import clock, event
from hagane.state.database import Row, Tx
from hagane.state.secret import Secrets

COLUMNS = ("id", "name", "resource_class", "traits", "lessee", "retired", "generation", *server_node_volume.COLUMNS)
"""What is needed of a Node to choose it."""


class Stock:
    """The free Nodes of some resource classes as one transaction sees them, read once for many Servers; the Nics only
    of those that are looked at more closely."""

    def __init__(self, tx: Tx, nodes: list[Row]) -> None:
        self._tx, self.nodes = tx, nodes
        self._nics: dict[str, tuple[list[Row], list[Row]]] = {}

    @classmethod
    async def read(cls, tx: Tx, wanted: set[str]) -> "Stock":
        names = await claim.classes(tx, wanted)
        return cls(tx, await claim.free(tx, resource_class=names, columns=COLUMNS) if names else [])

    async def meet(self, node: Row) -> None:
        """Look at a Node's Nics."""
        if node["id"] not in self._nics:
            self._nics[node["id"]] = await vif.nics_of(self._tx, [node["id"]])

    def carriers(self, node: Row, physical_network: str | None, kept: str | None) -> list[tuple[Any, Row]]:
        """What may carry a Port; `kept`: a Nic that is left to something else."""
        found = vif.free(*self._nics[node["id"]], physical_network)
        return [(table, row) for table, row in found if row["id"] != kept]

    def nics(self, node: Row) -> list[Row]:
        return self._nics[node["id"]][0]

    def taken(self, node: Row) -> None:
        self.nodes.remove(node)


async def place(tx: Tx, secrets: Secrets, keys: Sequence[str]) -> dict[str, Row]:
    """Claim a Node for each of these Servers; returns their rows as they are then."""
    rows = await SERVER.select(tx, {"id": list(keys), "terminate": False}, order="created_at, launch_index, id")
    stock = await Stock.read(tx, {wish.resource_class for row in rows if (wish := wish_of(row["flavor"]))})
    ports = await nic.ports_of(tx, [row for row in rows if row["nics"]])
    networks = await nic.networks_of(tx, [port for those in ports.values() for port in those])
    placed: dict[str, Row] = {}
    for row in rows:
        started, refused = clock.now(), dict[str, str]()
        ordered = _ordered(row, ports.get(row["id"], []), networks)
        node = await _claim(tx, secrets, row, stock, ordered, refused)
        changes = _on(node) if node else _nowhere(row, refused)
        if not node and row["action"] == "evacuate":
            await migration_row.evacuated(tx, row, "error")
        if not node and row["launched_at"] is None:  # it came to nothing; one that has run keeps what it has
            await server_volume_rows.released(tx, row, made=True)
            changes["devices"] = []
        await SERVER.update(tx, {"id": row["id"]}, changes)
        await _tell(tx, row, started, node, _why(refused))
        placed[row["id"]] = row | changes
    return placed


def _ordered(row: Row, ports: Sequence[Row], networks: Mapping[str, Row]) -> list[tuple[Row, str | None]]:
    """The Server's Ports in the order of its NICs, each with the physical network that it needs, if any."""
    by_id = {port["id"]: port for port in ports}
    found = [by_id[port_id] for port_id in port_ids(row) if port_id in by_id]
    return [(port, networks[port["network_id"]]["physical_network"]) for port in found]


async def _claim(
    tx: Tx, secrets: Secrets, row: Row, stock: Stock, ports: Sequence[tuple[Row, str | None]], refused: dict[str, str]
) -> Row | None:
    wish = wish_of(row["flavor"])
    if wish is None:
        return None
    for node in list(stock.nodes):
        if why := _unfit(row, wish, node):
            if custom(node["resource_class"]) == wish.resource_class:
                refused[node["name"] or node["id"]] = why
            continue
        await stock.meet(node)
        carriers = _cabled(stock, node, row, ports)
        if isinstance(carriers, str):
            refused[node["name"] or node["id"]] = carriers
            continue
        whole = await NODE.get(tx, id=node["id"])
        taken = await claim.take(tx, whole, _marked(secrets, row, whole, wish)) if whole else None
        stock.taken(node)
        if taken is None:
            continue
        try:
            await _attach(tx, row, taken, carriers)
            await server_node_volume.give(tx, row, taken)
        except HaganeError as error:
            refused[node["name"] or node["id"]] = error.message
            await claim.let_go(tx, taken["id"])
            await claim.disown(tx, taken, written=False)
            continue
        return taken
    return None


def _unfit(row: Row, wish: NodeWish, node: Row) -> str:
    """Why a free Node does not suit a Server; nothing if it does."""
    if custom(node["resource_class"]) != wish.resource_class:
        return f"it is of the resource class {custom(node['resource_class'])}"
    traits = set(node["traits"] or ())
    if lacking := wish.required - traits:
        return f"it lacks the traits {', '.join(sorted(lacking))}"
    if unwanted := wish.forbidden & traits:
        return f"it has the unwanted traits {', '.join(sorted(unwanted))}"
    if node["lessee"] and node["lessee"] != row["project_id"]:
        return "it is leased to another project"
    if node["retired"]:
        return "it is retired"
    if row["zone"] not in (None, DEFAULT_ZONE):
        return f"it is in the zone {DEFAULT_ZONE}, not {row['zone']}"
    asked = (row["wanted_host"] or {}).get("host")
    if asked and asked not in (node["id"], node["name"], CONDUCTOR):
        return f"another one, {asked}, was asked for"
    if any(one["host"] == node["id"] for one in row["tried"]):
        return "the server failed to deploy there before"
    return server_node_volume.unfit(row, node)


def _cabled(
    stock: Stock, node: Row, server: Row, ports: Sequence[tuple[Row, str | None]]
) -> str | list[tuple[Row, Any, Row]]:
    """(Port, table, Nic) for each Port; or why there are too few Nics. Those that need a certain one choose first."""
    try:
        kept = server_node_volume.kept_nic(server, node, stock.nics(node))
    except Conflict as error:
        return error.message
    used: set[str] = set()
    found: dict[str, tuple[Row, Any, Row]] = {}
    for port, physical in sorted(ports, key=lambda entry: entry[1] is None):
        free = [(table, row) for table, row in stock.carriers(node, physical, kept) if row["id"] not in used]
        if not free:
            count = len(stock.carriers(node, None, kept))
            return (f"it has {count} free network interface(s), and {len(ports)} are wanted" if physical is None
                    else f"none of its free network interfaces is on the physical network {physical}")  # fmt: skip
        used.add(free[0][1]["id"])
        found[port["id"]] = (port, *free[0])
    return [found[port["id"]] for port, _ in ports]


async def _attach(tx: Tx, row: Row, node: Row, carriers: Sequence[tuple[Row, Any, Row]]) -> None:
    """The Node's Nics carry the Server's Ports."""
    for port, table, carrier in carriers:
        await table.update(tx, {"id": carrier["id"]}, {"vif": port["id"]})
        if carrier["address"]:
            await attach.set_mac(tx, port["id"], carrier["address"], request_id=row["request_id"])
    await nic.bind(tx, row, node["id"])


def _marked(secrets: Secrets, row: Row, node: Row, wish: NodeWish) -> Row:
    """What a Node's row says of the Server that has it."""
    info = opened(secrets, node)["instance_info"] | facts(row, wish)
    changes: Row = {"instance_id": row["id"], "instance_name": row["name"], "instance_info": info}
    return sealed(secrets, node, changes)


def facts(row: Row, wish: NodeWish) -> Row:
    """`instance_info`, as the real service's ironic driver writes it."""
    flavor = row["flavor"]
    found: Row = {
        "root_gb": str(flavor["disk"]), "swap_mb": str(flavor["swap"]),
        "display_name": row["name"], "vcpus": str(flavor["vcpus"]), "memory_mb": str(flavor["ram"]),
        "nova_host_id": CONDUCTOR, "flavor_name": flavor["name"], "project_id": row["project_id"],
        "user_id": row["user_id"], "traits": sorted(wish.required),
    }  # fmt: skip
    if device.root(row) is None:
        found["image_source"] = row["image_id"]
    if flavor["ephemeral"]:
        found |= {"ephemeral_gb": str(flavor["ephemeral"])}
    if wanted := capabilities(flavor):
        found["capabilities"] = json.dumps(wanted)
    return found


def _on(node: Row) -> Row:
    moment = clock.now()
    return {
        "node_id": node["id"], "host": CONDUCTOR, "node_asked": 0, "vm_state": VmState.BUILDING,
        "task_state": Task.SPAWNING, "acted_at": moment, "updated_at": moment,
    }  # fmt: skip


def _why(refused: Mapping[str, str]) -> str:
    told = "; ".join(f"{name}: {reason}" for name, reason in sorted(refused.items()))
    return told or "No node of the flavor's resource class is available."


def _nowhere(row: Row, refused: Mapping[str, str]) -> Row:
    moment, message = clock.now(), NOWHERE
    if row["tried"]:
        message = (
            "Exceeded maximum number of retries. Exhausted all hosts available for retrying build failures for "
            f"instance {row['id']}."
        )
    told = [f"{one.get('name') or one['host']}: {one['why']}" for one in row["tried"]] + [_why(refused)]
    return {
        "vm_state": VmState.ERROR, "task_state": None, "secret": None,
        "fault": fault(500, message, "; ".join(dict.fromkeys(told)), moment), "node_id": None, "host": None,
        "observed_generation": row["generation"], "updated_at": moment,
    }  # fmt: skip


async def _tell(tx: Tx, row: Row, started: str, node: Row | None, why: str) -> None:
    name = f"schedule-{len(row['tried']) + 1}" if row["tried"] else "schedule"
    error = "" if node else f"{NOWHERE} {why}"
    step: Row = {
        "step": name, "started_at": started, "finished_at": clock.now(), "host": CONDUCTOR if node else None,
        "result": "Error" if error else "Success",
        "message": error or f"Node {(node or {}).get('name') or (node or {}).get('id')}",
    }  # fmt: skip
    await event.record(tx, KIND, row["id"], row["request_id"], row["action"], [step])
    if error:
        await event.end(tx, event.identity(row["id"], row["request_id"]), error=NOWHERE)
