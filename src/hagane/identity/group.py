"""Groups of users, and who is in them."""

from collections.abc import Sequence
from typing import Any

from hagane.api.http import Request, Response, empty, json_response
from hagane.api.listing import Page
from hagane.api.resource import REQUIRED, Attr
from hagane.api.service import Route
from hagane.api.types import Custom, Str
from hagane.errors import Invalid, NotFound
from hagane.identity.base import CHANGED, REF, SHORT_NAME, V3, IdentityResource, could_not_find, enforce, filters, put
from hagane.identity.domain import Domain
from hagane.identity.domain_config import list_limit
from hagane.identity.removal import remove_groups
from hagane.identity.user import User
from hagane.state.database import Reader, Row, Tx
from hagane.state.table import Column, Sql, Table

MEMBER = Table("identity_member", (Column("user_id", key=True), Column("group_id", key=True)), ("group_id",))


class Group(IdentityResource):
    """A group. What is granted to it is granted to its members."""

    name, plural = "group", "groups"
    path = f"{V3}/groups"
    table_name = "identity_group"
    indexes = ("unique domain_id, name",)
    flags = ("name", "domain_id")
    fixed = {"domain_id": Invalid("Cannot change Domain ID")}
    sought = frozenset({"delete"})
    attrs = (
        Attr("id", Str(), key=True),
        Attr("name", SHORT_NAME, write="cu", default=REQUIRED),
        Attr("domain_id", REF, write="c"),
        Attr("description", Str(None, nullable=True), write="cu", default=""),
        Attr("extra", Custom(), default=dict, shown=False),
    )

    def routes(self) -> Sequence[Route]:
        users = f"{self.path}/{{id}}/users"
        one = users + "/{user}"
        return [
            *super().routes(),
            Route("GET", users, self.users, "group:users", rule="identity:list_users_in_group"),
            Route("PUT", one, self.add, "group:add", rule="identity:add_user_to_group", status=204),
            Route("GET", one, self.check, "group:check", rule="identity:check_user_in_group", status=204),
            Route("DELETE", one, self.remove, "group:remove", rule="identity:remove_user_from_group", status=204),
            Route("GET", f"{V3}/users/{{id}}/groups", self.of_user, "user:groups",
                  rule="identity:list_groups_for_user"),
        ]  # fmt: skip

    def list_target(self, request: Request) -> dict[str, Any]:
        domain = request.caller.domain_id
        return {"target": {"group": {"domain_id": domain}}} if domain else {}

    async def creating(self, request: Request, tx: Tx, row: Row) -> None:
        await super().creating(request, tx, row)
        row["domain_id"] = row["domain_id"] or request.caller.domain_id or "default"
        if await Domain.table.get(tx, id=row["domain_id"], is_domain=True) is None:
            raise could_not_find("domain", row["domain_id"])

    async def most(self, request: Request) -> int | None:
        return await list_limit(self.db, request)

    async def delete_row(self, request: Request, tx: Tx, row: Row) -> None:
        await remove_groups(tx, [row["id"]])

    # -- members -----------------------------------------------------------------------------------------------

    async def users(self, request: Request) -> Response:
        key = request.params["id"]
        row = await self.table.get(self.db, id=key)
        enforce(request, "identity:list_users_in_group", self.target(row) if row else None)
        if row is None:
            raise self.not_found(key)
        resource = User(self.cloud)
        member = Sql(
            "identity_user.id IN (SELECT user_id FROM identity_member WHERE group_id = :group)", {"group": key}
        )
        conditions = [member, *filters(request, resource), *resource.visible(request)]
        rows = await User.table.select(self.db, conditions=conditions, order="identity_user.id")
        page = Page(None, None, [])
        return json_response(200, resource.list_answer(request, await resource.present(request, rows), page))

    async def of_user(self, request: Request) -> Response:
        key = request.params["id"]
        user = await User.table.get(self.db, id=key)
        enforce(request, "identity:list_groups_for_user", {"user_id": key} | {"target": {"user": user} if user else {}})
        if user is None:
            raise could_not_find("user", key)
        member = Sql("identity_group.id IN (SELECT group_id FROM identity_member WHERE user_id = :user)", {"user": key})
        conditions = [member, *filters(request, self), *self.visible(request)]
        rows = await self.table.select(self.db, conditions=conditions, order="identity_group.id")
        views = [view | {"membership_expires_at": None} for view in await self.present(request, rows)]
        return json_response(200, self.list_answer(request, views, Page(None, None, [])))

    async def _pair(self, request: Request, reader: Reader, rule: str) -> dict[str, str]:
        """The membership that a path names, after the policy. Raises Forbidden, NotFound."""
        group_id, user_id = request.params["id"], request.params["user"]
        group = await self.table.get(reader, id=group_id)
        user = await User.table.get(reader, id=user_id)
        known = ({"group": group} if group else {}) | ({"user": user} if user else {})
        enforce(request, rule, {"target": known})
        if group is None:
            raise self.not_found(group_id)
        if user is None:
            raise could_not_find("user", user_id)
        return {"user_id": user_id, "group_id": group_id}

    async def add(self, request: Request) -> Response:
        async def work(tx: Tx) -> None:
            pair = await self._pair(request, tx, "identity:add_user_to_group")
            if await MEMBER.get(tx, **pair) is None:
                await MEMBER.insert(tx, pair)
                tx.notify(f"{CHANGED}:{pair['user_id']}")

        await put(self.db, work)
        return empty(204)

    async def check(self, request: Request) -> Response:
        pair = await self._pair(request, self.db, "identity:check_user_in_group")
        if await MEMBER.get(self.db, **pair) is None:
            raise self._no_member(pair)
        return empty(204)

    async def remove(self, request: Request) -> Response:
        async def work(tx: Tx) -> None:
            pair = await self._pair(request, tx, "identity:remove_user_from_group")
            if not await MEMBER.delete(tx, pair):
                raise self._no_member(pair)
            tx.notify(f"{CHANGED}:{pair['user_id']}")

        await self.db.write(work)
        return empty(204)

    def _no_member(self, pair: dict[str, str]) -> Exception:
        return NotFound(f"User '{pair['user_id']}' not found in group '{pair['group_id']}'")
