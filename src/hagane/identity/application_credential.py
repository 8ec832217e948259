"""Application credentials: a user's own secret for one project, with a part of the user's roles there.

The secret is shown once, in the answer that creates it. What a credential may do never exceeds what its user may do at
that moment: roles taken from the user are gone from its tokens. Access rules narrow it to named requests.
"""

from typing import Any
from uuid import uuid4

from hagane.api.http import Request, Response, json_response
from hagane.api.resource import REQUIRED, Attr
from hagane.api.types import BadValue, Bool, Custom, Enum, ListOf, Obj, Str
from hagane.errors import Conflict, Invalid
from hagane.identity.access_rule import AccessRule, access_rules_of
from hagane.identity.base import (
    NAME,
    REF,
    V3,
    IdentityResource,
    could_not_find,
    enforce,
    not_delegated,
    refused,
    role_part,
)
from hagane.identity.expiry import expiry
from hagane.identity.password import Passwords, hash_made, make_secret
from hagane.identity.revocation import revoke
from hagane.identity.role import Role
from hagane.identity.role_pick import role_id, with_implied
from hagane.state.database import Reader, Row, Tx
from hagane.state.table import Sql

_ROLES = ListOf(item=Obj(fields={"id": REF, "name": NAME}))
_RULE = Obj(
    fields={
        "id": REF,
        "path": Str(225, pattern=r"^/"),
        "service": REF,
        "method": Enum(values=("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")),
    }
)


class ApplicationCredential(IdentityResource):
    """A credential of a user for a project."""

    name, plural = "application_credential", "application_credentials"
    kind = "Application Credential"
    path = f"{V3}/users/{{user}}/application_credentials"
    table_name = "identity_application_credential"
    indexes = ("unique user_id, name", "project_id")
    verbs = frozenset({"list", "show", "create", "delete"})
    attrs = (
        Attr("id", Str(), key=True),
        Attr("name", NAME, write="c", default=REQUIRED),
        Attr("description", Str(None, nullable=True), write="c"),
        Attr("project_id", Str()),
        Attr("user_id", Str()),
        Attr("secret", Str(4096, nullable=True), write="c", stored=False, shown=False),
        Attr("secret_hash", Str(), shown=False, sort=False),
        Attr("expires_at", Str(nullable=True), write="c"),  # in rows without a suffix
        Attr("unrestricted", Bool(nullable=True), write="c"),
        Attr("system", Str(nullable=True), stored=False),
        Attr("roles", _ROLES, write="c", stored=False, default=list),
        Attr("access_rules", ListOf(item=_RULE, max=1000), write="c", stored=False, shown=False),
        Attr("role_ids", Custom(), shown=False),
        Attr("access_rule_ids", Custom(), shown=False),  # null: no rules, everything is allowed
    )

    def link(self, request: Request, row: Row) -> str:
        return f"{request.base_url}{V3}/users/{row['user_id']}/application_credentials/{row['id']}"

    # -- reading -----------------------------------------------------------------------------------------------

    def list_target(self, request: Request) -> dict[str, Any]:
        return {"user_id": request.params["user"]}

    def visible(self, request: Request) -> list[Sql]:
        not_delegated(request.caller, credentials=True)
        owner = Sql("identity_application_credential.user_id = :owner", {"owner": request.params["user"]})
        return [owner]

    async def find(self, request: Request, reader: Reader, key: str, verb: str = "get") -> Row:
        """Who asks must own the credential itself, whatever user the path names."""
        row = await self.table.get(reader, id=key)
        enforce(request, self.rule(verb), {"user_id": row["user_id"] if row else request.params["user"]})
        not_delegated(request.caller, credentials=True)
        if row is None:
            raise self.not_found(key)
        return row

    async def present(self, request: Request, rows: list[Row], reader: Reader | None = None) -> list[Any]:
        reader = reader or self.db
        ids = {role_id for row in rows for role_id in row["role_ids"]}
        known = {row["id"]: row for row in await Role.table.select(reader, {"id": list(ids)})}
        for row in rows:
            row["roles"] = [role_part(known[role_id]) for role_id in row["role_ids"] if role_id in known]
        views = await super().present(request, rows, reader)
        for view, row in zip(views, rows, strict=True):
            if row["access_rule_ids"]:
                view["access_rules"] = await access_rules_of(reader, row["access_rule_ids"])
        return views

    # -- creating ----------------------------------------------------------------------------------------------

    async def create(self, request: Request) -> Response:
        body = self.wrap(await request.json())
        self._enforce_managing(request, "create")
        if request.caller.user_id != request.params["user"]:
            raise refused("Cannot create an application credential for another user.")
        row = self.parse_create(request, body)
        chosen = row.pop("secret")
        secret = chosen or make_secret()
        row["secret_hash"] = await self.cloud.use(Passwords).hash(chosen) if chosen else hash_made(secret)

        async def work(tx: Tx) -> Any:
            fresh = dict(row)
            await self._complete(request, tx, fresh)
            await self.insert(tx, fresh)
            return (await self.present(request, [fresh], tx))[0]

        view = await self.db.write(work)
        return json_response(201, self.one_answer(request, view | {"secret": secret}))

    def _enforce_managing(self, request: Request, verb: str) -> None:
        """Asked before anything else: a credential that is not unrestricted manages no credentials."""
        enforce(request, self.rule(verb), {"user_id": request.params["user"]})
        not_delegated(request.caller, credentials=True)
        if request.caller.application_credential_id and request.caller.more.get("restricted", True):
            raise refused(
                "Using method 'application_credential' is not allowed for managing additional application credentials."
            )

    def unknown(self, row: Row, label: str, value: Any) -> None:
        raise BadValue(self.name, {label: value}, f"Additional properties are not allowed ({label!r} was unexpected)")

    async def _complete(self, request: Request, tx: Tx, row: Row) -> None:
        caller = request.caller
        if not caller.project_id:
            raise Invalid("Invalid application credential: a project-scoped token is needed")
        row |= {"user_id": caller.user_id, "project_id": caller.project_id}
        row["expires_at"] = expiry(row["expires_at"])
        row["role_ids"] = await self._roles(request, tx, row.pop("roles"))
        rules = row.pop("access_rules")
        row["access_rule_ids"] = (
            [await self._access_rule(tx, caller.user_id, rule) for rule in rules] if rules else None
        )

    async def _roles(self, request: Request, tx: Tx, wanted: list[dict[str, str]]) -> list[str]:
        """Ids of the named roles with what they imply; all of the caller's if none is named."""
        mine = request.caller.role_ids
        if not wanted:
            return list(mine)
        ids = [await role_id(tx, role) for role in wanted]
        closure = await with_implied(tx, ids)
        if not {*ids, *closure} <= set(mine):
            raise Invalid(
                "Invalid application credential: Cannot create an application credential with unassigned role"
            )
        return closure

    async def _access_rule(self, tx: Tx, user_id: str, rule: dict[str, Any]) -> str:
        """The id of a rule of the user: named, found as equal, or made."""
        table = AccessRule.table
        known = await table.get(tx, id=rule["id"]) if "id" in rule else None
        if known is not None and known["user_id"] != user_id:
            raise could_not_find("Access Rule", rule["id"])
        if known is None:
            missing = [name for name in ("service", "path", "method") if name not in rule]
            if missing and "id" in rule:
                raise could_not_find("Access Rule", rule["id"])
            if missing:
                raise BadValue("access_rules", rule, f"{missing[0]!r} is a required property")
            same = {"user_id": user_id} | {name: rule[name] for name in ("service", "path", "method")}
            known = await table.get(tx, **same)
            if known is None:
                known = {"id": rule.get("id") or uuid4().hex} | same
                await table.insert(tx, known)
        return str(known["id"])

    def conflict(self, row: Row) -> Conflict:
        return Conflict(
            "Conflict occurred attempting to store application_credential - Duplicate entry found with name"
            f" {row['name']}."
        )

    # -- deleting ----------------------------------------------------------------------------------------------

    async def delete_row(self, request: Request, tx: Tx, row: Row) -> None:
        if request.caller.application_credential_id and request.caller.more.get("restricted", True):
            self._enforce_managing(request, "delete")
        await super().delete_row(request, tx, row)
        await revoke(tx, row["id"], kind="")
