"""/volumes: list, show, create, change, delete, sum up."""

from collections.abc import Sequence
from typing import Any

from hagane.api.http import Request, Response, empty, json_response
from hagane.api.service import Route
from hagane.api.types import Obj, Type
from hagane.cloud import Cloud
from hagane.errors import Invalid
from hagane.state import clock
from hagane.state.database import Reader, Row, Tx
from hagane.state.table import Sql
from hagane.volume import base, end, query, view
from hagane.volume.base import at, body_of, both, is_admin, missing, need, sees, target
from hagane.volume.kinds import (
    BOOLEAN_OR_NULL,
    ID_OR_NULL,
    NAME,
    PAIRS,
    PAIRS_OR_NULL,
    SIZE_OR_NULL,
    TEXT,
    WORD,
    yes,
)
from hagane.volume.row import IMAGE, USER, VOLUME, store_items
from hagane.volume.volume_create import create, order_of

_NAMES: dict[str, Type] = {"name": NAME, "description": TEXT, "display_name": NAME, "display_description": TEXT}
_CREATE: dict[str, Type] = _NAMES | {
    "volume_type": WORD, "metadata": PAIRS_OR_NULL, "snapshot_id": ID_OR_NULL, "source_volid": ID_OR_NULL,
    "consistencygroup_id": ID_OR_NULL, "size": SIZE_OR_NULL, "availability_zone": WORD,
    "multiattach": BOOLEAN_OR_NULL, "image_id": WORD, "imageRef": WORD, "group_id": WORD, "backup_id": ID_OR_NULL,
}  # fmt: skip
_HINTS = {"OS-SCH-HNT:scheduler_hints": Type(nullable=True)}
_CHANGE: dict[str, Type] = _NAMES | {"metadata": PAIRS}
_SAME = {name: name for name in (
    "id", "name", "status", "size", "availability_zone", "bootable", "migration_status", "created_at", "updated_at",
    "host", "user_id", "project_id", "attach_status", "multiattach", "snapshot_id", "source_volid",
)}  # fmt: skip
_COLUMNS = {"display_name": "name", "display_description": "description", "name": "name",
            "description": "description", "metadata": "metadata"}  # fmt: skip
FILTERS = query.Filters(
    "volume", VOLUME,
    columns=_SAME | {"description": "description", "volume_type_id": "type_id", "display_name": "name",
                     "display_description": "description", "tenant_id": "project_id", "group_id": "group_id"},
    usual=("name", "status", "metadata", "bootable", "migration_status", "availability_zone", "group_id", "size",
           "created_at", "updated_at", "consumes_quota", "glance_metadata"),
    since={"glance_metadata": 4, "group_id": 10, "created_at": 60, "updated_at": 60, "consumes_quota": 65},
    items={"metadata": USER, "glance_metadata": IMAGE},
    sorts=_SAME | {"display_name": "name"},
)  # fmt: skip
QUERY = ("name", "status", "metadata", "bootable", "availability_zone", "size", "limit", "marker", "offset", "sort",
         "sort_key", "sort_dir", "all_tenants", "with_count")  # fmt: skip


def _forced(request: Request) -> bool:
    return at(request, 23) and yes(request.args.get("force"), "force")


async def find(request: Request, reader: Reader, key: str) -> Row:
    """A volume that the caller may know of. Raises NotFound."""
    row = await VOLUME.get(reader, id=key)
    if row is None or not sees(request, row) or not request.allowed("volume:get", target(row)):
        raise missing("Volume", key)
    return row


class Volumes:
    """/volumes."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud, self.db = cloud, cloud.db

    async def index(self, request: Request) -> Response:
        return await self._list(request, detail=False)

    async def detail(self, request: Request) -> Response:
        return await self._list(request, detail=True)

    async def _list(self, request: Request, *, detail: bool) -> Response:
        need(request, "volume:get_all")
        found = await query.listed(request, self.db, FILTERS)
        if detail:
            views = await view.details(request, self.db, found.rows)
        else:
            views = [view.summary(request, row) for row in found.rows]
        return query.answer(request, found, "volumes", views, detail=detail)

    async def show(self, request: Request) -> Response:
        row = await find(request, self.db, request.params["id"])
        return json_response(200, {"volume": (await view.details(request, self.db, [row]))[0]})

    async def create(self, request: Request) -> Response:
        inner = Obj(fields=_CREATE, open=not at(request, 53))
        body = await body_of(request, Obj(fields={"volume": inner} | _HINTS, required=("volume",)))
        order = order_of(request, body["volume"])

        async def work(tx: Tx) -> Any:
            row = await create(request, self.cloud, tx, order)
            return (await view.details(request, tx, [row], extended=False))[0]

        return json_response(202, {"volume": await self.db.write(work)})

    async def update(self, request: Request) -> Response:
        body = (await body_of(request, base.wrapped("volume", _CHANGE)))["volume"]
        if at(request, 53) and not body:
            raise Invalid(base.wording("volume", body, "{} is not valid under any of the given schemas"), code="Empty")

        async def work(tx: Tx) -> Any:
            row = await find(request, tx, request.params["id"])
            need(request, "volume:update", target(row))
            changes: Row = {"updated_at": clock.now()}
            changes |= {name: body[label] for label, name in _COLUMNS.items() if label in body}
            await VOLUME.update(tx, {"id": row["id"]}, changes)
            if "metadata" in changes:
                await store_items(tx, row["id"], USER, row["metadata"] or {}, changes["metadata"])
            return (await view.details(request, tx, [row | changes], extended=False))[0]

        return json_response(200, {"volume": await self.db.write(work)})

    async def delete(self, request: Request) -> Response:
        cascade, force = yes(request.args.get("cascade"), "cascade"), _forced(request)

        async def work(tx: Tx) -> None:
            row = await find(request, tx, request.params["id"])
            if force:
                need(request, "volume:force_delete", target(row))
            need(request, "volume:delete", target(row))
            await end.delete(tx, row, cascade=cascade, force=force, request_id=request.id, admin=is_admin(request))

        await self.db.write(work)
        return empty(202)

    async def summary(self, request: Request) -> Response:
        need(request, "volume:get_all")
        everything = is_admin(request) and yes(request.args.get("all_tenants"))
        mine = [] if everything else [Sql("project_id = :own", {"own": request.caller.project_id})]
        where = "" if everything else " WHERE project_id = :own"
        params = mine[0].params if mine else {}
        counted = await self.db.fetch_tuples(f"SELECT count(*), COALESCE(sum(size), 0) FROM volume{where}", params)
        found: dict[str, Any] = {"total_count": int(counted[0][0]), "total_size": int(counted[0][1])}
        if at(request, 36):
            found["metadata"] = await self._words(where, params)
        return json_response(200, {"volume-summary": found})

    async def _words(self, where: str, params: Any) -> dict[str, list[str]]:
        """Every name of metadata with all its values."""
        sql = f"SELECT DISTINCT name, value FROM volume_item WHERE kind = '{USER}' AND owner_id IN"
        words: dict[str, list[str]] = {}
        for name, value in await self.db.fetch_tuples(
            f"{sql} (SELECT id FROM volume{where}) ORDER BY name, value", params
        ):
            words.setdefault(name, []).append(value)
        return words

    def routes(self) -> Sequence[Route]:
        body = Obj(fields={"volume": Obj(fields=_CREATE)}, required=("volume",))
        return [
            *both("GET", "/volumes", self.index, "volume:list", rule="volume:get_all", query=QUERY),
            *both("GET", "/volumes/detail", self.detail, "volume:detail", rule="volume:get_all", query=QUERY),
            *both("GET", "/volumes/summary", self.summary, "volume:summary", rule="volume:get_all", since="3.12"),
            *both("POST", "/volumes", self.create, "volume:create", rule="volume:create", status=202, body=body),
            *both("GET", "/volumes/{id}", self.show, "volume:show", rule="volume:get"),
            *both("PUT", "/volumes/{id}", self.update, "volume:update", rule="volume:update",
                  body=base.wrapped("volume", _CHANGE)),
            *both("DELETE", "/volumes/{id}", self.delete, "volume:delete", rule="volume:delete", status=202),
        ]  # fmt: skip
