"""Default security group rules: administrators say what new security groups begin with. Older ones stay as they are."""

from typing import Any

from hagane.api.http import Request
from hagane.network import default_rule_row
from hagane.network.address_group import AddressGroup
from hagane.network.attr import Given
from hagane.network.base import NetResource
from hagane.network.default_rule_row import BODY, OWN, PARENT, TEMPLATE
from hagane.network.errors import error
from hagane.network.rule_check import check, sameness
from hagane.network.security_group import SecurityGroup
from hagane.state.database import Row, Tx
from hagane.state.table import Sql


class DefaultRule(NetResource):
    name, plural = "default_security_group_rule", "default_security_group_rules"
    missing = "DefaultSecurityGroupRuleNotFound"
    verbs = frozenset({"list", "show", "create", "delete"})
    bulk = False
    attrs = default_rule_row.ATTRS

    def visible(self, request: Request) -> list[Sql]:
        """Everybody may know them; a removed one of the cloud's own is not there."""
        return [Sql("default_security_group_rule.removed = 0")]

    def stamp(self, row: Row) -> None:
        super().stamp(row)
        for name in ("created_at", "updated_at", "generation"):
            row.pop(name)
        row |= {"tags": [], "removed": False}

    def match(self, request: Request, row: Row) -> None:
        """There is no revision to insist on."""

    async def making(self, request: Request, tx: Tx, row: Row, given: Given) -> None:
        check(row)
        if row["remote_group_id"] not in (None, PARENT):
            await SecurityGroup(self.cloud).find(request, tx, row["remote_group_id"])
        if row["remote_address_group_id"]:
            await AddressGroup(self.cloud).find(request, tx, row["remote_address_group_id"])
        for other in await TEMPLATE.select(tx, {name: row[name] for name in BODY if name != "protocol"}):
            shared = any(row[use] and other[use] for use in ("used_in_default_sg", "used_in_non_default_sg"))
            if shared and not other["removed"] and _key(other) == _key(row):
                raise error("DefaultSecurityGroupRuleExists", rule_id=other["id"])

    async def unmake(self, request: Request, tx: Tx, row: Row) -> None:
        if row["id"] in OWN:
            await TEMPLATE.update(tx, {"id": row["id"]}, {"removed": True})
        else:
            await TEMPLATE.delete(tx, {"id": row["id"]})


def _key(row: Row) -> Any:
    return sameness(row | {"security_group_id": None})
