"""Security groups: named sets of rules that ports join; by default stateful. Each project has one called `default`.

The default group comes into being when its project first looks at its groups, makes one, or makes a port. It lets its
members talk to each other and everything out. It is this row that the compiler turns into a port group; a change of a
group or of its rules wakes "security_group" with the group's id.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from hagane.api.http import Request, Response
from hagane.identity.project import Project
from hagane.network import default_rule_row, log_row, quota, rbac, security_group_row
from hagane.network.attr import Given, Special
from hagane.network.base import NetResource
from hagane.network.errors import error
from hagane.network.permit import Target
from hagane.network.present import Made
from hagane.network.security_group_row import RULE, view_rule
from hagane.network.shared_filter import by_shared
from hagane.state import work
from hagane.state.database import Reader, Row, Tx


class SecurityGroup(NetResource):
    name, plural, missing, quota = "security_group", "security_groups", "SecurityGroupNotFound", "security_group"
    rbac = "security_group"
    attrs, indexes = security_group_row.ATTRS, security_group_row.INDEXES
    special: ClassVar[Mapping[str, Special]] = {"shared": by_shared("security_group", "security_group.id")}

    async def computed(self, request: Request, reader: Reader, rows: Sequence[Row]) -> list[Made]:
        ids = [row["id"] for row in rows]
        rules: dict[str, list[Made]] = {group: [] for group in ids}
        for rule in await RULE.select(reader, {"security_group_id": ids}):
            rules[rule["security_group_id"]].append(view_rule(rule))
        shared = await rbac.shared_with(reader, "security_group", ids, request.caller.project_id)
        return [{"security_group_rules": rules[group], "shared": group in shared} for group in ids]

    async def targets_of(self, request: Request, reader: Reader, rows: Sequence[Row]) -> list[Target]:
        targets = await super().targets_of(request, reader, rows)
        await self.with_shared(request, reader, rows, targets)
        return targets

    async def list(self, request: Request) -> Response:
        """A project's default group exists from the moment it could be seen: the caller's, or that which it names."""
        project = await self._looked_at(request)
        if project and await security_group_row.default_id(self.db, project) is None:

            async def work_(tx: Tx) -> None:
                await security_group_row.ensure_default(tx, project)

            await self.db.write(work_)
        return await super().list(request)

    async def _looked_at(self, request: Request) -> str | None:
        asked = request.args.get("project_id") or request.args.get("tenant_id")
        if asked and self.sees_all(request) and await Project.table.get(self.db, id=asked):
            return asked
        return request.caller.project_id

    async def making(self, request: Request, tx: Tx, row: Row, given: Given) -> None:
        if row["name"].lower() == "default":
            raise error("SecurityGroupDefaultAlreadyExists")
        await security_group_row.ensure_default(tx, row["project_id"])
        row["is_default"] = False

    async def made(self, request: Request, tx: Tx, row: Row) -> None:
        rules = await security_group_row.first_rules(tx, row)
        await security_group_row.store_rules(tx, row, rules, limited=True)
        await work.wake(tx, "security_group", row["id"], request_id=request.id)

    async def changing(self, request: Request, tx: Tx, old: Row, changes: Row) -> None:
        if "name" in changes and old["is_default"] and changes["name"] != old["name"]:
            raise error("SecurityGroupCannotUpdateDefault")
        if changes.get("name", "").lower() == "default" and not old["is_default"]:
            raise error("SecurityGroupDefaultAlreadyExists")
        if "stateful" in changes and changes["stateful"] != old["stateful"]:
            await self._refuse_in_use(tx, old)
        await work.wake(tx, "security_group", old["id"], request_id=request.id)

    async def _refuse_in_use(self, tx: Tx, row: Row) -> None:
        sql = "SELECT 1 FROM port_security_group WHERE security_group_id = :id LIMIT 1"
        if await tx.fetch_tuples(sql, {"id": row["id"]}):
            raise error("SecurityGroupInUse", id=row["id"])

    async def unmaking(self, request: Request, tx: Tx, row: Row) -> None:
        await self._refuse_in_use(tx, row)
        if row["is_default"] and not self.sees_all(request):
            raise error("SecurityGroupCannotRemoveDefault")
        await self.remove_rules(request, tx, row)
        await rbac.forget(tx, "security_group", row["id"])
        await log_row.group_gone(tx, row["id"], request_id=request.id)
        await work.wake(tx, "security_group", row["id"], request_id=request.id)

    async def remove_rules(self, request: Request, tx: Tx, row: Row) -> None:
        """The group's own rules, and those of other groups that name it as their remote one."""
        for rule in await RULE.select(tx, {"remote_group_id": row["id"]}):
            if rule["security_group_id"] != row["id"]:
                await RULE.delete(tx, {"id": rule["id"]})
                await quota.charge(tx, rule["project_id"], "security_group_rule", -1)
                await work.wake(tx, "security_group", rule["security_group_id"], request_id=request.id)
        await default_rule_row.TEMPLATE.delete(tx, {"remote_group_id": row["id"]})
        await security_group_row.remove_rules(tx, row["id"])
