"""/messages (3.3) and /resource_filters (3.33): what went wrong with one's things, and what lists can be asked."""

from collections.abc import Sequence
from typing import Any

from hagane.api.http import Request, Response, empty, json_response
from hagane.api.service import Route
from hagane.cloud import Cloud
from hagane.state.database import Reader, Row
from hagane.volume import query
from hagane.volume.base import at, both, links, missing, need, next_links, sees, target
from hagane.volume.message import MESSAGE

_SAME = {name: name for name in ("id", "event_id", "resource_uuid", "resource_type", "request_id", "created_at")}
FILTERS = query.Filters(
    "message", MESSAGE, columns=_SAME,
    usual=("resource_uuid", "resource_type", "event_id", "request_id", "message_level"),
    sorts=_SAME, noun="Message",
)  # fmt: skip
_KNOWN = {
    "volume": ["name", "status", "metadata", "bootable", "migration_status", "availability_zone", "group_id", "size",
               "created_at", "updated_at", "consumes_quota"],
    "backup": ["name", "status", "volume_id"],
    "snapshot": ["name", "status", "volume_id", "metadata", "availability_zone", "consumes_quota"],
    "attachment": ["volume_id", "status", "instance_id", "attach_status"],
    "message": ["resource_uuid", "resource_type", "event_id", "request_id", "message_level"],
    "pool": ["name", "volume_type"],
    "volume_type": ["is_public", "extra_specs"],
}  # fmt: skip


class Messages:
    """Both."""

    def __init__(self, cloud: Cloud) -> None:
        self.db = cloud.db

    async def _find(self, request: Request, reader: Reader) -> Row:
        row = await MESSAGE.get(reader, id=request.params["id"])
        if row is None or not sees(request, row):
            raise missing("Message", request.params["id"])
        return row

    def _view(self, request: Request, row: Row) -> dict[str, Any]:
        return {
            "id": row["id"], "event_id": row["event_id"], "user_message": row["user_message"],
            "message_level": "ERROR", "created_at": row["created_at"], "guaranteed_until": row["expires_at"],
            "request_id": row["request_id"], "links": links(request, "messages", row["id"]),
            "resource_type": row["resource_type"], "resource_uuid": row["resource_uuid"],
        }  # fmt: skip

    async def index(self, request: Request) -> Response:
        need(request, "message:get_all")
        found = await query.listed(request, self.db, FILTERS)
        answer: dict[str, Any] = {"messages": [self._view(request, row) for row in found.rows]}
        last = found.rows[-1]["id"] if found.rows else None
        if at(request, 5) and (more := next_links(request, "messages", last, len(found.rows), found.limit)):
            answer["messages_links"] = more
        return json_response(200, answer)

    async def show(self, request: Request) -> Response:
        row = await self._find(request, self.db)
        need(request, "message:get", target(row))
        return json_response(200, {"message": self._view(request, row)})

    async def delete(self, request: Request) -> Response:
        row = await self._find(request, self.db)
        need(request, "message:delete", target(row))
        await self.db.write(lambda tx: MESSAGE.delete(tx, {"id": row["id"]}))
        return empty(204)

    async def filters(self, request: Request) -> Response:
        wanted = request.args.get("resource")
        known = {wanted: _KNOWN[wanted]} if wanted in _KNOWN else {} if wanted else _KNOWN
        views = [{"resource": name, "filters": filters} for name, filters in known.items()]
        return json_response(200, {"resource_filters": views})

    def routes(self) -> Sequence[Route]:
        since, one = {"since": "3.3"}, "/messages/{id}"
        return [
            *both("GET", "/messages", self.index, "message:list", rule="message:get_all", **since),
            *both("GET", one, self.show, "message:show", rule="message:get", **since),
            *both("DELETE", one, self.delete, "message:delete", rule="message:delete", status=204, **since),
            *both("GET", "/resource_filters", self.filters, "resource_filter:list", since="3.33"),
        ]
