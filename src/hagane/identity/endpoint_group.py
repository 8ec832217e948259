"""Endpoint groups: endpoints by what they have in common, which projects are given together (endpoint_filter.py).

https://docs.openstack.org/api-ref/identity/v3-ext/#os-ep-filter-api
"""

from typing import Any

from hagane.api.http import Request
from hagane.api.resource import REQUIRED, Attr
from hagane.api.types import Custom, Enum, Obj, Str
from hagane.errors import Invalid
from hagane.identity.base import CATALOG, NAME, V3, IdentityResource, expected
from hagane.state.database import Row, Tx

WORDS = ("service_id", "region_id", "interface")
"""What endpoints can be told by."""
_FILTERS = Obj(
    fields={
        "service_id": Str(255),
        "region_id": Str(255, nullable=True),
        "interface": Enum(values=("admin", "internal", "public")),
    },
    open=True,
)


def _filters(field: str, value: Any) -> Any:
    found = _FILTERS.check(field, value)
    if not set(found) <= set(WORDS):
        raise expected(" or ".join(WORDS), "endpoint_group")
    return found


class EndpointGroup(IdentityResource):
    """All endpoints that fit every one of its filters, now and later."""

    name, plural = "endpoint_group", "endpoint_groups"
    path = f"{V3}/OS-EP-FILTER/endpoint_groups"
    table_name = "identity_endpoint_group"
    kind = "Endpoint Group"
    attrs = (
        Attr("id", Str(), key=True),
        Attr("name", NAME, write="cu", default=REQUIRED),
        Attr("description", Str(None, nullable=True), write="cu"),
        Attr("filters", Custom(rule=_filters, json_schema=_FILTERS.own_schema()), write="cu", default=REQUIRED),
    )

    async def creating(self, request: Request, tx: Tx, row: Row) -> None:
        await super().creating(request, tx, row)
        if not row["filters"]:
            raise Invalid("filters field is required and cannot be empty")

    def parse_update(self, request: Request, body: dict[str, Any]) -> Row:
        """`openstack endpoint group set` sends null for filters that it shall leave alone."""
        given = {label: value for label, value in body.items() if label != "filters" or value is not None}
        return super().parse_update(request, given)

    async def updating(self, request: Request, tx: Tx, old: Row, changes: Row) -> None:
        await super().updating(request, tx, old, changes)
        tx.notify(CATALOG)

    async def deleting(self, request: Request, tx: Tx, row: Row) -> None:
        await tx.execute(f"DELETE FROM identity_project_endpoint_group WHERE {self.name}_id = :id", {"id": row["id"]})
        tx.notify(CATALOG)
