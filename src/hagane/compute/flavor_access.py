"""Which projects may use a flavor that is not public."""

from typing import Any

from hagane.api.http import Request, Response, json_response
from hagane.api.service import Route
from hagane.api.types import BadValue, Str
from hagane.cloud import Cloud
from hagane.compute.base import V21, api, need
from hagane.compute.flavor import ACCESS, find
from hagane.errors import Conflict, Invalid, NotFound
from hagane.state.database import Reader, Tx

TENANT = Str(255, min=1, pattern=r"^[a-zA-Z0-9-]*\Z")


def routes(cloud: Cloud) -> list[Route]:
    path = V21 + "/flavors/{id}"
    rule = api("os-flavor-access")

    async def show(request: Request) -> Response:
        need(request, rule)
        flavor = await _flavor(cloud.db, request)
        if flavor["is_public"]:
            raise NotFound("Access list not available for public flavors.")
        return json_response(200, await _list(cloud.db, flavor["id"]))

    async def action(request: Request) -> Response:
        body = await request.json()
        verb, project = _parse(body)
        need(request, rule + (":add_tenant_access" if verb == "addTenantAccess" else ":remove_tenant_access"))

        async def work(tx: Tx) -> Any:
            flavor = await _flavor(tx, request)
            if verb == "addTenantAccess":
                await _add(tx, flavor, project)
            elif not await ACCESS.delete(tx, {"flavor_id": flavor["id"], "project_id": project}):
                raise NotFound(f"Flavor access not found for {flavor['id']} / {project} combination.")
            return await _list(tx, flavor["id"])

        return json_response(200, await cloud.db.write(work))

    return [
        Route("GET", path + "/os-flavor-access", show, "flavor_access:list", rule=rule),
        Route("POST", path + "/action", action, "flavor:action", rule=rule + ":add_tenant_access"),
    ]


async def _flavor(reader: Reader, request: Request) -> dict[str, Any]:
    return await find(reader, request, request.params["id"])


def _parse(body: Any) -> tuple[str, str]:
    if not isinstance(body, dict) or len(body) != 1:
        raise Invalid("Malformed request body")
    verb, value = next(iter(body.items()))
    if verb not in ("addTenantAccess", "removeTenantAccess"):
        raise Invalid(f"There is no such action: {verb}")
    if not isinstance(value, dict):
        raise BadValue(verb, value, f"{value!r} is not of type 'object'")
    if "tenant" not in value:
        raise BadValue(verb, value, "'tenant' is a required property")
    if len(value) > 1:
        raise BadValue(verb, value, "Additional properties are not allowed")
    return verb, TENANT.check("tenant", value["tenant"])


async def _add(tx: Tx, flavor: dict[str, Any], project: str) -> None:
    if flavor["is_public"]:
        raise Conflict("Can not add access to a public flavor.")
    if await ACCESS.get(tx, flavor_id=flavor["id"], project_id=project):
        raise Conflict(f"Flavor access already exists for flavor {flavor['id']} and project {project} combination.")
    await ACCESS.insert(tx, {"flavor_id": flavor["id"], "project_id": project})


async def _list(reader: Reader, flavor_id: str) -> dict[str, Any]:
    rows = await ACCESS.select(reader, {"flavor_id": flavor_id}, order="project_id")
    return {"flavor_access": [{"flavor_id": row["flavor_id"], "tenant_id": row["project_id"]} for row in rows]}
