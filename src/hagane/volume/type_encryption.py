"""/types/{id}/encryption: that volumes of a type shall be encrypted, and how. A type that has volumes does not change.

No storage backend here encrypts. So a type can say it, and volumes of such a type are refused: whoever asks for
encryption shall not get a volume without it.
"""

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from hagane.api.http import Request, Response, empty, json_response
from hagane.api.service import Route
from hagane.api.types import Enum, Int, Obj, Str, Type
from hagane.cloud import Cloud
from hagane.errors import Invalid, NotFound
from hagane.state import clock
from hagane.state.database import Row, Tx
from hagane.volume.base import body_of, both, invalid, need
from hagane.volume.row import VOLUME
from hagane.volume.type_row import TYPE, by_id

_RULE = "volume_extension:volume_type_encryption:"
_FIELDS: dict[str, Type] = {
    "provider": Str(255), "control_location": Enum(values=("front-end", "back-end")),
    "cipher": Str(255, nullable=True), "key_size": Int(min=0, nullable=True),
}  # fmt: skip


def _body(*required: str) -> Obj:
    return Obj(fields={"encryption": Obj(fields=_FIELDS, required=required)}, required=("encryption",))


_CREATE, _UPDATE = _body("provider", "control_location"), _body()


def refuse_encrypted(kind: Row) -> None:
    """Raises Invalid for a type whose volumes shall be encrypted."""
    if kind["encryption"]:
        raise invalid(f"No storage backend encrypts, as volume type {kind['id']} asks for.")


class TypeEncryption:
    """The encryption of a type: it has one at most, whatever id a path gives it."""

    def __init__(self, cloud: Cloud) -> None:
        self.db = cloud.db

    async def index(self, request: Request) -> Response:
        need(request, _RULE + "get")
        row = await by_id(request, self.db, request.params["id"])
        return json_response(200, _view(row))

    async def show(self, request: Request) -> Response:
        need(request, _RULE + "get")
        row, key = await by_id(request, self.db, request.params["id"]), request.params["key"]
        view = _view(row)
        if key not in view:
            raise _missing(row)
        return json_response(200, {key: view[key]})

    async def create(self, request: Request) -> Response:
        need(request, _RULE + "create")
        given = (await body_of(request, _CREATE))["encryption"]

        async def work(tx: Tx) -> Row:
            row = await _changeable(request, tx, "create")
            if row["encryption"]:
                text = f"Volume type encryption for type {row['id']} already exists."
                raise Invalid(text, code="VolumeTypeEncryptionExists")
            return await self._keep(tx, row, given | {"encryption_id": str(uuid4()), "created_at": clock.now()})

        row = await self.db.write(work)
        more = {"encryption_id": row["encryption"]["encryption_id"], "volume_type_id": row["id"]}
        return json_response(200, {"encryption": given | more})

    async def update(self, request: Request) -> Response:
        need(request, _RULE + "update")
        given = (await body_of(request, _UPDATE))["encryption"]

        async def work(tx: Tx) -> None:
            row = await _changeable(request, tx, "update")
            if not row["encryption"]:
                raise _missing(row)
            await self._keep(tx, row, row["encryption"] | given | {"updated_at": clock.now()})

        await self.db.write(work)
        return json_response(200, {"encryption": given})

    async def delete(self, request: Request) -> Response:
        need(request, _RULE + "delete")

        async def work(tx: Tx) -> None:
            row = await _changeable(request, tx, "delete")
            if not row["encryption"]:
                raise _missing(row)
            await self._keep(tx, row, None)

        await self.db.write(work)
        return empty(202)

    async def _keep(self, tx: Tx, row: Row, encryption: dict[str, Any] | None) -> Row:
        await TYPE.update(tx, {"id": row["id"]}, {"encryption": encryption})
        return row | {"encryption": encryption}

    def routes(self) -> Sequence[Route]:
        many, one = "/types/{id}/encryption", "/types/{id}/encryption/{key}"
        name = "volume_type_encryption"
        return [
            *both("GET", many, self.index, f"{name}:list", rule=_RULE + "get"),
            *both("POST", many, self.create, f"{name}:create", rule=_RULE + "create", body=_CREATE),
            *both("GET", one, self.show, f"{name}:show", rule=_RULE + "get"),
            *both("PUT", one, self.update, f"{name}:update", rule=_RULE + "update", body=_UPDATE),
            *both("DELETE", one, self.delete, f"{name}:delete", rule=_RULE + "delete", status=202),
        ]


def _view(row: Row) -> dict[str, Any]:
    if not row["encryption"]:
        return {}
    empty_fields = dict.fromkeys((*_FIELDS, "updated_at"))
    return {**empty_fields, **row["encryption"], "volume_type_id": row["id"], "deleted": False, "deleted_at": None}


async def _changeable(request: Request, tx: Tx, verb: str) -> Row:
    row = await by_id(request, tx, request.params["id"])
    if await VOLUME.get(tx, type_id=row["id"]) is not None:
        raise Invalid(f"Cannot {verb} encryption specs. Volume type in use.", code="VolumeTypeInUse")
    return row


def _missing(row: Row) -> NotFound:
    text = f"Volume type encryption for type {row['id']} does not exist."
    return NotFound(text, code="VolumeTypeEncryptionNotFound")
