"""Runbooks: lists of cleaning or service steps that an operator approved, run on Nodes that bear one of their traits.

A runbook is public (for all), or owned by a project, or the operator's alone.
"""

from typing import Any

from hagane.api.http import Request, Response, empty, json_response
from hagane.api.resource import REQUIRED, Attr
from hagane.api.service import Route
from hagane.api.types import BadValue, Bool, Custom, ListOf, Obj, Str, Time, Uuid, is_uuid
from hagane.baremetal.base import V1, arguments, at, is_name, need, require
from hagane.baremetal.node_part import check_trait
from hagane.baremetal.node_secret import masked
from hagane.baremetal.resource import BareResource
from hagane.baremetal.step import check_steps
from hagane.errors import Invalid, NotFound
from hagane.state.database import Row, Tx
from hagane.state.table import Sql

TRAITS = Obj(fields={"traits": ListOf(item=Str())}, required=("traits",))


def _name(field: str, value: Any) -> Any:
    if not isinstance(value, str):
        raise BadValue(field, value, f"{value!r} is not of type 'string'")
    if not is_name(value) or is_uuid(value):
        raise BadValue(field, value, f"{value!r} does not match '^[a-zA-Z0-9-._~]+$'")
    return value


def _steps(field: str, value: Any) -> Any:
    return check_steps("runbook", value, needs=("interface", "step", "order"), schema=True)


class Runbooks(BareResource):
    name, plural, noun, title = "runbook", "runbooks", "runbook", "Runbook"
    path = V1 + "/runbooks"
    since, named, scoped, ident = 92, True, True, "runbook_ident"
    before = "The API version does not allow runbooks"
    attrs = (
        Attr("id", Uuid(nullable=True), "c", wire="uuid", key=True),
        Attr("created_at", Time(nullable=True)),
        Attr("updated_at", Time(nullable=True)),
        Attr("name", Custom(rule=_name, kind="text"), "cu", REQUIRED),
        Attr("extra", Obj(open=True, nullable=True), "cu", dict),
        Attr("public", Bool(nullable=True), "cu", bool),
        Attr("owner", Str(255, nullable=True), "cu"),
        Attr("disable_ramdisk", Bool(nullable=True), "cu", bool),
        Attr("description", Str(255, nullable=True), "cu", since="1.112"),
        Attr("steps", Custom(rule=_steps), "cu", REQUIRED),
        Attr("traits", ListOf(Str()), default=list, since="1.112"),
    )
    indexes = ("unique name", "owner", "created_at, id")
    brief = ("uuid", "name")
    patchable = ("disable_ramdisk", "extra", "name", "owner", "public", "steps", "description")

    def target(self, row: Row) -> dict[str, Any]:
        return {"runbook.owner": row["owner"]} if row.get("owner") else {}

    def mine(self, project: str) -> Sql:
        return Sql("runbook.owner = :mine OR runbook.public = 1", {"mine": project})

    async def find(self, request: Request, reader: Any, key: str) -> Row:
        row = await self.asked_for(request, reader, key)
        if not (row["public"] or request.allowed(self.rule("get"), self.target(row))):
            raise self.not_found(key)
        return row

    def finish(self, request: Request, row: Row, view: Row, chosen: tuple[str, ...] | None) -> Row:
        if "steps" in view:
            view["steps"] = [
                step | ({"args": masked(step["args"])} if "args" in step else {}) for step in view["steps"]
            ]
        return view

    async def creating(self, request: Request, tx: Tx, row: Row) -> None:
        await self.unique(tx, "id", row["id"], f"A runbook with UUID {row['id']} already exists.")
        await self._name_free(request, tx, row["name"], row["id"])
        if row["public"] and row["owner"]:
            raise Invalid("Cannot create a public runbook with an owner.")
        if not request.caller.system:
            if row["owner"] not in (None, request.caller.project_id):
                raise self.forbidden("baremetal:runbook:update:owner")
            row["owner"] = request.caller.project_id
            if row["public"]:
                raise self.forbidden("baremetal:runbook:update:public")

    async def updating(self, request: Request, tx: Tx, old: Row, changes: Row) -> None:
        for name in ("owner", "public"):
            if name in changes:
                need(request, f"baremetal:runbook:update:{name}", self.target(old))
        if changes.get("public"):
            changes["owner"] = None
        await self._name_free(request, tx, changes.get("name"), old["id"])

    async def _name_free(self, request: Request, tx: Tx, name: str | None, key: str) -> None:
        if name is not None and not at(request, 112):
            check_trait("runbook", name)
        await self.unique(tx, "name", name, f"A runbook with name {name} already exists.", but=key)

    # -- traits ------------------------------------------------------------------------------------------------

    async def traits(self, request: Request) -> Response:
        row = await self.find(request, self.db, request.params["id"])
        return json_response(200, {"traits": row["traits"] or []})

    async def _store(self, request: Request, after: Any) -> Response:
        async def change(tx: Tx) -> None:
            row = await self.find(request, tx, request.params["id"])
            self.enforce(request, "update", row)
            await self.store(tx, row, {"traits": sorted(after(set(row["traits"] or []), row))})

        await self.db.write(change)
        return empty(204)

    async def set_traits(self, request: Request) -> Response:
        names = arguments(await request.json(), ("traits",), ("traits",))["traits"]
        if not isinstance(names, list):
            raise Invalid(f"Schema error for body: {names!r} is not of type 'array'")
        for name in names:
            check_trait("body", name)
        return await self._store(request, lambda old, row: set(names))

    async def add_trait(self, request: Request) -> Response:
        name = request.params["trait"]
        check_trait("trait", name)
        return await self._store(request, lambda old, row: old | {name})

    async def drop_traits(self, request: Request) -> Response:
        return await self._store(request, lambda old, row: set())

    async def drop_trait(self, request: Request) -> Response:
        name = request.params["trait"]

        def without(old: set[str], row: Row) -> set[str]:
            if name not in old:
                raise NotFound(f"Runbook {row['id']} doesn't have a trait '{name}'")
            return old - {name}

        return await self._store(request, without)

    # -- use ---------------------------------------------------------------------------------------------------

    async def steps_for(self, request: Request, tx: Tx, node: Row, key: str) -> tuple[list[dict[str, Any]], bool]:
        """The steps of a runbook, in order, if this Node may run it; and whether without a ramdisk. Raises Invalid."""
        require(request, 92)
        row = await self.find(request, tx, key)
        if not row["public"]:
            need(request, "baremetal:runbook:use", self.target(row))
        traits, own = set(node["traits"] or []), set(row["traits"] or [])
        if at(request, 112) and not own:
            raise Invalid(f"Runbook {row['id']} has no traits configured. Please ask an administrator to add traits to "
                          "the runbook.")  # fmt: skip
        if at(request, 112) and not own & traits:
            raise Invalid(
                f"This runbook has not been approved for use on this node {node['id']}. The node does not have any "
                f"of the "
                f"runbook's traits {sorted(own)}. Please ask an administrator to add a matching trait to your node."
            )
        if not at(request, 112) and row["name"] not in traits:
            raise Invalid(f"This runbook has not been approved for use on this node {node['id']}. Please ask an "
                          "administrator to add it to your node traits.")  # fmt: skip
        ordered = sorted(row["steps"], key=lambda step: int(step["order"]))
        return [{k: v for k, v in step.items() if k != "order"} for step in ordered], bool(row["disable_ramdisk"])

    def routes(self) -> list[Route]:
        path, rule = self.path + "/{id}/traits", self.rule("update")
        return [
            Route("GET", path, self.traits, "runbook:traits", rule=self.rule("get"), since="1.112"),
            Route("PUT", path, self.set_traits, "runbook:set_traits", rule=rule, status=204, since="1.112",
                  body=TRAITS),
            Route("DELETE", path, self.drop_traits, "runbook:drop_traits", rule=rule, status=204, since="1.112"),
            Route("PUT", path + "/{trait}", self.add_trait, "runbook:add_trait", rule=rule, status=204, since="1.112"),
            Route("DELETE", path + "/{trait}", self.drop_trait, "runbook:drop_trait", rule=rule, status=204,
                  since="1.112"),
            *super().routes(),
        ]  # fmt: skip
