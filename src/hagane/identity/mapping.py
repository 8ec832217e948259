"""Mappings: what the attributes that an identity provider tells of somebody mean here (mapping_shape.py has the form).

https://docs.openstack.org/keystone/latest/admin/federation/mapping_combinations.html
"""

from typing import Any

from hagane.api.http import Request
from hagane.api.resource import REQUIRED, Attr
from hagane.api.types import BadValue, Custom, Enum
from hagane.identity.base import V3
from hagane.identity.mapping_shape import RULES, VERSIONS
from hagane.identity.named import KEY, Named
from hagane.state.database import Row, Tx


class Mapping(Named):
    """Rules. The version of a mapping that names none is the first."""

    name, plural = "mapping", "mappings"
    path = f"{V3}/OS-FEDERATION/mappings"
    table_name = "identity_mapping"
    flags = ()
    attrs = (
        Attr("id", KEY, key=True),
        Attr("rules", Custom(json_schema=RULES[VERSIONS[-1]].own_schema()), write="cu", default=REQUIRED),
        Attr("schema_version", Enum(values=VERSIONS), write="cu", default=VERSIONS[0]),
    )

    def parse_create(self, request: Request, body: dict[str, Any]) -> Row:
        return _checked(super().parse_create(request, body))

    def parse_update(self, request: Request, body: dict[str, Any]) -> Row:
        """Rules are given whole, with their version."""
        if "rules" not in body:
            raise BadValue(self.name, body, "'rules' is a required property")
        return _checked({"schema_version": VERSIONS[0]} | super().parse_update(request, body))

    async def creating(self, request: Request, tx: Tx, row: Row) -> None:
        pass

    async def updating(self, request: Request, tx: Tx, old: Row, changes: Row) -> None:
        pass


def _checked(row: Row) -> Row:
    return row | {"rules": RULES[row["schema_version"]].check("rules", row["rules"])}
