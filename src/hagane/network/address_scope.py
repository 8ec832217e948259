"""Address scopes: sets of subnet pools whose addresses do not overlap, so that they need no translation."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from hagane.api.http import Request
from hagane.api.resource import REQUIRED, Attr
from hagane.network import rbac
from hagane.network.attr import UNSET, Given, Special
from hagane.network.base import NetResource
from hagane.network.errors import error
from hagane.network.permit import Target
from hagane.network.present import Made
from hagane.network.shared_filter import by_shared
from hagane.network.value import Flag, Id, Text, Whole
from hagane.state.database import Reader, Row, Tx


class AddressScope(NetResource):
    name, plural, missing, rbac = "address_scope", "address_scopes", "AddressScopeNotFound", "address_scope"
    attrs = (
        Attr("id", Id(), key=True),
        Attr("name", Text(255), write="cu", default=""),
        Attr("project_id", Text(255), write="c", default=UNSET),
        Attr("tenant_id", Text(255), write="c", default=UNSET, stored=False),
        Attr("ip_version", Whole(values=(4, 6)), write="c", default=REQUIRED),
        Attr("shared", Flag(), write="cu", default=False, stored=False, rule=True, sort=False),
        Attr("generation", Whole(), shown=False, filter=False, sort=False),
        Attr("created_at", Text(), shown=False, filter=False, sort=False),
        Attr("updated_at", Text(), shown=False, filter=False, sort=False),
    )
    indexes = ("project_id",)
    special: ClassVar[Mapping[str, Special]] = {"shared": by_shared("address_scope", "address_scope.id")}

    async def computed(self, request: Request, reader: Reader, rows: Sequence[Row]) -> list[Made]:
        shared = await rbac.shared_with(reader, self.rbac, [row["id"] for row in rows], request.caller.project_id)
        return [{"shared": row["id"] in shared} for row in rows]

    async def targets_of(self, request: Request, reader: Reader, rows: Sequence[Row]) -> list[Target]:
        targets = await super().targets_of(request, reader, rows)
        await self.with_shared(request, reader, rows, targets)
        return targets

    async def making(self, request: Request, tx: Tx, row: Row, given: Given) -> None:
        if row.pop("shared"):
            await rbac.grant(tx, row["project_id"], self.rbac, row["id"], rbac.SHARED, "*")

    async def changing(self, request: Request, tx: Tx, old: Row, changes: Row) -> None:
        shared = changes.pop("shared", None)
        if shared is None:
            return
        known = bool(await rbac.shared_with(tx, self.rbac, [old["id"]], None))
        if known and not shared:
            raise error("AddressScopeUpdateError", id=old["id"], reason="Shared address scope can't be unshared")
        if shared and not known:
            await rbac.grant(tx, old["project_id"], self.rbac, old["id"], rbac.SHARED, "*")

    async def unmaking(self, request: Request, tx: Tx, row: Row) -> None:
        if await tx.fetch_tuples("SELECT 1 FROM subnetpool WHERE address_scope_id = :id LIMIT 1", {"id": row["id"]}):
            raise error("AddressScopeInUse", id=row["id"])
        await rbac.forget(tx, self.rbac, row["id"])
