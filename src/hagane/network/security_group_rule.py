"""Rules of security groups: what may come in or go out. A rule never changes; it is made and deleted.

Exact refusals matter here: clients and test suites match on the sentences.
"""

from collections.abc import Sequence

from hagane.api.http import Request, Response, json_response
from hagane.network import security_group_row
from hagane.network.address_group import AddressGroup
from hagane.network.attr import Given
from hagane.network.base import NetResource
from hagane.network.errors import error
from hagane.network.permit import Target
from hagane.network.present import Made
from hagane.network.rule_check import check, refuse_duplicate, sameness
from hagane.network.rule_value import normalized
from hagane.network.security_group import SecurityGroup
from hagane.network.security_group_row import GROUP
from hagane.state import clock, work
from hagane.state.database import Reader, Row, Tx


class SecurityGroupRule(NetResource):
    name, plural, missing = "security_group_rule", "security_group_rules", "SecurityGroupRuleNotFound"
    quota = "security_group_rule"
    verbs = frozenset({"list", "show", "create", "delete"})
    attrs, indexes = security_group_row.RULE_ATTRS, security_group_row.RULE_INDEXES

    def visible_to(self, request: Request) -> list[str]:
        """Rules of the caller's groups, and of groups shared with it."""
        own = "security_group_rule.security_group_id IN (SELECT id FROM security_group WHERE project_id = :me)"
        return [*super().visible_to(request), own]

    async def targets_of(self, request: Request, reader: Reader, rows: Sequence[Row]) -> list[Target]:
        targets = await super().targets_of(request, reader, rows)
        ids = list({row["security_group_id"] for row in rows})
        owners = {group["id"]: group["project_id"] for group in await GROUP.select(reader, {"id": ids})}
        for row, target in zip(rows, targets, strict=True):
            if row["security_group_id"] not in owners:
                raise error("SecurityGroupNotFound", id=row["security_group_id"])
            target["security_group:project_id"] = owners[row["security_group_id"]]
        return targets

    def stamp(self, row: Row) -> None:
        super().stamp(row)
        row["tags"] = []

    async def create(self, request: Request) -> Response:
        bodies, bulk = self.unwrap(await request.json(), bulk=True)
        parsed = [self.new_row(request, body) for body in bodies]
        if len({row["security_group_id"] for row, _ in parsed}) > 1:
            raise error("SecurityGroupNotSingleGroupRules")
        if len({sameness(row) for row, _ in parsed}) < len(parsed):
            raise error("DuplicateSecurityGroupRuleInPost")

        async def act(tx: Tx) -> Sequence[Made]:
            rows = [await self.make(request, tx, row, given) for row, given in parsed]
            return await self.views(request, tx, rows)

        views = await self.db.write(act)
        return json_response(201, {self.plural: views} if bulk else {self.name: views[0]})

    async def making(self, request: Request, tx: Tx, row: Row, given: Given) -> None:
        check(row)
        group = await SecurityGroup(self.cloud).find(request, tx, row["security_group_id"])
        if row["remote_group_id"]:
            await SecurityGroup(self.cloud).find(request, tx, row["remote_group_id"])
        if row["remote_address_group_id"]:
            await AddressGroup(self.cloud).find(request, tx, row["remote_address_group_id"])
        await refuse_duplicate(tx, row)
        row["normalized_cidr"] = normalized(row["remote_ip_prefix"])
        row["belongs_to_default_sg"] = group["is_default"]
        await self._touch(request, tx, group)

    async def unmaking(self, request: Request, tx: Tx, row: Row) -> None:
        group = await GROUP.get(tx, id=row["security_group_id"])
        if group is not None:
            await self._touch(request, tx, group)

    async def _touch(self, request: Request, tx: Tx, group: Row) -> None:
        changes = {"generation": group["generation"] + 1, "updated_at": clock.now()}
        await GROUP.update(tx, {"id": group["id"]}, changes)
        await work.wake(tx, "security_group", group["id"], request_id=request.id)
