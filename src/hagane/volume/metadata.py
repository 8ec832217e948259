"""/volumes/{id}/metadata and /snapshots/{id}/metadata: an owner's own words, as a whole and one by one."""

import hashlib
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from hagane.api.http import Request, Response, empty, json_response
from hagane.api.service import Route
from hagane.api.types import Obj
from hagane.cloud import Cloud
from hagane.errors import Invalid, NotFound, Precondition
from hagane.state import clock
from hagane.state.database import Reader, Row, Tx
from hagane.state.table import Table
from hagane.volume import snapshot, volume
from hagane.volume.base import at, bad_volume, body_of, both, need, target
from hagane.volume.kinds import PAIRS
from hagane.volume.row import SNAPSHOT, USER, VOLUME, store_items

Find = Callable[[Request, Reader, str], Awaitable[Row]]
_ALL = Obj(fields={"metadata": PAIRS}, required=("metadata",))
_ONE = Obj(fields={"meta": PAIRS}, required=("meta",))


class Metadata:
    """The words of one kind of thing. `etags`: changes may be bound to what was read."""

    def __init__(self, cloud: Cloud, table: Table, find: Find, noun: str, *, etags: bool) -> None:
        self.db, self._table, self._find, self._noun, self._etags = cloud.db, table, find, noun, etags

    def _rule(self, verb: str) -> str:
        if self._noun == "volume":
            return f"volume:{verb}_volume_metadata"
        return f"volume:{'update' if verb == 'create' else verb}_snapshot_metadata"

    async def index(self, request: Request) -> Response:
        row = await self._read(request)
        headers = {}
        if self._etags and at(request, 15):
            headers["etag"] = _etag(row)
        return json_response(200, {"metadata": row["metadata"] or {}}, headers)

    async def _read(self, request: Request) -> Row:
        row = await self._find(request, self.db, request.params["id"])
        need(request, self._rule("get"), target(row))
        return row

    async def show(self, request: Request) -> Response:
        row, key = await self._read(request), request.params["key"]
        if key not in (row["metadata"] or {}):
            raise self._no_key(row, key)
        return json_response(200, {"meta": {key: row["metadata"][key]}})

    def _no_key(self, row: Row, key: str) -> NotFound:
        text = f"{self._noun.capitalize()} {row['id']} has no metadata with key {key}."
        return NotFound(text, code="MetadataNotFound")

    async def merge(self, request: Request) -> Response:
        more = (await body_of(request, _ALL))["metadata"]
        found = await self._write(request, "create", lambda row: (row["metadata"] or {}) | more)
        return json_response(200, {"metadata": found})

    async def replace(self, request: Request) -> Response:
        more = (await body_of(request, _ALL))["metadata"]
        found = await self._write(request, "update", lambda row: more, matched=True)
        return json_response(200, {"metadata": found})

    async def update(self, request: Request) -> Response:
        one, key = (await body_of(request, _ONE))["meta"], request.params["key"]
        if self._noun == "volume" and len(one) != 1:
            raise Invalid(
                f"Invalid input for field/attribute meta. Value: {one}. {one} "
                + ("has too many properties" if one else "should be non-empty"),
                code="Invalid",
            )
        if key not in one:
            raise Invalid("Request body and URI mismatch", code="Mismatch")
        if len(one) > 1:
            raise Invalid("Request body contains too many items", code="TooMany")
        await self._write(request, "update", lambda row: (row["metadata"] or {}) | one, matched=True)
        return json_response(200, {"meta": one})

    async def delete(self, request: Request) -> Response:
        key = request.params["key"]

        def without(row: Row) -> dict[str, str]:
            if key not in (row["metadata"] or {}):
                raise self._no_key(row, key)
            return {name: value for name, value in row["metadata"].items() if name != key}

        await self._write(request, "delete", without)
        return empty(200)

    async def _write(
        self, request: Request, verb: str, change: Callable[[Row], dict[str, str]], *, matched: bool = False
    ) -> dict[str, str]:
        async def work(tx: Tx) -> dict[str, str]:
            row = await self._find(request, tx, request.params["id"])
            if matched and self._etags and at(request, 15):
                _check_etag(request, row)
            need(request, self._rule("get"), target(row))
            need(request, self._rule(verb), target(row))
            if row["status"] in ("maintenance", "uploading") and self._noun == "volume":
                word = "Deleting" if verb == "delete" else "Updating"
                raise bad_volume(f"{word} volume metadata is not allowed for volumes in {row['status']} status.")
            new = change(row)
            await self._table.update(tx, {"id": row["id"]}, {"metadata": new, "updated_at": clock.now()})
            await store_items(tx, row["id"], USER, row["metadata"] or {}, new)
            return new

        return await self.db.write(work)

    def routes(self) -> list[Route]:
        many, noun = f"/{self._noun}s/{{id}}/metadata", f"{self._noun}_metadata"
        one = many + "/{key}"
        return [
            *both("GET", many, self.index, f"{noun}:list", rule=self._rule("get")),
            *both("POST", many, self.merge, f"{noun}:create", rule=self._rule("create"), body=_ALL),
            *both("PUT", many, self.replace, f"{noun}:replace", rule=self._rule("update"), body=_ALL),
            *both("GET", one, self.show, f"{noun}:show", rule=self._rule("get")),
            *both("PUT", one, self.update, f"{noun}:update", rule=self._rule("update"), body=_ONE),
            *both("DELETE", one, self.delete, f"{noun}:delete", rule=self._rule("delete")),
        ]


def _etag(row: Row) -> str:
    """The digest of the answer that the metadata were read in."""
    text: Any = msgspec.json.encode({"metadata": row["metadata"] or {}})
    return hashlib.md5(text, usedforsecurity=False).hexdigest()


def _check_etag(request: Request, row: Row) -> None:
    """Raises Precondition."""
    wanted = request.headers.get("if-match", "").strip()
    if wanted and wanted != "*" and _etag(row) not in [tag.strip().strip('"') for tag in wanted.split(",")]:
        raise Precondition("The metadata have been changed meanwhile.", code="Etag")


def routes(cloud: Cloud) -> list[Route]:
    of_volumes = Metadata(cloud, VOLUME, volume.find, "volume", etags=True)
    of_snapshots = Metadata(cloud, SNAPSHOT, snapshot.find, "snapshot", etags=False)
    return [*of_volumes.routes(), *of_snapshots.routes()]
