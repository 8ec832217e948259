"""Unified limits: how much of something a project or domain may have, kept here for services to ask.

    registered limit (service, region, resource ─▶ default)   ◀── limit (project or domain ─▶ its own number)

The model is `flat`: a limit counts for its project or domain alone, whatever the tree of projects. A limit keeps what
its registered limit is about, which cannot change as long as a limit hangs on it, so that lists filter on it.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from hagane.api.http import Request, Response, json_response
from hagane.api.resource import REQUIRED, Attr
from hagane.api.service import Route
from hagane.api.types import BadValue, Int, ListOf, Obj, Str, Type
from hagane.errors import Conflict, Forbidden, NotFound
from hagane.identity.base import NAME, REF, V3, IdentityResource, enforce, expected
from hagane.identity.catalog import CatalogService, Region
from hagane.identity.project import Project
from hagane.state.database import Reader, Row, Tx
from hagane.state.table import Sql

MODEL = {
    "name": "flat",
    "description": "Limit enforcement and validation does not take project hierarchy into consideration.",
}
_NUMBER = Int(min=-1, loose=False)
_REGION = Str(255, nullable=True)
_PLACE = Str(64, min=1, pattern=REF.pattern, nullable=True)
_WORDS = Str(None, nullable=True)


class UnifiedLimit(IdentityResource):
    """What both kinds have in common: they are created several at a time, and take no unknown attribute."""

    needs_change = False

    def rule(self, verb: str) -> str:
        return f"identity:{verb}_{self.plural if verb in ('list', 'create') else self.name}"

    def not_found(self, key: str) -> NotFound:
        return NotFound(f"Could not find {self.name.replace('_', ' ')} for {key}.")

    def conflict(self, row: Row) -> Conflict:
        return Conflict(f"Conflict occurred attempting to store {self.name} - Duplicate entry.")

    def read_only(self, attr: Attr, letter: str, value: Any) -> None:
        self.unknown({}, attr.label, {attr.label: value})

    def body_type(self, letter: str) -> Type:
        if letter == "u":
            return super().body_type(letter)
        fields = {a.label: a.type for a in self.attrs if "c" in a.write}
        required = [a.label for a in self.attrs if "c" in a.write and a.default is REQUIRED]
        entries = ListOf(item=Obj(fields=fields, required=required), min=1, max=1000)
        return Obj(fields={self.plural: entries}, required=[self.plural])

    async def create(self, request: Request) -> Response:
        enforce(request, self.rule("create"))
        body = await request.json()
        entries = self.body_type("c").check("", body if body is not None else {})[self.plural]

        async def work(tx: Tx) -> list[Any]:
            rows = [self.parse_create(request, entry) for entry in entries]
            await self._known(tx, rows)
            for row in rows:
                await self.creating(request, tx, row)
                await self.insert(tx, row)
            return await self.present(request, rows, tx)

        return json_response(201, {self.plural: await self.db.write(work)})

    async def _known(self, reader: Reader, rows: Sequence[Row]) -> None:
        """Refuse rows whose service or region does not exist."""
        for label, resource in (("service_id", CatalogService), ("region_id", Region)):
            wanted = {row[label] for row in rows if row.get(label)}
            found = await resource.table.select(reader, {"id": list(wanted)}, columns=("id",))
            if len(found) < len(wanted):
                raise expected(label, self.name)


class RegisteredLimit(UnifiedLimit):
    """The default of a resource of a service, everywhere or in one region."""

    name, plural = "registered_limit", "registered_limits"
    path = f"{V3}/registered_limits"
    table_name = "identity_registered_limit"
    indexes = ("unique service_id, region_id, resource_name",)
    flags = ("service_id", "region_id", "resource_name")
    blank = ("region_id",)
    attrs = (
        Attr("id", Str(), key=True),
        Attr("service_id", Str(64), write="cu", default=REQUIRED),
        Attr("region_id", _REGION, write="cu"),
        Attr("resource_name", NAME, write="cu", default=REQUIRED),
        Attr("default_limit", _NUMBER, write="cu", default=REQUIRED),
        Attr("description", _WORDS, write="cu"),
    )

    async def creating(self, request: Request, tx: Tx, row: Row) -> None:
        row["region_id"] = row["region_id"] or ""

    async def updating(self, request: Request, tx: Tx, old: Row, changes: Row) -> None:
        await self._known(tx, [changes])
        await self._unused(tx, old)
        if "region_id" in changes:
            changes["region_id"] = changes["region_id"] or ""

    async def deleting(self, request: Request, tx: Tx, row: Row) -> None:
        await self._unused(tx, row)

    async def _unused(self, tx: Tx, row: Row) -> None:
        if await Limit.table.count(tx, {"registered_limit_id": row["id"]}):
            raise Forbidden(
                f"Unable to update or delete registered limit {row['id']} because there are project limits associated"
                " with it."
            )


class Limit(UnifiedLimit):
    """The number of one project or one domain, instead of the registered default."""

    name, plural = "limit", "limits"
    path = f"{V3}/limits"
    table_name = "identity_limit"
    indexes = ("unique registered_limit_id, project_id, domain_id", "project_id", "domain_id")
    flags = ("service_id", "region_id", "resource_name", "project_id", "domain_id")
    blank = ("region_id", "project_id", "domain_id")
    attrs = (
        Attr("id", Str(), key=True),
        Attr("project_id", _PLACE, write="c"),
        Attr("domain_id", _PLACE, write="c"),
        Attr("service_id", Str(64), write="c", default=REQUIRED),
        Attr("region_id", _REGION, write="c"),
        Attr("resource_name", NAME, write="c", default=REQUIRED),
        Attr("resource_limit", _NUMBER, write="cu", default=REQUIRED),
        Attr("description", _WORDS, write="cu"),
        Attr("registered_limit_id", Str(), shown=False),
    )

    def routes(self) -> Sequence[Route]:
        model = Route("GET", f"{self.path}/model", self.model, "limit:model", rule="identity:get_limit_model")
        return [model, *(replace(r, rule=self.rule("create")) if r.method == "POST" else r for r in super().routes())]

    async def model(self, request: Request) -> Response:
        enforce(request, "identity:get_limit_model")
        return json_response(200, {"model": MODEL})

    # -- who sees which ----------------------------------------------------------------------------------------

    async def find(self, request: Request, reader: Reader, key: str, verb: str = "get") -> Row:
        row = await self.table.get(reader, id=key)
        target = await self._target(reader, row) if row else {}
        enforce(request, self.rule(verb), {"target": target})
        if row is None:
            raise self.not_found(key)
        return row

    async def _target(self, reader: Reader, row: Row) -> dict[str, Any]:
        """The limit with its project or domain, which the rules ask about."""
        owner = await Project.table.get(reader, id=row["project_id"] or row["domain_id"])
        kind = "project" if row["project_id"] else "domain"
        return {"limit": self.shown(row) | ({kind: owner} if owner else {})}

    def visible(self, request: Request) -> list[Sql]:
        """Services and administrators see all limits, others those of where their token is for."""
        caller = request.caller
        if caller.system or caller.roles & {"admin", "service"}:
            return []
        if caller.domain_id:
            inside = "SELECT id FROM identity_project WHERE domain_id = :own_domain"
            text = f"identity_limit.domain_id = :own_domain OR identity_limit.project_id IN ({inside})"
            return [Sql(text, {"own_domain": caller.domain_id})]
        if caller.project_id:
            return [Sql("identity_limit.project_id = :own_project", {"own_project": caller.project_id})]
        return [Sql("1 = 0")]

    # -- making ------------------------------------------------------------------------------------------------

    def parse_create(self, request: Request, body: dict[str, Any]) -> Row:
        if len({"project_id", "domain_id"} & body.keys()) != 1:
            raise BadValue("0", body, f"{body!r} is not valid under any of the given schemas")
        return super().parse_create(request, body)

    async def creating(self, request: Request, tx: Tx, row: Row) -> None:
        await self._place(tx, row)
        row |= {name: row[name] or "" for name in self.blank}
        key = {name: row[name] for name in ("service_id", "region_id", "resource_name")}
        registered = await RegisteredLimit.table.get(tx, **key)
        if registered is None:
            raise Forbidden("Unable to create a limit that has no corresponding registered limit.")
        row["registered_limit_id"] = registered["id"]

    async def _place(self, tx: Tx, row: Row) -> None:
        """The project or domain must exist; a domain that is named as a project counts as what it is."""
        label = "project_id" if row["project_id"] else "domain_id"
        if row[label] is None:
            raise BadValue("domain_id", None, "None is not of type 'string'")
        owner = await Project.table.get(tx, id=row[label])
        if owner is None or (label == "domain_id" and not owner["is_domain"]):
            raise expected(label, self.name)
        if owner["is_domain"]:
            row |= {"project_id": None, "domain_id": owner["id"]}
