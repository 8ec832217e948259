"""/types/{id}/extra_specs: what a type asks of a backend. A type that has volumes does not change."""

from collections.abc import Sequence
from typing import Any

from hagane.api.http import Request, Response, empty, json_response
from hagane.api.service import Route
from hagane.api.types import Obj
from hagane.cloud import Cloud
from hagane.errors import Invalid, NotFound
from hagane.state import clock
from hagane.state.database import Row, Tx
from hagane.volume.base import body_of, both, just_its_key, need
from hagane.volume.row import VOLUME
from hagane.volume.type import SPECS, shown_specs
from hagane.volume.type_row import TYPE, by_id

_RULE = "volume_extension:types_extra_specs:"


class ExtraSpecs:
    """Name and value pairs."""

    def __init__(self, cloud: Cloud) -> None:
        self.db = cloud.db

    async def index(self, request: Request) -> Response:
        need(request, _RULE + "index")
        row = await by_id(request, self.db, request.params["id"])
        return json_response(200, {"extra_specs": shown_specs(request, row)})

    async def show(self, request: Request) -> Response:
        need(request, _RULE + "show")
        row, key = await by_id(request, self.db, request.params["id"]), request.params["key"]
        specs = shown_specs(request, row)
        if key not in specs:
            raise _no_key(row, key)
        return json_response(200, {key: specs[key]})

    async def create(self, request: Request) -> Response:
        body = await body_of(request, Obj(fields={"extra_specs": SPECS}, required=("extra_specs",)))
        need(request, _RULE + "create")
        await self._write(request, body["extra_specs"])
        return json_response(200, body)

    async def update(self, request: Request) -> Response:
        body: dict[str, Any] = await body_of(request, SPECS)
        need(request, _RULE + "update")
        just_its_key(request, body)
        await self._write(request, body)
        return json_response(200, body)

    async def _write(self, request: Request, more: dict[str, str]) -> None:
        async def work(tx: Tx) -> None:
            row = await _changeable(request, tx)
            specs = (row["extra_specs"] or {}) | more
            if specs.get("multiattach") == specs.get("cacheable") == "<is> True":
                raise Invalid("cacheable cannot be set with multiattach.", code="Cacheable")
            await TYPE.update(tx, {"id": row["id"]}, {"extra_specs": specs, "updated_at": clock.now()})

        await self.db.write(work)

    async def delete(self, request: Request) -> Response:
        key = request.params["key"]

        async def work(tx: Tx) -> None:
            await by_id(request, tx, request.params["id"])
            need(request, _RULE + "delete")
            row = await _changeable(request, tx)
            specs = dict(row["extra_specs"] or {})
            if key not in specs:
                raise _no_key(row, key)
            del specs[key]
            await TYPE.update(tx, {"id": row["id"]}, {"extra_specs": specs, "updated_at": clock.now()})

        await self.db.write(work)
        return empty(202)

    def routes(self) -> Sequence[Route]:
        many, one = "/types/{id}/extra_specs", "/types/{id}/extra_specs/{key}"
        body = Obj(fields={"extra_specs": SPECS}, required=("extra_specs",))
        return [
            *both("GET", many, self.index, "volume_type_specs:list", rule=_RULE + "index"),
            *both("POST", many, self.create, "volume_type_specs:create", rule=_RULE + "create", body=body),
            *both("GET", one, self.show, "volume_type_specs:show", rule=_RULE + "show"),
            *both("PUT", one, self.update, "volume_type_specs:update", rule=_RULE + "update", body=SPECS),
            *both("DELETE", one, self.delete, "volume_type_specs:delete", rule=_RULE + "delete", status=202),
        ]


async def _changeable(request: Request, tx: Tx) -> Row:
    row = await by_id(request, tx, request.params["id"])
    if await VOLUME.get(tx, type_id=row["id"]) is not None:
        raise Invalid("Volume Type is currently in use.", code="VolumeTypeInUse")
    return row


def _no_key(row: Row, key: str) -> NotFound:
    return NotFound(f"Volume Type {row['id']} has no extra specs with key {key}.", code="ExtraSpecsNotFound")
