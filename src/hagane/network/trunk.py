"""Trunks: a port of a machine that carries further ports, told apart by VLAN tags.

    parent's port DOWN ── trunk DOWN          parent's port ACTIVE ── trunk ACTIVE

`status` is the parent's, for OVN plugs a subport in where it sees the parent. Every change wakes the subports' "port".
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from hagane.api.http import Request, Response, json_response
from hagane.api.service import Route
from hagane.network import port_row, trunk_row
from hagane.network.attr import Given, Special
from hagane.network.base import NetResource
from hagane.network.errors import error, invalid
from hagane.network.network import Network
from hagane.network.port import Port
from hagane.network.present import Made
from hagane.network.trunk_row import INHERIT, OWNER, SUBPORT, TRUNK, VLAN
from hagane.state import clock
from hagane.state.database import Reader, Row, Tx
from hagane.state.table import Sql


def by_status(resource: Any, request: Request, texts: list[str]) -> list[Sql]:
    """`status`: that of the parents."""
    wanted = {text.upper() for text in texts}
    if not wanted & {"ACTIVE", "DOWN"}:
        return [Sql("1 = 0")]
    if {"ACTIVE", "DOWN"} <= wanted:
        return []
    negation = "" if "ACTIVE" in wanted else "NOT "
    return [Sql(f"trunk.port_id {negation}IN (SELECT id FROM port WHERE status = 'ACTIVE')")]


class Trunk(NetResource):
    name, plural, missing, quota = "trunk", "trunks", "TrunkNotFound", "trunk"
    attrs, indexes = trunk_row.ATTRS, trunk_row.INDEXES
    needs = ("id", "port_id")
    special: ClassVar[Mapping[str, Special]] = {"status": by_status}

    async def computed(self, request: Request, reader: Reader, rows: Sequence[Row]) -> list[Made]:
        subports = await trunk_row.of(reader, [row["id"] for row in rows])
        parents = await port_row.PORT.select(reader, {"id": [row["port_id"] for row in rows]}, columns=("id", "status"))
        active = {row["id"] for row in parents if row["status"] == "ACTIVE"}
        return [
            {"sub_ports": subports[row["id"]], "status": "ACTIVE" if row["port_id"] in active else "DOWN"}
            for row in rows
        ]

    async def making(self, request: Request, tx: Tx, row: Row, given: Given) -> None:
        parent = await Port(self.cloud).find(request, tx, row["port_id"])
        await self._refuse_used(tx, parent["id"])
        row["wanted"] = await self._fitting(request, tx, row, row.pop("sub_ports"))

    async def make(self, request: Request, tx: Tx, row: Row, given: Given) -> Row:
        """The table has no column for the subports: they are stored after their trunk."""
        made = await super().make(request, tx, row, given)
        return {name: value for name, value in made.items() if name != "wanted"}

    async def made(self, request: Request, tx: Tx, row: Row) -> None:
        await self._plug(request, tx, row, row["wanted"])

    async def unmaking(self, request: Request, tx: Tx, row: Row) -> None:
        self._refuse_disabled(row)
        await trunk_row.release(tx, await SUBPORT.select(tx, {"trunk_id": row["id"]}), request_id=request.id)

    def _refuse_disabled(self, row: Row) -> None:
        if not row["admin_state_up"]:
            raise error("TrunkDisabled", id=row["id"])

    async def _refuse_used(self, tx: Tx, port_id: str) -> None:
        """Raises TrunkPortInUse, ParentPortInUse."""
        used, _ = await trunk_row.use_of(tx, port_id)
        if used:
            raise error("TrunkPortInUse" if used == "PortInUseAsSubPort" else "ParentPortInUse", port_id=port_id)

    # -- subports ----------------------------------------------------------------------------------------------

    async def _fitting(self, request: Request, tx: Tx, trunk: Row, wanted: Sequence[dict[str, Any]]) -> list[Row]:
        """Subports that a trunk may have. Raises InvalidInput, PortInUse and others."""
        parent = await port_row.get(tx, trunk["port_id"])
        ports = [await Port(self.cloud).find(request, tx, entry["port_id"]) for entry in wanted]
        ids = {port["network_id"] for port in ports} | ({parent["network_id"]} if parent else set())
        networks = {row["id"]: row for row in await Network.table.select(tx, {"id": ids})} if ids else {}
        rows = []
        for entry, port in zip(wanted, ports, strict=True):
            if port["id"] == trunk["port_id"]:
                raise error("ParentPortInUse", port_id=port["id"])
            network = networks[port["network_id"]]
            most = networks[parent["network_id"]]["mtu"] if parent else network["mtu"]
            if network["mtu"] > most:
                raise error("SubPortMtuGreaterThanTrunkPortMtu", port_id=port["id"], mtu=network["mtu"],
                            id=trunk["port_id"], most=most)  # fmt: skip
            number = self._tag(entry, network)
            await self._refuse_used(tx, port["id"])
            if port["device_id"]:
                raise error("PortInUse", id=port["id"], network_id=port["network_id"], device_id=port["device_id"])
            rows.append({"port_id": port["id"], "segmentation_type": VLAN, "segmentation_id": number,
                         "profile": port["binding_profile"]})  # fmt: skip
        return rows

    def _tag(self, entry: dict[str, Any], network: Row) -> int:
        """The VLAN tag that a subport's frames have at the parent. Raises InvalidInput."""
        if entry.get("segmentation_type") == INHERIT:
            entry = {"segmentation_type": network["network_type"], "segmentation_id": network["segmentation_id"]}
        if entry.get("segmentation_type") is None or entry.get("segmentation_id") is None:
            raise invalid(f"Invalid subport details '{entry}': missing segmentation information. Must specify both "
                          "segmentation_id and segmentation_type")  # fmt: skip
        try:
            number = int(entry["segmentation_id"])
        except (ValueError, TypeError):
            text = f"Invalid subport details: segmentation_id '{entry['segmentation_id']}' is not an integer"
            raise invalid(text) from None
        if entry["segmentation_type"] != VLAN:
            raise invalid(f"Unknown segmentation_type '{entry['segmentation_type']}'")
        if not 1 <= number <= 4094:
            raise invalid(f"Segmentation ID '{number}' is not in range")
        return number

    async def _plug(self, request: Request, tx: Tx, trunk: Row, rows: Sequence[Row]) -> None:
        """Store subports and tell their ports whose they are."""
        taken = {row["segmentation_id"] for row in await SUBPORT.select(tx, {"trunk_id": trunk["id"]})}
        for row in rows:
            if row["segmentation_id"] in taken:
                raise error("DuplicateSubPort", type=VLAN, number=row["segmentation_id"], id=trunk["id"])
            taken.add(row["segmentation_id"])
            await SUBPORT.insert(tx, row | {"trunk_id": trunk["id"]})
            profile = row["profile"] | {"parent_name": trunk["port_id"], "tag": row["segmentation_id"]}
            changes = {"device_owner": OWNER, "binding_profile": profile, "binding_vif_type": "ovs"}
            await port_row.change(tx, row["port_id"], changes, request_id=request.id)

    # -- member actions ----------------------------------------------------------------------------------------

    async def get_subports(self, request: Request) -> Response:
        row = await self._mine(request, self.db, "get_subports")
        return json_response(200, {"sub_ports": (await trunk_row.of(self.db, [row["id"]]))[row["id"]]})

    async def add_subports(self, request: Request) -> Response:
        body = await request.json()

        async def act(tx: Tx) -> Made:
            row = await self._mine(request, tx, "add_subports")
            wanted = trunk_row.subports_of_body(body)
            self._refuse_disabled(row)
            await self._plug(request, tx, row, await self._fitting(request, tx, row, wanted))
            return await self._touched(request, tx, row)

        return json_response(200, await self.db.write(act))

    async def remove_subports(self, request: Request) -> Response:
        body = await request.json()

        async def act(tx: Tx) -> Made:
            row = await self._mine(request, tx, "remove_subports")
            wanted = trunk_row.subports_of_body(body)
            self._refuse_disabled(row)
            known = {each["port_id"]: each for each in await SUBPORT.select(tx, {"trunk_id": row["id"]})}
            for entry in wanted:
                if entry["port_id"] not in known:
                    raise error("SubPortNotFound", port_id=entry["port_id"], id=row["id"])
            await trunk_row.release(tx, [known[entry["port_id"]] for entry in wanted], request_id=request.id)
            return await self._touched(request, tx, row)

        return json_response(200, await self.db.write(act))

    async def _mine(self, request: Request, reader: Reader, rule: str) -> Row:
        row = await self.find(request, reader, request.params["id"])
        self.policy(request).enforce(rule, request.caller.creds, await self.target_of(request, reader, row))
        return row

    async def _touched(self, request: Request, tx: Tx, row: Row) -> Made:
        """The trunk as it is now, which an action answers without an envelope."""
        changes = {"generation": row["generation"] + 1, "updated_at": clock.now()}
        await TRUNK.update(tx, {"id": row["id"]}, changes)
        return await self.view(request, tx, row | changes)

    def routes(self) -> list[Route]:
        return [
            *super().routes(),
            self.action("get_subports", "get_subports", self.get_subports, method="GET"),
            self.action("add_subports", "add_subports", self.add_subports),
            self.action("remove_subports", "remove_subports", self.remove_subports),
        ]
