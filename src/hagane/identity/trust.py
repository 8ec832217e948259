"""Trusts: a user (trustor) lets another one (trustee) act with some of the trustor's roles on one project.

    trustor ──creates──▶ trust ──the trustee logs in with it──▶ token   (of the trustor, if it says `impersonation`)
                           └──if it allows, the trustee passes it on──▶ trust of less or as much ──▶ ...

What a trust gives is never more than what its first trustor has at that moment (trust_load.py). It ends with its
time, its uses, its trustor or trustee, its project, or the trust that it was passed on from.
"""

from collections.abc import Sequence
from typing import Any

from hagane.api.http import Request, Response, json_response
from hagane.api.resource import REQUIRED, Attr
from hagane.api.service import Route
from hagane.api.types import Bool, Custom, Int, ListOf, Obj, Str
from hagane.errors import Conflict, Forbidden, Invalid
from hagane.identity.assignment import role_ids_of
from hagane.identity.base import UNAUTHORIZED, V3, IdentityResource, could_not_find, enforce, not_delegated, refused
from hagane.identity.expiry import expiry
from hagane.identity.project import Project
from hagane.identity.removal import remove_trusts
from hagane.identity.role import Role
from hagane.identity.role_pick import role_id
from hagane.identity.user import User
from hagane.state import clock
from hagane.state.database import Reader, Row, Tx
from hagane.state.table import Op, Sql

DEEPEST = 3  # times that a trust can be passed on, as the real service allows
_ROLES = ListOf(item=Obj(fields={"id": Str(64, min=1), "name": Str(255, min=1)}))
_USER = Str(255, min=1)
_LINE = """WITH RECURSIVE line(id, up, depth) AS (
  SELECT id, redelegated_trust_id, 0 FROM identity_trust WHERE id = :id
  UNION ALL SELECT t.id, t.redelegated_trust_id, line.depth + 1
  FROM identity_trust t JOIN line ON t.id = line.up WHERE line.depth < 10)
SELECT id FROM line ORDER BY depth"""


class Trust(IdentityResource):
    """A trust. It cannot be changed, only ended."""

    name, plural = "trust", "trusts"
    path = f"{V3}/OS-TRUST/trusts"
    table_name = "identity_trust"
    indexes = ("trustor_user_id", "trustee_user_id", "project_id", "redelegated_trust_id")
    flags = ("trustor_user_id", "trustee_user_id")
    verbs = frozenset({"list", "show", "create", "delete"})
    attrs = (
        Attr("id", Str(), key=True),
        Attr("trustor_user_id", _USER, write="c", default=REQUIRED),
        Attr("trustee_user_id", _USER, write="c", default=REQUIRED),
        Attr("project_id", Str(64, nullable=True), write="c"),
        Attr("impersonation", Bool(), write="c", default=REQUIRED),
        Attr("expires_at", Str(nullable=True), write="c"),  # in rows without a suffix
        Attr("remaining_uses", Int(min=1, loose=False, nullable=True), write="c"),
        Attr("deleted_at", Str(nullable=True), stored=False),
        Attr("redelegated_trust_id", Str(nullable=True)),
        Attr("redelegation_count", Int(min=0, loose=False, nullable=True), write="c"),
        Attr("allow_redelegation", Bool(nullable=True), write="c", stored=False, shown=False),
        Attr("roles", _ROLES, write="c", stored=False, shown=False, default=list),
        Attr("role_ids", Custom(), shown=False),
        Attr("extra", Custom(), default=dict, shown=False),
    )

    def routes(self) -> Sequence[Route]:
        roles = f"{self.path}/{{id}}/roles"
        return [
            *super().routes(),
            # Clients that add their filters to the path with its slash.
            Route("GET", f"{self.path}/", self.list, "trust:list_all", rule=self.rule("list")),
            Route("GET", roles, self.list_roles, "trust:roles", rule="identity:list_roles_for_trust"),
            Route("GET", f"{roles}/{{role}}", self.show_role, "trust:role", rule="identity:get_role_for_trust"),
        ]

    # -- reading -----------------------------------------------------------------------------------------------

    async def find(self, request: Request, reader: Reader, key: str, verb: str = "get") -> Row:
        return await self._find(request, reader, key, self.rule(verb), used_up=verb == "delete")

    async def _find(self, request: Request, reader: Reader, key: str, rule: str, *, used_up: bool = False) -> Row:
        """The trust, if it can be used still, or at least ended. Existence comes first here, as in the real service."""
        rows = await self.table.select(reader, {"id": key}, conditions=[] if used_up else [live()])
        if not rows:
            raise self.not_found(key)
        enforce(request, rule, self.target(rows[0]))
        not_delegated(request.caller, "Delegated tokens cannot manage trusts", trusts=True)
        return rows[0]

    def list_rule(self, request: Request) -> str:
        for flag in ("trustor", "trustee"):
            if request.args.get(f"{flag}_user_id"):
                return f"identity:list_trusts_for_{flag}"
        return "identity:list_trusts"

    def list_target(self, request: Request) -> dict[str, Any]:
        return {"target": {"trust": {name: request.args[name] for name in self.flags if request.args.get(name)}}}

    def visible(self, request: Request) -> list[Sql]:
        not_delegated(request.caller, "Delegated tokens cannot manage trusts", trusts=True)
        return []

    async def present(self, request: Request, rows: list[Row], reader: Reader | None = None) -> list[Any]:
        shown = [row | {"expires_at": row["expires_at"] and row["expires_at"] + "Z"} for row in rows]
        return await super().present(request, shown, reader)

    def one_answer(self, request: Request, view: Any) -> Any:
        roles = {"self": f"{request.base_url}{V3}/{view['id']}/roles", "next": None, "previous": None}
        return {"trust": view | {"roles_links": roles}}

    async def show(self, request: Request) -> Response:
        row = await self.find(request, self.db, request.params["id"])
        return json_response(200, self.one_answer(request, await self._whole(request, row, self.db)))

    async def _whole(self, request: Request, row: Row, reader: Reader) -> Any:
        view = (await self.present(request, [row], reader))[0]
        return view | {"roles": await self._roles(request, row, reader)}

    async def _roles(self, request: Request, row: Row, reader: Reader) -> list[Any]:
        found = await Role.table.select(reader, {"id": row["role_ids"]}, order="name")
        return await Role(self.cloud).present(request, found, reader)

    async def list_roles(self, request: Request) -> Response:
        row = await self._find(request, self.db, request.params["id"], "identity:list_roles_for_trust")
        view = self.one_answer(request, {"id": row["id"]})["trust"]
        return json_response(200, {"roles": await self._roles(request, row, self.db), "links": view["roles_links"]})

    async def show_role(self, request: Request) -> Response:
        row = await self._find(request, self.db, request.params["id"], "identity:get_role_for_trust")
        key = request.params["role"]
        views = await self._roles(request, row | {"role_ids": [r for r in row["role_ids"] if r == key]}, self.db)
        if not views:
            raise could_not_find("role", key)
        return json_response(200, {"role": views[0]})

    # -- making and ending -------------------------------------------------------------------------------------

    async def create(self, request: Request) -> Response:
        body = self.wrap(await request.json())

        async def work(tx: Tx) -> Any:
            row = await self.create_row(request, tx, body)
            return await self._whole(request, row, tx)

        return json_response(201, self.one_answer(request, await self.db.write(work)))

    def enforce_create(self, request: Request, body: dict[str, Any]) -> None:
        enforce(request, self.rule("create"), {"target": {"trust": body}})
        not_delegated(request.caller, "Delegated tokens cannot manage trusts", trusts=True)
        if body.get("project_id") and not body.get("roles"):
            raise refused("At least one role should be specified")
        if request.caller.user_id != body.get("trustor_user_id"):
            raise refused("The authenticated user should match the trustor")

    async def creating(self, request: Request, tx: Tx, row: Row) -> None:
        if await User.table.get(tx, id=row["trustee_user_id"]) is None:
            raise could_not_find("user", row["trustee_user_id"])
        row["role_ids"] = [await role_id(tx, role) for role in row.pop("roles")]
        source = request.caller.more.get("trust_id")
        line = await pedigree(tx, source) if source else []
        if source and not line:
            raise self.not_found(source)
        await self._has_roles(tx, row, line[-1] if line else row)
        row["expires_at"] = expiry(row["expires_at"])
        again = bool(row.pop("allow_redelegation")) and row["redelegation_count"] != 0
        _depth(row, again=again)
        row["redelegated_trust_id"] = source
        if line:
            _fit(row, line, again=again)
        elif row["redelegation_count"] is None:
            row["redelegation_count"] = DEEPEST

    async def _has_roles(self, tx: Tx, row: Row, first: Row) -> None:
        """The roles must be those of whoever is at the start of it all, on that trust's project."""
        if not row["project_id"]:
            mine: set[str] = set()
        elif await Project.table.get(tx, id=row["project_id"]) is None:
            raise could_not_find("project", row["project_id"])
        else:
            mine = await role_ids_of(tx, first["trustor_user_id"], first["project_id"])
        for role in row["role_ids"]:
            if role not in mine:
                raise could_not_find("role", role)

    async def insert(self, tx: Tx, row: Row) -> None:
        if row["expires_at"]:
            same = ("trustor_user_id", "trustee_user_id", "project_id", "impersonation", "expires_at")
            if await self.table.get(tx, **{name: row[name] for name in same}):
                raise self.conflict(row)
        await super().insert(tx, row)

    def conflict(self, row: Row) -> Conflict:
        text = f"Conflict occurred attempting to store trust - Duplicate entry found with ID {row['id']}."
        return Conflict(text)

    async def delete_row(self, request: Request, tx: Tx, row: Row) -> None:
        await remove_trusts(tx, [row["id"]])


def live(*, uses: bool = True) -> Sql:
    """The condition that a trust is in time and, unless told otherwise, has uses left."""
    text = "(identity_trust.expires_at IS NULL OR identity_trust.expires_at > :now)"
    if uses:
        text += " AND (identity_trust.remaining_uses IS NULL OR identity_trust.remaining_uses > 0)"
    return Sql(text, {"now": clock.now()})


async def pedigree(reader: Reader, key: str) -> list[Row]:
    """A trust that is in time and those that it was passed on from, up to the first one. Empty if one of them ended."""
    ids = [row[0] for row in await reader.fetch_tuples(_LINE, {"id": key})]
    rows = {row["id"]: row for row in await Trust.table.select(reader, {"id": ids}, conditions=[live(uses=False)])}
    line = [rows[found] for found in ids if found in rows]
    whole = len(line) == len(ids) and line and line[-1]["redelegated_trust_id"] is None
    return line if whole else []


async def consume(tx: Tx, key: str) -> bool:
    """Take one of a trust's uses; False if none is left."""
    row = await Trust.table.get(tx, id=key)
    if row is None or row["remaining_uses"] is None:
        return row is not None
    left: int = row["remaining_uses"] - 1
    same = {"id": key, "remaining_uses": row["remaining_uses"]}
    return left >= 0 and bool(await Trust.table.update(tx, same, {"remaining_uses": left}))


async def purge_trusts(tx: Tx, before: str) -> int:
    """Forget trusts that expired before a moment. What was passed on from them expired with them."""
    return await Trust.table.delete(tx, {"expires_at": Op("<", before)})


def _depth(row: Row, *, again: bool) -> None:
    """How often the trust can be passed on. Raises Invalid, Forbidden."""
    if not again:
        row["redelegation_count"] = 0
    elif (row["redelegation_count"] or 0) > DEEPEST:
        raise Forbidden(UNAUTHORIZED, detail="a trust cannot be passed on so often")
    elif row["remaining_uses"] is not None:
        raise Invalid("remaining_uses must not be set if redelegation is allowed")


def _fit(row: Row, line: Sequence[Row], *, again: bool) -> None:
    """Make what is passed on no more than what it comes from. Raises Forbidden."""
    left = line[0]["redelegation_count"] - 1
    if again and row["redelegation_count"] not in (None, left):
        raise Forbidden(UNAUTHORIZED, detail="the count of redelegations is not the caller's to choose")
    if row["redelegation_count"] is None:
        row["redelegation_count"] = left
    for parent in line:
        if parent["expires_at"] and not row["expires_at"]:
            row["expires_at"] = parent["expires_at"]
        why = unfit(parent, row)
        if why:
            raise Forbidden(UNAUTHORIZED, detail=why)


def unfit(parent: Row, row: Row) -> str:
    """Why a trust cannot come from another one; empty if it can."""
    if not 0 < (parent["redelegation_count"] or 0) <= DEEPEST:
        return "the trust cannot be passed on"
    if row["remaining_uses"] is not None:
        return "a trust that is passed on has no count of uses"
    if parent["expires_at"] and (not row["expires_at"] or row["expires_at"] > parent["expires_at"]):
        return "it would last longer than the trust it comes from"
    if not set(row["role_ids"]) <= set(parent["role_ids"]):
        return "it would give roles that the trust it comes from does not"
    return "" if parent["impersonation"] or not row["impersonation"] else "the trust does not allow impersonation"
