"""Domains: the roots of the trees of projects, shown without what only projects have."""

from typing import Any
from uuid import UUID

from hagane.api.http import Request
from hagane.api.resource import REQUIRED, Attr
from hagane.api.types import Bool, Custom, Str
from hagane.errors import Conflict, Forbidden, Invalid
from hagane.identity.base import CHANGED, SHORT_NAME, V3, IdentityResource
from hagane.identity.options import IMMUTABLE, options
from hagane.identity.project import ROOT
from hagane.identity.project_tags import TAGS
from hagane.identity.removal import hooks, remove_domain
from hagane.identity.revocation import revoke
from hagane.state.database import Row, Tx
from hagane.state.table import Sql


class Domain(IdentityResource):
    """A domain. It must be disabled before it can be deleted, and takes everything in it along."""

    name, plural = "domain", "domains"
    path = f"{V3}/domains"
    table_name = "identity_project"
    flags = ("name", "enabled")
    within = {"is_domain": True}
    guarded = True
    sought = frozenset({"update", "delete"})
    attrs = (
        Attr("id", Str(), key=True),
        Attr("name", SHORT_NAME, write="cu", default=REQUIRED),
        Attr("description", Str(None, nullable=True), write="cu", default=""),
        Attr("enabled", Bool(loose=True), write="cu", default=True),
        Attr("tags", TAGS, write="cu", default=list),
        Attr("options", options(IMMUTABLE), write="cu", default=dict),
        Attr("explicit_domain_id", Str(64, nullable=True), write="c", stored=False, shown=False),
        Attr("domain_id", Str(), shown=False, sort=False),
        Attr("is_domain", Bool(), shown=False, sort=False),
        Attr("extra", Custom(), default=dict, shown=False),
    )

    def list_target(self, request: Request) -> dict[str, Any]:
        return {"target": {"domain": {"id": request.caller.domain_id}}} if request.caller.domain_id else {}

    def visible(self, request: Request) -> list[Sql]:
        own = request.caller.domain_id
        return [Sql("identity_project.id = :own_domain", {"own_domain": own})] if own else []

    async def creating(self, request: Request, tx: Tx, row: Row) -> None:
        await super().creating(request, tx, row)
        wanted = row.pop("explicit_domain_id", None)
        if wanted is not None:
            row["id"] = _checked_id(wanted)
        row |= {"domain_id": ROOT, "is_domain": True}

    def conflict(self, row: Row) -> Conflict:
        why = f"it is not permitted to have two projects acting as domains with the same name: {row['name']}"
        return Conflict(f"Conflict occurred attempting to store project - {why}.")

    async def updating(self, request: Request, tx: Tx, old: Row, changes: Row) -> None:
        await super().updating(request, tx, old, changes)
        if old["enabled"] and changes.get("enabled") is False:
            await revoke(tx, old["id"], kind="domain_id")
        tx.notify(CHANGED)

    async def delete_row(self, request: Request, tx: Tx, row: Row) -> None:
        if row["enabled"]:
            raise Forbidden("Cannot delete a domain that is enabled, please disable it first.")
        await remove_domain(tx, hooks(self.cloud), row["id"])


def _checked_id(wanted: str) -> str:
    try:
        if UUID(wanted).hex == wanted:
            return wanted
    except ValueError:
        pass
    raise Invalid("Domain ID does not conform to required UUID format.")
