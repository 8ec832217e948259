"""Extra specs of flavors: free keys and values that place and shape Servers."""

import re
from typing import Any

from hagane.api.http import Request, Response, empty, json_response
from hagane.api.service import Route
from hagane.api.types import BadValue
from hagane.cloud import Cloud
from hagane.compute.base import V21, api, need, object_of
from hagane.compute.flavor import FLAVOR, find
from hagane.errors import Invalid, NotFound
from hagane.state.database import Reader, Tx

KEY = re.compile(r"[a-zA-Z0-9-_:. ]{1,255}")


def _value(field: str, value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise BadValue(field, value, f"{value!r} is not of type 'string', 'number'")
    if len(str(value)) > 255:
        raise BadValue(field, value, f"{value!r} is too long")
    return str(value)


def _checked(specs: dict[str, Any]) -> dict[str, str]:
    for key in specs:
        if not KEY.fullmatch(key):
            raise BadValue("", specs, f"{key!r} does not match any of the regexes: '^[a-zA-Z0-9-_:. ]{{1,255}}$'")
    return {key: _value(key, value) for key, value in specs.items()}


def routes(cloud: Cloud) -> list[Route]:
    path = V21 + "/flavors/{id}/os-extra_specs"
    base = "os-flavor-extra-specs"

    async def index(request: Request) -> Response:
        need(request, api(f"{base}:index"))
        return json_response(200, {"extra_specs": (await _flavor(cloud.db, request))["extra_specs"]})

    async def show(request: Request) -> Response:
        need(request, api(f"{base}:show"))
        flavor = await _flavor(cloud.db, request)
        key = request.params["key"]
        if key not in flavor["extra_specs"]:
            raise NotFound(f"Flavor {flavor['id']} has no extra specs with key {key}.")
        return json_response(200, {key: flavor["extra_specs"][key]})

    async def store(request: Request, specs: dict[str, str]) -> None:
        async def work(tx: Tx) -> None:
            flavor = await _flavor(tx, request)
            await _save(tx, flavor["id"], flavor["extra_specs"] | specs)

        await cloud.db.write(work)

    async def create(request: Request) -> Response:
        need(request, api(f"{base}:create"))
        specs = _checked(object_of(await request.json(), "extra_specs"))
        await store(request, specs)
        return json_response(200, {"extra_specs": specs})

    async def update(request: Request) -> Response:
        need(request, api(f"{base}:update"))
        body, key = await request.json(), request.params["key"]
        if not isinstance(body, dict) or len(body) != 1:
            raise Invalid("Malformed request body")
        if key not in body:
            raise Invalid("Request body and URI mismatch")
        specs = _checked(body)
        await store(request, specs)
        return json_response(200, specs)

    async def delete(request: Request) -> Response:
        need(request, api(f"{base}:delete"))

        async def work(tx: Tx) -> None:
            flavor = await _flavor(tx, request)
            specs, key = dict(flavor["extra_specs"]), request.params["key"]
            if specs.pop(key, None) is None:
                raise NotFound(f"Flavor {flavor['id']} has no extra specs with key {key}.")
            await _save(tx, flavor["id"], specs)

        await cloud.db.write(work)
        return empty(200)

    return [
        Route("GET", path, index, "flavor_specs:list", rule=api(f"{base}:index")),
        Route("POST", path, create, "flavor_specs:create", rule=api(f"{base}:create")),
        Route("GET", path + "/{key}", show, "flavor_specs:show", rule=api(f"{base}:show")),
        Route("PUT", path + "/{key}", update, "flavor_specs:update", rule=api(f"{base}:update")),
        Route("DELETE", path + "/{key}", delete, "flavor_specs:delete", rule=api(f"{base}:delete")),
    ]


async def _flavor(reader: Reader, request: Request) -> dict[str, Any]:
    return await find(reader, request, request.params["id"])


async def _save(tx: Tx, flavor_id: str, specs: dict[str, str]) -> None:
    await FLAVOR.update(tx, {"id": flavor_id}, {"extra_specs": specs})
