"""Remote volumes of a Node: connectors (who it is on the storage network) and targets (what it shall boot from)."""

from typing import Any

from hagane.api.http import Request, Response, json_response
from hagane.api.resource import REQUIRED, Attr
from hagane.api.service import Route
from hagane.api.types import Int, Obj, Str, Time, Uuid
from hagane.baremetal.base import V1, links, need, node_target
from hagane.baremetal.belonging import Belonging
from hagane.baremetal.node_secret import masked
from hagane.errors import Conflict, Invalid
from hagane.state.database import Row, Tx

FREE = Obj(open=True, nullable=True)
SERVER = "hagane_server"
"""In a target's `extra`: the Server that it was made for. From outside it is never taken."""
_ID = (
    Attr("id", Uuid(nullable=True), "c", wire="uuid", key=True),
    Attr("created_at", Time(nullable=True)),
    Attr("updated_at", Time(nullable=True)),
    Attr("extra", FREE, "cu", dict),
    Attr("node_id", Str(), "cu", REQUIRED, wire="node_uuid"),
)


class _Volume(Belonging):
    """What both share: the policy's rules are those of `volume`, and a Node that runs keeps what it has."""

    noun, since, filters = "volume", 32, ("node", "project")

    async def updating(self, request: Request, tx: Tx, old: Row, changes: Row) -> None:
        _off(old["_node"], f"{self.title.lower()} update")
        await self.moved(request, tx, changes)
        await self._check(tx, old | changes)

    async def creating(self, request: Request, tx: Tx, row: Row) -> None:
        await self.unique(tx, "id", row["id"], f"A {self.title.lower()} with UUID {row['id']} already exists.")
        await self._check(tx, row)

    async def deleting(self, request: Request, tx: Tx, row: Row) -> None:
        if _power(row["_node"]) is not None:
            _off(row["_node"], f"{self.title.lower()} deletion")
        await super().deleting(request, tx, row)

    async def _check(self, tx: Tx, row: Row) -> None:
        raise NotImplementedError

    def routes(self) -> list[Route]:
        of_node = V1 + "/nodes/{id}/" + self.below
        return [
            Route("GET", of_node, self.of_node, f"{self.name}:of_node", rule=self.rule("get"), since="1.32",
                  query=self.query_names()),
            *super().routes(),
        ]  # fmt: skip


class Connectors(_Volume):
    name, plural, title, table_name = "connector", "connectors", "Volume connector", "volume_connector"
    path = V1 + "/volume/connectors"
    attrs = (*_ID, Attr("type", Str(), "cu", REQUIRED), Attr("connector_id", Str(), "cu", REQUIRED))
    indexes = ("node_id", "unique type, connector_id", "created_at, id")
    brief = ("uuid", "node_uuid", "type", "connector_id")
    patchable = ("connector_id", "extra", "node_uuid", "type")
    ident = "connector_uuid"

    async def _check(self, tx: Tx, row: Row) -> None:
        found = await self.table.get(tx, type=row["type"], connector_id=row["connector_id"])
        if found is not None and found["id"] != row["id"]:
            raise Conflict(f"A volume connector with type {row['type']} and connector ID {row['connector_id']} already "
                           "exists.")  # fmt: skip


class Targets(_Volume):
    name, plural, title, table_name = "target", "targets", "Volume target", "volume_target"
    path = V1 + "/volume/targets"
    attrs = (
        *_ID,
        Attr("boot_index", Int(loose=False, min=0), "cu", REQUIRED),
        Attr("properties", FREE, "cu", dict),
        Attr("volume_id", Str(), "cu", REQUIRED),
        Attr("volume_type", Str(), "cu", REQUIRED),
    )
    indexes = ("unique node_id, boot_index", "created_at, id")
    brief = ("uuid", "node_uuid", "volume_type", "boot_index", "volume_id")
    patchable = ("boot_index", "extra", "node_uuid", "properties", "volume_id", "volume_type")
    ident = "target_uuid"

    def finish(self, request: Request, row: Row, view: Row, chosen: tuple[str, ...] | None) -> Row:
        if view.get("properties"):
            view["properties"] = (
                masked(view["properties"])
                if request.allowed("baremetal:volume:view_target_properties", {})
                else {"redacted_contents": "** Value redacted: Requires permission "
                                           "baremetal:volume:view_target_properties "
                                           "access. Permission denied. **"}
            )  # fmt: skip
        return view

    async def creating(self, request: Request, tx: Tx, row: Row) -> None:
        await _may_name(request, tx, row, {})
        await super().creating(request, tx, row)

    async def updating(self, request: Request, tx: Tx, old: Row, changes: Row) -> None:
        await _may_name(request, tx, old | changes, old)
        await super().updating(request, tx, old, changes)

    async def deleting(self, request: Request, tx: Tx, row: Row) -> None:
        _refuse_servers(row)
        await super().deleting(request, tx, row)

    async def _check(self, tx: Tx, row: Row) -> None:
        found = await self.table.get(tx, node_id=row["node_id"], boot_index=row["boot_index"])
        if found is not None and found["id"] != row["id"]:
            raise Conflict(f"A volume target with boot index '{row['boot_index']}' for the same node already exists.")


async def _may_name(request: Request, tx: Tx, row: Row, old: Row) -> None:
    """Whether the caller may have this Node reach this volume: it is their project's, or they are an administrator.
    Raises Invalid, Conflict."""
    _refuse_servers(old)
    if SERVER in (row["extra"] or {}):
        raise Invalid(f"{SERVER} in extra is this cloud's own.")
    if request.caller.is_admin or row["volume_id"] == old.get("volume_id"):
        return
    # By its table: the block storage API is beside this one, not below it.
    found = await tx.fetch_tuples("SELECT project_id FROM volume WHERE id = :id", {"id": row["volume_id"]})
    if [project for (project,) in found] != [request.caller.project_id]:
        raise Invalid(f"Volume {row['volume_id']} could not be found.")


def _refuse_servers(row: Row) -> None:
    """A target that a Server made ends with it, and not before. Raises Conflict."""
    if SERVER in (row.get("extra") or {}):
        raise Conflict(f"Volume target {row['id']} belongs to server {row['extra'][SERVER]}.")


def _power(node: Row) -> str | None:
    """What counts is what was ordered last; a machine that may first write to its disks is on until it is off."""
    order: Row = (node["wanted"] or {}).get("power") or {}
    if order.get("target") == "soft power off":
        return "power on"
    power: str | None = node["target_power_state"] if order else node["power_state"]
    return power


def _off(node: Row, action: str) -> None:
    """Volumes of a running machine stay."""
    if (power := _power(node)) != "power off":
        raise Invalid(f'The requested action "{action}" can not be performed on node "{node["id"]}" while it is in '
                      f'state "{power}".')  # fmt: skip


def routes(connectors: Connectors) -> list[Route]:
    """`/volume` itself, and below a Node."""

    def document(request: Request, base: str) -> dict[str, Any]:
        found: dict[str, Any] = {"links": links(request, base + "/")}
        return found | {name: links(request, f"{base}/{name}") for name in ("connectors", "targets")}

    async def root(request: Request) -> Response:
        need(request, "baremetal:volume:list", {"project_id": request.caller.project_id})
        return json_response(200, document(request, "volume"))

    async def of_node(request: Request) -> Response:
        node = await connectors.nodes.find(request, connectors.db, request.params["id"])
        need(request, "baremetal:volume:list", node_target(node) | {"project_id": request.caller.project_id})
        return json_response(200, document(request, f"nodes/{request.params['id']}/volume"))

    rule = "baremetal:volume:list"
    return [
        Route("GET", V1 + "/volume", root, "volume:root", rule=rule, since="1.32"),
        Route("GET", V1 + "/nodes/{id}/volume", of_node, "volume:of_node", rule=rule, since="1.32"),
    ]
