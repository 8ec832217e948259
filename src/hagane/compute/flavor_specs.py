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
from hagane.state.database import Reader, Row, Tx

PATH, RULE = V21 + "/flavors/{id}/os-extra_specs", "os-flavor-extra-specs"
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


class FlavorSpecs:
    """/flavors/{id}/os-extra_specs."""

    def __init__(self, cloud: Cloud) -> None:
        self.db = cloud.db

    async def index(self, request: Request) -> Response:
        need(request, api(f"{RULE}:index"))
        return json_response(200, {"extra_specs": (await self._flavor(request, self.db))["extra_specs"]})

    async def show(self, request: Request) -> Response:
        need(request, api(f"{RULE}:show"))
        flavor, key = await self._flavor(request, self.db), request.params["key"]
        if key not in flavor["extra_specs"]:
            raise _missing(flavor, key)
        return json_response(200, {key: flavor["extra_specs"][key]})

    async def create(self, request: Request) -> Response:
        need(request, api(f"{RULE}:create"))
        specs = _checked(object_of(await request.json(), "extra_specs"))
        await self._store(request, specs)
        return json_response(200, {"extra_specs": specs})

    async def update(self, request: Request) -> Response:
        need(request, api(f"{RULE}:update"))
        body, key = await request.json(), request.params["key"]
        if not isinstance(body, dict) or len(body) != 1:
            raise Invalid("Malformed request body")
        if key not in body:
            raise Invalid("Request body and URI mismatch")
        specs = _checked(body)
        await self._store(request, specs)
        return json_response(200, specs)

    async def _store(self, request: Request, specs: dict[str, str]) -> None:
        async def work(tx: Tx) -> None:
            flavor = await self._flavor(request, tx)
            await FLAVOR.update(tx, {"id": flavor["id"]}, {"extra_specs": flavor["extra_specs"] | specs})

        await self.db.write(work)

    async def delete(self, request: Request) -> Response:
        need(request, api(f"{RULE}:delete"))

        async def work(tx: Tx) -> None:
            flavor = await self._flavor(request, tx)
            specs, key = dict(flavor["extra_specs"]), request.params["key"]
            if specs.pop(key, None) is None:
                raise _missing(flavor, key)
            await FLAVOR.update(tx, {"id": flavor["id"]}, {"extra_specs": specs})

        await self.db.write(work)
        return empty(200)

    async def _flavor(self, request: Request, reader: Reader) -> Row:
        return await find(reader, request, request.params["id"])

    def routes(self) -> list[Route]:
        one = PATH + "/{key}"
        return [
            Route("GET", PATH, self.index, "flavor_specs:list", rule=api(f"{RULE}:index")),
            Route("POST", PATH, self.create, "flavor_specs:create", rule=api(f"{RULE}:create")),
            Route("GET", one, self.show, "flavor_specs:show", rule=api(f"{RULE}:show")),
            Route("PUT", one, self.update, "flavor_specs:update", rule=api(f"{RULE}:update")),
            Route("DELETE", one, self.delete, "flavor_specs:delete", rule=api(f"{RULE}:delete")),
        ]


def _missing(flavor: Row, key: str) -> NotFound:
    return NotFound(f"Flavor {flavor['id']} has no extra specs with key {key}.")
