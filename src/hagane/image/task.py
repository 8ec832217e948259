"""Tasks: how imports ended. They are shown for two days, to administrators all of them, to owners those of an image.

A task that is ordered (POST /tasks) would fetch an image from a URL. As with the import method web-download, this
process does not ask addresses for others: it answers as the real service does whose filter lets no address pass.
"""

from datetime import timedelta
from typing import Any
from uuid import uuid4

from hagane.api.http import Request, Response, json_response
from hagane.api.listing import Page
from hagane.api.service import Route
from hagane.api.types import is_uuid
from hagane.cloud import Cloud
from hagane.errors import Invalid, NotFound
from hagane.image import query
from hagane.image.base import PREFIX, enforce, json_object
from hagane.state import clock
from hagane.state.database import Reader, Row, Tx
from hagane.state.table import Column, Op, Sql, Table

KEPT = timedelta(hours=48)
PATH = f"{PREFIX}/v2/tasks"
TYPES, STATUSES = ("import",), ("pending", "processing", "success", "failure")
TASK = Table(
    "image_task",
    (
        Column("id", key=True), Column("type"), Column("status"), Column("input", "json"), Column("result", "json"),
        Column("message"), Column("owner"), Column("image_id"), Column("user_id"), Column("request_id"),
        Column("created_at"), Column("updated_at"), Column("expires_at"),
    ),
    ("image_id", "created_at, id", "expires_at"),
)  # fmt: skip
_SHORT = ("id", "type", "status", "owner")
_LONG = ("input", "result", "message", "image_id", "user_id", "request_id")
_TIMES = ("created_at", "updated_at", "expires_at")


async def new_task(tx: Tx, request: Request, image: Row, given: dict[str, Any], *, failure: str) -> None:
    """Note an import that is over. What is too old goes by the way."""
    image_id, copied = image["id"], f"Copied {image['size'] >> 20} MiB"
    moment = clock.now()
    await TASK.delete(tx, {"expires_at": Op("<", moment)})
    row: Row = {"id": str(uuid4()), "type": "api_image_import", "status": "failure" if failure else "success"}
    row |= {"input": given, "result": None if failure else {"image_id": image_id}, "message": failure or copied}
    row |= {"owner": request.caller.project_id, "user_id": request.caller.user_id, "request_id": request.id}
    row |= {"image_id": image_id, "created_at": moment, "updated_at": moment}
    row["expires_at"] = clock.after(KEPT.total_seconds())
    await TASK.insert(tx, row)


async def image_tasks(reader: Reader, image_id: str) -> list[Row]:
    """The tasks of one image, oldest first."""
    where = {"image_id": image_id, "expires_at": Op(">", clock.now())}
    rows = await TASK.select(reader, where, order="created_at, id")
    return [row | {"deleted": False, "deleted_at": None} for row in rows]


class Tasks:
    """`/tasks`: for administrators. They are made by imports only (staging.py)."""

    def __init__(self, cloud: Cloud) -> None:
        self.db = cloud.db

    def routes(self) -> list[Route]:
        names = ("type", "status", "limit", "marker", "sort_key", "sort_dir")
        return [
            Route("GET", PATH, self.list, "task:list", rule="tasks_api_access", query=names),
            Route("POST", PATH, self.create, "task:create", rule="tasks_api_access", status=201),
            Route("GET", f"{PATH}/{{id}}", self.show, "task:show", rule="tasks_api_access"),
        ]

    async def list(self, request: Request) -> Response:
        enforce(request, "tasks_api_access", {})
        page = _page(request)
        conditions = [Sql("image_task.expires_at > :now", {"now": clock.now()})]
        where = {name: request.args[name] for name in ("type", "status") if request.args.get(name)}
        rows = await page.rows(self.db, TASK, where, conditions) if page.limit else []
        return json_response(200, {"tasks": [_brief(row) for row in rows]} | query.links(request, page, "tasks"))

    async def create(self, request: Request) -> Response:
        """Raises Invalid: which of the reasons the real service may have it is."""
        enforce(request, "tasks_api_access", {})
        body = await json_object(request, "Body expected in request.")
        for name in ("type", "input"):
            if name not in body:
                raise Invalid(f"Task '{name}' is required", code="MalformedBody")
        if body["type"] not in TYPES or not isinstance(body["input"], dict):
            raise Invalid("Provided object does not match schema 'task'", code="MalformedBody")
        raise Invalid(_refusal(body["input"].get("import_from")), code="BadStoreUri")

    async def show(self, request: Request) -> Response:
        enforce(request, "tasks_api_access", {})
        key = request.params["id"]
        row = await TASK.get(self.db, id=key, expires_at=Op(">", clock.now()))
        if row is None:
            raise NotFound(f"Could not find task {key}", code="TaskNotFound")
        return json_response(200, _brief(row) | {name: row[name] for name in _LONG})


def _refusal(place: Any) -> str:
    """Why nothing is fetched from there."""
    if not isinstance(place, str) or not place:
        return f"Invalid location: {place}"
    if place.startswith(("http://", "https://")):
        return f"URI for legacy import task does not pass filtering: {place}"
    if place.startswith(("file:///", "filesystem:///")):
        return "File based imports are not allowed. Please use a non-local source of image data."
    return "The given uri is not valid. Please specify a valid uri from the following list of supported uri ['http']"


def _page(request: Request) -> Page:
    """Order and extent. Raises Invalid."""
    args = request.args
    for name, known in (("status", STATUSES), ("type", TYPES)):
        if args.get(name) and args[name] not in known:
            raise Invalid(f"Invalid {name} value: {args[name]}", code="BadFilter")
    if args.get("marker") and not is_uuid(args["marker"]):
        raise Invalid("Invalid marker format", code="BadMarker")
    way, key = args.get("sort_dir", "desc"), args.get("sort_key", "created_at")
    if way not in ("asc", "desc"):
        raise Invalid(f"Invalid sort direction: {way}", code="BadSort")
    if key not in (*_SHORT, *_TIMES):
        raise Invalid(f"Invalid sort key: {key}", code="BadSort")
    down = way == "desc"
    return Page(query.limit(args.get("limit")), args.get("marker") or None, [(key, down), ("id", down)])


def _brief(row: Row) -> dict[str, Any]:
    times = {name: clock.iso_z(row[name]) for name in _TIMES}
    own = {"self": f"/v2/tasks/{row['id']}", "schema": "/v2/schemas/task"}
    return {name: row[name] for name in _SHORT} | times | own
