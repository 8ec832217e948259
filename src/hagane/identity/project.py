"""Projects, and the rows of domains: a domain is a project that is the root of its tree (`is_domain`).

    domain (parent none) ──▶ project ──▶ project ...        parent_id names the row above; the root is the domain

So a walk along `parent_id` ends at the domain, and inherited assignments are found by one walk up.
"""

from collections.abc import Sequence

from hagane.api.http import Request, Response, json_response
from hagane.api.resource import REQUIRED, Attr
from hagane.api.service import Route
from hagane.api.types import Bool, Custom, Str
from hagane.errors import Conflict, Forbidden, Invalid
from hagane.identity.base import CHANGED, REF, SHORT_NAME, V3, IdentityResource
from hagane.identity.options import IMMUTABLE, options
from hagane.identity.project_relatives import relatives
from hagane.identity.project_tags import TAGS, ProjectTags, tag_conditions
from hagane.identity.removal import hooks, remove_domain, remove_projects
from hagane.identity.revocation import revoke
from hagane.identity.tree import above, below
from hagane.state.database import Row, Tx
from hagane.state.table import Sql

DEEPEST = 5  # projects below a domain, as the real service allows
ROOT = ""
"""The domain_id that rows of domains keep, so that their names are unique as well; answered as null."""
_PLACE = Str(64, min=1, pattern=REF.pattern, nullable=True)


class Project(IdentityResource):
    """A project. Its domain is fixed, and so is its place in the tree."""

    name, plural = "project", "projects"
    path = f"{V3}/projects"
    table_name = "identity_project"
    indexes = ("unique domain_id, name", "parent_id", "is_domain")
    flags = ("name", "enabled", "domain_id", "parent_id", "is_domain")
    blank = ("domain_id",)
    guarded = True
    needs_change = False
    fixed = {
        "domain_id": Invalid("Cannot change Domain ID"),
        "parent_id": Forbidden("Update of `parent_id` is not allowed."),
        "is_domain": Invalid("Update of `is_domain` is not allowed."),
    }
    attrs = (
        Attr("id", Str(), key=True),
        Attr("name", SHORT_NAME, write="cu", default=REQUIRED),
        Attr("domain_id", _PLACE, write="c"),
        Attr("description", Str(None, nullable=True), write="cu", default=""),
        Attr("enabled", Bool(loose=True), write="cu", default=True),
        Attr("parent_id", _PLACE, write="c"),
        Attr("is_domain", Bool(loose=True), write="c", default=False),
        Attr("tags", TAGS, write="cu", default=list),
        Attr("options", options(IMMUTABLE), write="cu", default=dict),
        Attr("extra", Custom(), default=dict, shown=False),
    )

    def routes(self) -> Sequence[Route]:
        return [*super().routes(), *ProjectTags(self).routes()]

    def only(self, request: Request) -> Sequence[Sql]:
        conditions = tag_conditions(request)
        if "is_domain" not in request.args:
            conditions.append(Sql("identity_project.is_domain = 0"))
        return conditions

    async def show(self, request: Request) -> Response:
        row = await self.find(request, self.db, request.params["id"])
        view = (await self.present(request, [row]))[0] | await relatives(self, request, row["id"])
        return json_response(200, self.one_answer(request, view))

    async def creating(self, request: Request, tx: Tx, row: Row) -> None:
        await super().creating(request, tx, row)
        if row["is_domain"]:
            if row["parent_id"]:
                raise Invalid("only root projects are allowed to act as domains.")
            row["domain_id"] = ROOT
            return
        row["domain_id"] = row["domain_id"] or request.caller.domain_id or "default"
        row["parent_id"] = row["parent_id"] or row["domain_id"]
        await self._place(tx, row)

    async def _place(self, tx: Tx, row: Row) -> None:
        """Refuse a place in the tree that cannot be. Raises Invalid, Forbidden."""
        domain = await self.table.get(tx, id=row["domain_id"], is_domain=True)
        if domain is None:
            raise Invalid(f"Could not find domain: {row['domain_id']}.")
        parent = await self.table.get(tx, id=row["parent_id"])
        if parent is None:
            raise Invalid(f"Could not find project: {row['parent_id']}.")
        if parent["is_domain"] and parent["id"] != domain["id"]:
            raise Invalid(
                f"Cannot create project, the parent ({parent['id']}) is acting as a domain, but this project's domain"
                f" id ({domain['id']}) does not match the parent's id."
            )
        if not parent["is_domain"] and parent["domain_id"] != domain["id"]:
            raise Invalid(
                f"Cannot create project, since it specifies its domain_id {domain['id']}, but specifies a parent in a"
                f" different domain ({parent['domain_id']})."
            )
        line = [parent["id"], *await above(tx, parent["id"])]
        if disabled := await self.table.select(tx, {"id": line, "enabled": False}):
            raise Invalid(f"cannot create a project in a branch containing a disabled project: {disabled[0]['id']}")
        if len(line) > DEEPEST:
            raise Forbidden(f"Max hierarchy depth reached for {parent['id']} branch.")

    def conflict(self, row: Row) -> Conflict:
        if row.get("is_domain"):
            why = f"it is not permitted to have two projects acting as domains with the same name: {row['name']}"
        else:
            why = (
                "it is not permitted to have two projects with either the same name or same id in the same domain:"
                f" name is {row['name']}, project id {row['id']}"
            )
        return Conflict(f"Conflict occurred attempting to store project - {why}.")

    async def updating(self, request: Request, tx: Tx, old: Row, changes: Row) -> None:
        await super().updating(request, tx, old, changes)
        enabled = changes.get("enabled", old["enabled"])
        if enabled != old["enabled"]:
            await (self._enabling(tx, old) if enabled else self._disabling(tx, old))
        if old["is_domain"]:
            tx.notify(CHANGED)

    async def _enabling(self, tx: Tx, row: Row) -> None:
        if await self.table.count(tx, {"id": await above(tx, row["id"]), "enabled": False}):
            raise Forbidden(f"Cannot enable project {row['id']} since it has disabled parents")

    async def _disabling(self, tx: Tx, row: Row) -> None:
        """A project's subtree must be disabled before it; a domain takes its projects with it."""
        children = [] if row["is_domain"] else await below(tx, row["id"])
        if await self.table.count(tx, {"id": children, "enabled": True}):
            raise Forbidden(f"Cannot disable project {row['id']} since its subtree contains enabled projects.")
        await revoke(tx, row["id"], kind="domain_id" if row["is_domain"] else "project_id")

    async def delete_row(self, request: Request, tx: Tx, row: Row) -> None:
        if row["is_domain"]:
            if row["enabled"]:
                raise Forbidden("Cannot delete a domain that is enabled, please disable it first.")
            await remove_domain(tx, hooks(self.cloud), row["id"])
            return
        if await below(tx, row["id"]):
            raise Forbidden(
                f"Cannot delete the project {row['id']} since it is not a leaf in the hierarchy. Use the cascade"
                " option if you want to delete a whole subtree."
            )
        await remove_projects(tx, hooks(self.cloud), [row["id"]])
