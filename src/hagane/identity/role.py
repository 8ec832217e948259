"""Roles, and which role implies which: who holds the prior role holds the implied one.

admin ──▶ manager ──▶ member ──▶ reader          service stands alone
"""

from collections.abc import Sequence
from typing import Any

from hagane.api.http import Request, Response, empty, json_response
from hagane.api.resource import REQUIRED, Attr
from hagane.api.service import Route
from hagane.api.types import Custom, Str
from hagane.errors import Conflict, Forbidden, Invalid, NotFound
from hagane.identity.base import CHANGED, NAME, REF, V3, IdentityResource, could_not_find, enforce
from hagane.identity.domain import Domain
from hagane.identity.options import IMMUTABLE, options
from hagane.identity.removal import remove_roles
from hagane.state.database import Reader, Row, Tx
from hagane.state.table import Column, Sql, Table

IMPLIED = Table(
    "identity_implied_role", (Column("prior_id", key=True), Column("implied_id", key=True)), ("implied_id",)
)
GLOBAL = ""
"""The domain_id that rows of global roles keep; answered as null."""
NEVER_IMPLIED = ("admin",)


class Role(IdentityResource):
    """A role; with a domain it can be given only there, and shows in no token: it stands for what it implies."""

    name, plural = "role", "roles"
    path = f"{V3}/roles"
    table_name = "identity_role"
    indexes = ("unique domain_id, name",)
    flags = ("name", "domain_id")
    blank = ("domain_id",)
    fixed = {"domain_id": Invalid("Update of `domain_id` is not allowed.")}
    guarded = True
    attrs = (
        Attr("id", Str(), key=True),
        Attr("name", NAME, write="cu", default=REQUIRED),
        Attr("domain_id", Str(64, min=1, pattern=REF.pattern, nullable=True), write="c"),
        Attr("description", Str(None, nullable=True), write="cu"),
        Attr("options", options(IMMUTABLE), write="cu", default=dict),
        Attr("extra", Custom(), default=dict, shown=False),
    )

    def routes(self) -> Sequence[Route]:
        many = f"{self.path}/{{id}}/implies"
        one = many + "/{implied}"
        return [
            *super().routes(),
            Route("GET", many, self.implications, "role:implications", rule="identity:list_implied_roles"),
            Route("PUT", one, self.imply, "role:imply", rule="identity:create_implied_role", status=201),
            Route("GET", one, self.implication, "role:implication", rule="identity:get_implied_role"),
            Route("HEAD", one, self.check, "role:check_implication", rule="identity:check_implied_role", status=204),
            Route("DELETE", one, self.unimply, "role:unimply", rule="identity:delete_implied_role", status=204),
            Route("GET", f"{V3}/role_inferences", self.inferences, "role:inferences",
                  rule="identity:list_role_inference_rules"),
        ]  # fmt: skip

    # -- a role ------------------------------------------------------------------------------------------------

    async def find(self, request: Request, reader: Reader, key: str, verb: str = "get") -> Row:
        """The row of a key. Whoever asks is told of a role that is not there; the refusal is of one that is."""
        row = await self.table.get(reader, id=key)
        if row is None:
            raise self.not_found(key)
        kind = "domain_role" if row["domain_id"] else "role"
        enforce(request, f"identity:{verb}_{kind}", {"role_id": key} | self.target(row))
        return row

    def enforce_create(self, request: Request, body: dict[str, Any]) -> None:
        kind = "domain_role" if body.get("domain_id") else "role"
        enforce(request, f"identity:create_{kind}", {"target": {"role": body}})

    def list_rule(self, request: Request) -> str:
        return "identity:list_domain_roles" if request.args.get("domain_id") else "identity:list_roles"

    def visible(self, request: Request) -> list[Sql]:
        """Global roles are everybody's; roles of a domain are listed by naming it."""
        return []

    def only(self, request: Request) -> Sequence[Sql]:
        return () if request.args.get("domain_id") else (Sql("identity_role.domain_id = ''"),)

    async def creating(self, request: Request, tx: Tx, row: Row) -> None:
        await super().creating(request, tx, row)
        row["domain_id"] = row["domain_id"] or GLOBAL
        if row["domain_id"] and await Domain.table.get(tx, id=row["domain_id"], is_domain=True) is None:
            raise could_not_find("domain", row["domain_id"])

    async def updating(self, request: Request, tx: Tx, old: Row, changes: Row) -> None:
        await super().updating(request, tx, old, changes)
        tx.notify(CHANGED)

    async def delete_row(self, request: Request, tx: Tx, row: Row) -> None:
        await remove_roles(tx, [row["id"]])

    # -- implications ------------------------------------------------------------------------------------------

    def _brief(self, request: Request, row: Row) -> dict[str, Any]:
        return {"id": row["id"], "name": row["name"], "links": {"self": self.link(request, row)}}

    async def _both(self, request: Request, reader: Reader, rule: str) -> tuple[Row, Row]:
        """The roles that a path names. Raises NotFound, then Forbidden."""
        rows = []
        for name in ("id", "implied"):
            row = await self.table.get(reader, id=request.params[name])
            if row is None:
                raise self.not_found(request.params[name])
            rows.append(row)
        target = {"prior_role": self.shown(rows[0]), "implied_role": self.shown(rows[1])}
        enforce(request, rule, {"target": target})
        return rows[0], rows[1]

    def _answer(self, request: Request, status: int, prior: Row, implied: Any) -> Response:
        inference = {"prior_role": self._brief(request, prior), "implies": implied}
        return json_response(
            status, {"role_inference": inference, "links": {"self": f"{request.base_url}{request.path}"}}
        )

    async def implications(self, request: Request) -> Response:
        prior = await self.table.get(self.db, id=request.params["id"])
        if prior is None:
            raise self.not_found(request.params["id"])
        enforce(request, "identity:list_implied_roles", {"target": {"prior_role": self.shown(prior)}})
        condition = Sql(
            "identity_role.id IN (SELECT implied_id FROM identity_implied_role WHERE prior_id = :prior)",
            {"prior": prior["id"]},
        )
        rows = await self.table.select(self.db, conditions=[condition], order="name")
        return self._answer(request, 200, prior, [self._brief(request, row) for row in rows])

    async def imply(self, request: Request) -> Response:
        async def work(tx: Tx) -> tuple[Row, Row]:
            prior, implied = await self._both(request, tx, "identity:create_implied_role")
            if implied["name"] in NEVER_IMPLIED:
                raise Forbidden(f"{implied['id']} cannot be an implied roles.")
            if not prior["domain_id"] and implied["domain_id"]:
                raise Forbidden(f"{implied['id']} cannot be an implied roles.")
            pair = {"prior_id": prior["id"], "implied_id": implied["id"]}
            if await IMPLIED.get(tx, **pair):
                raise Conflict("Conflict occurred attempting to store implied_role - Duplicate entry.")
            await IMPLIED.insert(tx, pair)
            tx.notify(CHANGED)
            return prior, implied

        prior, implied = await self.db.write(work)
        return self._answer(request, 201, prior, self._brief(request, implied))

    async def implication(self, request: Request) -> Response:
        prior, implied = await self._both(request, self.db, "identity:get_implied_role")
        await self._assert_implied(self.db, prior, implied)
        return self._answer(request, 200, prior, self._brief(request, implied))

    async def check(self, request: Request) -> Response:
        await self._assert_implied(self.db, *await self._both(request, self.db, "identity:check_implied_role"))
        return empty(204)

    async def _assert_implied(self, reader: Reader, prior: Row, implied: Row) -> None:
        if await IMPLIED.get(reader, prior_id=prior["id"], implied_id=implied["id"]) is None:
            raise NotFound(f"{prior['id']} does not imply {implied['id']}.")

    async def unimply(self, request: Request) -> Response:
        async def work(tx: Tx) -> None:
            prior, implied = await self._both(request, tx, "identity:delete_implied_role")
            await self._assert_implied(tx, prior, implied)
            await IMPLIED.delete(tx, {"prior_id": prior["id"], "implied_id": implied["id"]})
            tx.notify(CHANGED)

        await self.db.write(work)
        return empty(204)

    async def inferences(self, request: Request) -> Response:
        enforce(request, "identity:list_role_inference_rules", {})
        rules: dict[str, list[str]] = {}
        for row in await IMPLIED.select(self.db, order="prior_id, implied_id"):
            rules.setdefault(row["prior_id"], []).append(row["implied_id"])
        roles = {row["id"]: self._brief(request, row) for row in await self.table.select(self.db)}
        found = [
            {"prior_role": roles[prior], "implies": [roles[implied] for implied in ids]} for prior, ids in rules.items()
        ]
        return json_response(200, {"role_inferences": found})
