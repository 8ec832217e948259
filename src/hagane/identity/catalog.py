"""Regions, services and endpoints: the catalog that clients find the other APIs by."""

from collections.abc import Sequence
from typing import Any

from hagane.api.http import Request, Response, json_response
from hagane.api.resource import REQUIRED, Attr
from hagane.api.service import Route
from hagane.api.types import Bool, Custom, Enum, Str
from hagane.errors import Conflict, Forbidden, Invalid
from hagane.identity.base import CHANGED, V3, IdentityResource, could_not_find, expected
from hagane.identity.catalog_view import fillable
from hagane.state.database import Reader, Row, Tx
from hagane.state.table import listed

_BELOW = """WITH RECURSIVE down(id) AS (
  SELECT id FROM identity_region WHERE id = :id
  UNION SELECT r.id FROM identity_region r JOIN down ON r.parent_region_id = down.id)
SELECT id FROM down"""
_OF_ENDPOINTS = ("identity_project_endpoint", "identity_endpoint_policy")
_FORGET_ENDPOINTS = tuple(
    f"DELETE FROM {table} WHERE endpoint_id IN (SELECT id FROM identity_endpoint WHERE service_id = :service)"
    for table in _OF_ENDPOINTS
)


class CatalogResource(IdentityResource):
    """Base of the three: every change of the catalog ends what is cached of it, and only its admins see the rows."""

    async def creating(self, request: Request, tx: Tx, row: Row) -> None:
        await super().creating(request, tx, row)
        tx.notify(CHANGED)

    async def updating(self, request: Request, tx: Tx, old: Row, changes: Row) -> None:
        await super().updating(request, tx, old, changes)
        tx.notify(CHANGED)

    async def deleting(self, request: Request, tx: Tx, row: Row) -> None:
        tx.notify(CHANGED)


class Region(CatalogResource):
    """A region. Its id may be chosen by the caller and is its name."""

    name, plural = "region", "regions"
    path = f"{V3}/regions"
    table_name = "identity_region"
    flags = ("parent_region_id",)
    attrs = (
        Attr("id", Str(255, nullable=True), write="c", key=True),
        Attr("description", Str(None, nullable=True), write="cu", default=""),
        Attr("parent_region_id", Str(255, min=1, nullable=True), write="cu"),
        Attr("extra", Custom(), default=dict, shown=False),
    )

    def routes(self) -> Sequence[Route]:
        put = Route("PUT", f"{self.path}/{{id}}", self.put, "region:put", rule="identity:create_region", status=201)
        return [*super().routes(), put]

    def stamp(self, row: Row) -> None:
        row["id"] = row["id"] or None
        super().stamp(row)

    async def put(self, request: Request) -> Response:
        """Create a region of the id that the path names."""
        body, key = self.wrap(await request.json()), request.params["id"]
        if body.get("id", key) != key:
            raise Invalid(f'Conflicting region IDs specified: "{key}" != "{body["id"]}"')

        async def work(tx: Tx) -> Any:
            row = await self.create_row(request, tx, body | {"id": key})
            return (await self.present(request, [row], tx))[0]

        return json_response(201, self.one_answer(request, await self.db.write(work)))

    def conflict(self, row: Row) -> Conflict:
        return Conflict(f"Conflict occurred attempting to store region - Duplicate ID, {row['id']}..")

    async def creating(self, request: Request, tx: Tx, row: Row) -> None:
        await super().creating(request, tx, row)
        row["description"] = row["description"] or ""
        parent = row["parent_region_id"]
        if parent is not None and await self.table.get(tx, id=parent) is None:
            raise could_not_find("region", parent)

    async def updating(self, request: Request, tx: Tx, old: Row, changes: Row) -> None:
        await super().updating(request, tx, old, changes)
        if "description" in changes:
            changes["description"] = changes["description"] or ""
        parent = changes.get("parent_region_id")
        seen = {old["id"]}
        while parent is not None:
            if parent in seen:
                raise Invalid(f"The specified parent region {parent} would create a circular region hierarchy.")
            seen.add(parent)
            row = await self.table.get(tx, id=parent)
            if row is None:
                raise could_not_find("region", parent)
            parent = row["parent_region_id"]

    async def deleting(self, request: Request, tx: Tx, row: Row) -> None:
        await super().deleting(request, tx, row)
        ids = [found[0] for found in await tx.fetch_tuples(_BELOW, {"id": row["id"]})]
        if await Endpoint.table.count(tx, {"region_id": ids}):
            raise Forbidden(
                f"Unable to delete region {row['id']} because it or its child regions have associated endpoints."
            )
        await _forget(tx, "region_id", ids)
        await self.table.delete(tx, {"id": ids})


class CatalogService(CatalogResource):
    """A service: one of the APIs."""

    name, plural = "service", "services"
    path = f"{V3}/services"
    table_name = "identity_service"
    flags = ("type", "name")
    attrs = (
        Attr("id", Str(), key=True),
        Attr("type", Str(255, min=1), write="cu", default=REQUIRED),
        Attr("name", Str(255, min=1), write="cu", default=""),
        Attr("enabled", Bool(), write="cu", default=True),
        Attr("extra", Custom(), default=dict, shown=False),
    )

    async def deleting(self, request: Request, tx: Tx, row: Row) -> None:
        await super().deleting(request, tx, row)
        for statement in _FORGET_ENDPOINTS:
            await tx.execute(statement, {"service": row["id"]})
        await Endpoint.table.delete(tx, {"service_id": row["id"]})
        await _forget(tx, "service_id", [row["id"]])


class Endpoint(CatalogResource):
    """Where a service is reached in a region, by whom (`interface`). `region` is the old name of `region_id`."""

    name, plural = "endpoint", "endpoints"
    path = f"{V3}/endpoints"
    table_name = "identity_endpoint"
    indexes = ("service_id", "region_id")
    flags = ("interface", "service_id", "region_id")
    attrs = (
        Attr("id", Str(), key=True),
        Attr("interface", Enum(values=("admin", "internal", "public")), write="cu", default=REQUIRED),
        Attr("service_id", Str(64), write="cu", default=REQUIRED),
        Attr("region_id", Str(255, nullable=True), write="cu"),
        Attr("region", Str(255, nullable=True), write="cu", stored=False),
        Attr("url", Str(225, pattern=r"^[a-zA-Z0-9+.-]+:.+"), write="cu", default=REQUIRED),
        Attr("enabled", Bool(), write="cu", default=True),
        Attr("extra", Custom(), default=dict, shown=False),
    )

    async def present(self, request: Request, rows: list[Row], reader: Reader | None = None) -> list[Any]:
        return await super().present(request, [row | {"region": row["region_id"]} for row in rows], reader)

    async def creating(self, request: Request, tx: Tx, row: Row) -> None:
        await super().creating(request, tx, row)
        await self._places(tx, row)

    async def updating(self, request: Request, tx: Tx, old: Row, changes: Row) -> None:
        await super().updating(request, tx, old, changes)
        await self._places(tx, changes)

    async def deleting(self, request: Request, tx: Tx, row: Row) -> None:
        await super().deleting(request, tx, row)
        for table in _OF_ENDPOINTS:
            await tx.execute(f"DELETE FROM {table} WHERE endpoint_id = :id", {"id": row["id"]})

    async def _places(self, tx: Tx, row: Row) -> None:
        """The region and service must exist; a region named the old way is made if it does not."""
        if "url" in row and not fillable(row["url"]):
            raise Invalid(f"Cannot create an endpoint with an invalid URL: {row['url']}.")
        old_name = row.pop("region", None)
        if old_name is not None and row.get("region_id") is None:
            row["region_id"] = old_name
            if await Region.table.get(tx, id=old_name) is None:
                await Region.table.insert(tx, {"id": old_name, "description": "", "extra": {}})
        for label, resource in (("region_id", Region), ("service_id", CatalogService)):
            key = row.get(label)
            if key is not None and await resource.table.get(tx, id=key) is None:
                raise expected(f"endpoint {label}", f"{resource.name} table")


async def _forget(tx: Tx, column: str, ids: Sequence[str]) -> None:
    """Limits and policies of services and regions that are gone. The tables are named: their files import this one."""
    among = listed("id", ids)
    for table in ("identity_limit", "identity_registered_limit", "identity_endpoint_policy"):
        await tx.execute(f"DELETE FROM {table} WHERE {column} IN {among.text}", among.params)
