"""Users: who they are, and the passwords that prove it.

A password is hashed before the transaction, since hashing takes long and a transaction must not; the policy is asked
first, so that nobody without the right can make us hash.
"""

from collections.abc import Sequence
from typing import Any

from hagane.api.http import Request, Response, empty, json_response
from hagane.api.listing import Page
from hagane.api.resource import REQUIRED, Attr
from hagane.api.service import Route
from hagane.api.types import Bool, Custom, Int, Obj, Str
from hagane.errors import Invalid, Unauthenticated
from hagane.identity.base import NAME, REF, V3, IdentityResource, could_not_find, enforce, filters
from hagane.identity.compliance import change, check_own, count
from hagane.identity.domain import Domain
from hagane.identity.domain_config import check_password, list_limit
from hagane.identity.options import OF_USERS, options
from hagane.identity.password import Passwords
from hagane.identity.project import Project
from hagane.identity.removal import remove_users
from hagane.identity.revocation import revoke
from hagane.identity.throttle import Throttle, TooMany, address_of
from hagane.identity.tree import projects_of
from hagane.state.database import Reader, Row, Tx

_DENIED = "The request you have made requires authentication."
_PASSWORD = Str(4096, nullable=True)
_CHANGE = Obj(
    fields={"original_password": Str(None), "password": Str(4096)},
    required=("original_password", "password"),
    open=True,
)


class User(IdentityResource):
    """A user. The password is kept as a hash and is never answered."""

    name, plural = "user", "users"
    path = f"{V3}/users"
    table_name = "identity_user"
    indexes = ("unique domain_id, name", "default_project_id")
    flags = ("name", "enabled", "domain_id")
    fixed = {"domain_id": Invalid("Cannot change Domain ID")}
    attrs = (
        Attr("id", Str(), key=True),
        Attr("name", NAME, write="cu", default=REQUIRED),
        Attr("domain_id", REF, write="c"),
        Attr("enabled", Bool(loose=True), write="cu", default=True),
        Attr("default_project_id", Str(None, nullable=True), write="cu"),
        Attr("password", _PASSWORD, write="cu", stored=False, shown=False),
        Attr("password_hash", Str(), shown=False, sort=False),
        Attr("password_expires_at", Str()),
        Attr("failed_logins", Int(), shown=False, sort=False),
        Attr("failed_at", Str(), shown=False, sort=False),
        Attr("options", options(OF_USERS), write="cu", default=dict),
        Attr("extra", Custom(), default=dict, shown=False),
    )

    def routes(self) -> Sequence[Route]:
        one = f"{self.path}/{{id}}"
        return [
            *super().routes(),
            Route("POST", f"{one}/password", self.change_password, "user:password", auth=False, status=204),
            Route("GET", f"{one}/projects", self.projects, "user:projects", rule="identity:list_user_projects"),
            Route("DELETE", f"{one}/tokens", self.end_tokens, "user:tokens", rule="identity:revoke_tokens_for_user",
                  status=204),
        ]  # fmt: skip

    # -- storing -----------------------------------------------------------------------------------------------

    async def create(self, request: Request) -> Response:
        body = self.wrap(await request.json())
        self.enforce_create(request, body)
        hashed = await self._hashed(body, body.get("domain_id") or request.caller.domain_id or "default")

        async def work(tx: Tx) -> Any:
            row = await self.create_row(request, tx, body)
            if hashed is not None:
                changes = await change(tx, row, hashed, own=False)
                await self.table.update(tx, {"id": row["id"]}, changes)
                row |= changes
            return (await self.present(request, [row], tx))[0]

        return json_response(201, self.one_answer(request, await self.db.write(work)))

    async def update(self, request: Request) -> Response:
        body = self.wrap(await request.json())
        row = await self.find(request, self.db, request.params["id"], "update")
        hashed = await self._hashed(body, row["domain_id"])

        async def work(tx: Tx) -> Any:
            row = await self.update_row(request, tx, request.params["id"], body)
            if "password" in body:
                changes = await change(tx, row, hashed, own=False)
                await self.table.update(tx, {"id": row["id"]}, changes)
                row |= changes
                await revoke(tx, row["id"])
            return (await self.present(request, [row], tx))[0]

        return json_response(200, self.one_answer(request, await self.db.write(work)))

    async def _hashed(self, body: dict[str, Any], domain_id: Any) -> str | None:
        password = _PASSWORD.check("password", body.get("password"))
        await check_password(self.db, str(domain_id), password)
        return None if password is None else await self.cloud.use(Passwords).hash(password)

    async def insert(self, tx: Tx, row: Row) -> None:
        row.pop("password", None)
        await super().insert(tx, row)

    async def creating(self, request: Request, tx: Tx, row: Row) -> None:
        await super().creating(request, tx, row)
        row["domain_id"] = row["domain_id"] or request.caller.domain_id or "default"
        if await Domain.table.get(tx, id=row["domain_id"], is_domain=True) is None:
            raise could_not_find("domain", row["domain_id"])
        await self._default_project(tx, row)

    async def updating(self, request: Request, tx: Tx, old: Row, changes: Row) -> None:
        await super().updating(request, tx, old, changes)
        await self._default_project(tx, changes)
        if old["enabled"] and changes.get("enabled") is False:
            await revoke(tx, old["id"])

    async def _default_project(self, reader: Reader, row: Row) -> None:
        wanted = row.get("default_project_id")
        if wanted and await Project.table.get(reader, id=wanted, is_domain=True):
            raise Invalid(f"User's default project ID cannot be a domain ID: {wanted}")

    async def most(self, request: Request) -> int | None:
        return await list_limit(self.db, request)

    async def delete_row(self, request: Request, tx: Tx, row: Row) -> None:
        await remove_users(tx, [row["id"]])

    async def present(self, request: Request, rows: list[Row], reader: Reader | None = None) -> list[Any]:
        views = await super().present(request, rows, reader)
        for view in views:
            if view["default_project_id"] is None:
                del view["default_project_id"]
        return views

    # -- what a user does --------------------------------------------------------------------------------------

    async def change_password(self, request: Request) -> Response:
        """By the user, who proves it with the old password; no token is needed."""
        body = await request.json()
        given = body.get("user") if isinstance(body, dict) else None
        given = _CHANGE.check("", given if given is not None else {})
        key, passwords = request.params["id"], self.cloud.use(Passwords)
        row = await self.table.get(self.db, id=key)
        try:
            async with self.cloud.use(Throttle).attempt(key, address_of(request)):
                right = await passwords.verify(given["original_password"], row["password_hash"] if row else None)
                locked = row is not None and await count(self.db, row, right=right)
                if row is None or not right or not row["enabled"] or locked:
                    raise Unauthenticated(_DENIED)
        except TooMany as error:
            raise Unauthenticated(_DENIED) from error
        if row["options"].get("lock_password"):
            raise Invalid(
                "You cannot change your password at this time due to password policy disallowing password changes."
                " Please contact your administrator to reset your password."
            )
        await check_own(self.db, passwords, row, given["password"])
        hashed = await passwords.hash(given["password"])

        async def work(tx: Tx) -> None:
            same = {"id": key, "password_hash": row["password_hash"]}
            if not await self.table.update(tx, same, await change(tx, row, hashed, own=True)):
                raise Unauthenticated(_DENIED)
            await revoke(tx, key)

        await self.db.write(work)
        return empty(204)

    async def _known(self, request: Request, rule: str) -> Row:
        key = request.params["id"]
        row = await self.table.get(self.db, id=key)
        enforce(request, rule, {"user_id": key} | (self.target(row) if row else {"target": {}}))
        if row is None:
            raise self.not_found(key)
        return row

    async def projects(self, request: Request) -> Response:
        """The projects that the user has a role on."""
        row = await self._known(request, "identity:list_user_projects")
        return await projects_answer(request, Project(self.cloud), row["id"])

    async def end_tokens(self, request: Request) -> Response:
        row = await self._known(request, "identity:revoke_tokens_for_user")
        await self.db.write(lambda tx: revoke(tx, row["id"]))
        return empty(204)


async def projects_answer(request: Request, projects: Project, user_id: str) -> Response:
    """A list of a user's projects, filtered by the query."""
    ids = await projects_of(projects.db, user_id)
    where = {"id": list(ids), "is_domain": False}
    rows = await Project.table.select(
        projects.db, where, conditions=filters(request, projects), order="identity_project.name"
    )
    return json_response(
        200, projects.list_answer(request, await projects.present(request, rows), Page(None, None, []))
    )
