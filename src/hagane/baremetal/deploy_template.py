"""Deploy templates: steps that a deployment takes when the user asks for the trait of the template's name."""

from typing import Any

from hagane.api.http import Request
from hagane.api.resource import REQUIRED, Attr
from hagane.api.types import Custom, Obj, Time, Uuid
from hagane.baremetal.base import V1
from hagane.baremetal.node_part import check_trait
from hagane.baremetal.node_secret import masked
from hagane.baremetal.resource import BareResource
from hagane.baremetal.step import check_steps
from hagane.state.database import Row, Tx


def _name(field: str, value: Any) -> Any:
    check_trait("template", value)
    return value


def _steps(field: str, value: Any) -> Any:
    return check_steps("template", value, needs=("interface", "step", "args", "priority"), schema=True)


class DeployTemplates(BareResource):
    name, plural, noun, title = "deploy_template", "deploy_templates", "deploy_template", "Deploy template"
    path = V1 + "/deploy_templates"
    since, named, ident = 55, True, "template_ident"
    before = "The API version does not allow deploy templates"
    attrs = (
        Attr("id", Uuid(nullable=True), "c", wire="uuid", key=True),
        Attr("created_at", Time(nullable=True)),
        Attr("updated_at", Time(nullable=True)),
        Attr("name", Custom(rule=_name, kind="text"), "cu", REQUIRED),
        Attr("extra", Obj(open=True, nullable=True), "cu", dict),
        Attr("steps", Custom(rule=_steps), "cu", REQUIRED),
    )
    indexes = ("unique name", "created_at, id")
    brief, patchable = ("uuid", "name"), ("extra", "name", "steps")

    def finish(self, request: Request, row: Row, view: Row, chosen: tuple[str, ...] | None) -> Row:
        if "steps" in view:
            view["steps"] = [step | {"args": masked(step.get("args", {}))} for step in view["steps"]]
        return view

    async def creating(self, request: Request, tx: Tx, row: Row) -> None:
        await self.unique(tx, "id", row["id"], f"A deploy template with UUID {row['id']} already exists.")
        await self._name_free(tx, row["name"], row["id"])

    async def updating(self, request: Request, tx: Tx, old: Row, changes: Row) -> None:
        await self._name_free(tx, changes.get("name"), old["id"])

    async def _name_free(self, tx: Tx, name: str | None, key: str) -> None:
        await self.unique(tx, "name", name, f"A deploy template with name {name} already exists.", but=key)
