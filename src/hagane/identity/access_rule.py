"""Access rules of application credentials: which requests a token of such a credential may make.

A path of a rule is a pattern (glob.py). It is written as the service's own documents write it ("/v2.1/servers"), so our
prefix before it ("/compute") is optional.
"""

from typing import Any

from hagane.api.http import Request
from hagane.api.resource import Attr
from hagane.api.types import Str
from hagane.errors import Forbidden
from hagane.identity.base import V3, IdentityResource, enforce, not_delegated
from hagane.identity.glob import fits
from hagane.state.database import Reader, Row, Tx
from hagane.state.table import Sql

SHOWN = ("id", "service", "path", "method")


class AccessRule(IdentityResource):
    """A rule of a user, shared by all of the user's credentials that name it. Made with a credential."""

    name, plural = "access_rule", "access_rules"
    kind = "Access Rule"
    path = f"{V3}/users/{{user}}/access_rules"
    table_name = "identity_access_rule"
    indexes = ("unique user_id, service, path, method",)
    flags = ("service", "path", "method")
    verbs = frozenset({"list", "show", "delete"})
    attrs = (
        Attr("id", Str(), key=True),
        Attr("service", Str()),
        Attr("path", Str()),
        Attr("method", Str()),
        Attr("user_id", Str(), shown=False),
    )

    def link(self, request: Request, row: Row) -> str:
        return f"{request.base_url}{V3}/users/{row['user_id']}/access_rules/{row['id']}"

    def list_target(self, request: Request) -> dict[str, Any]:
        return _of(request.params["user"])

    def visible(self, request: Request) -> list[Sql]:
        not_delegated(request.caller, credentials=True)
        return [Sql("identity_access_rule.user_id = :owner", {"owner": request.params["user"]})]

    async def find(self, request: Request, reader: Reader, key: str, verb: str = "get") -> Row:
        enforce(request, self.rule(verb), _of(request.params["user"]))
        not_delegated(request.caller, credentials=True)
        row = await self.table.get(reader, id=key, user_id=request.params["user"])
        if row is None:
            raise self.not_found(key)
        return row

    async def deleting(self, request: Request, tx: Tx, row: Row) -> None:
        used = (
            "SELECT 1 FROM identity_application_credential WHERE user_id = :user AND REPLACE(access_rule_ids, :id, '')"
        )
        params = {"user": row["user_id"], "id": f'"{row["id"]}"'}
        if await tx.fetch_tuples(used + " <> access_rule_ids LIMIT 1", params):
            raise Forbidden("May not delete access rule in use")


def _of(user_id: str) -> dict[str, Any]:
    return {"user_id": user_id, "target": {"user": {"id": user_id}}}


async def access_rules_of(reader: Reader, ids: list[str] | None) -> list[Row] | None:
    """The rules of a credential in the form that is answered, in the order they were given."""
    if ids is None:
        return None
    rows = {row["id"]: row for row in await AccessRule.table.select(reader, {"id": ids})} if ids else {}
    return [{name: rows[key][name] for name in SHOWN} for key in ids if key in rows]


def allows(rules: list[Row], request: Request) -> bool:
    """Whether one of the rules names this request's service, method and path."""
    service = request.service
    paths = (request.path, request.path.removeprefix(service.prefix))
    mine = (rule for rule in rules if rule["service"] == service.type and rule["method"] == request.method)
    return any(fits(rule["path"], path) for rule in mine for path in paths)
