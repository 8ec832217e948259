"""Images under the compute API, as older clients look at them (until 2.35). The image API has them."""

from typing import Any

from hagane.api.http import Request, Response, empty, json_response
from hagane.api.service import Route
from hagane.cloud import Cloud
from hagane.compute import query
from hagane.compute.base import V21, links
from hagane.errors import Forbidden, NotFound
from hagane.image.base import ImagePolicy
from hagane.image.image import Image
from hagane.image.row import visible_to
from hagane.image.store import discard
from hagane.state import clock
from hagane.state.database import Row
from hagane.state.table import Sql

IMAGE = Image.table
PATH, LAST = V21 + "/images", "2.35"
_STATUS = {"queued": "SAVING", "saving": "SAVING", "active": "ACTIVE", "deactivated": "UNKNOWN"}
_VISIBLE = """image.visibility = 'public' OR image.owner = :me
OR image.id IN (SELECT image_id FROM image_member WHERE member_id = :me AND status = 'accepted')"""
_PROGRESS = {"queued": 25, "saving": 50, "active": 100}


class ImageProxy:
    """The handlers."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud, self.db = cloud, cloud.db

    async def index(self, request: Request) -> Response:
        views = [
            {"id": row["id"], "name": row["name"], "links": _links(request, row)} for row in await self._rows(request)
        ]
        return json_response(200, {"images": views})

    async def detail(self, request: Request) -> Response:
        return json_response(200, {"images": [_view(request, row) for row in await self._rows(request)]})

    async def _rows(self, request: Request) -> list[Row]:
        wanted: dict[str, Any] = {}
        if "name" in request.args:
            wanted["name"] = request.args["name"]
        if status := request.args.get("status"):
            wanted["status"] = [name for name, shown in _STATUS.items() if shown == status.upper()]
        visible = Sql(_VISIBLE, {"me": request.caller.project_id or ""})
        order = "created_at DESC, id DESC"
        return await IMAGE.select(self.db, wanted, conditions=[visible], order=order, limit=query.limit(request))

    async def show(self, request: Request) -> Response:
        row = await self._find(request)
        return json_response(200, {"image": _view(request, row)})

    async def delete(self, request: Request) -> Response:
        row = await self._find(request)
        if row["protected"] or not self.cloud.use(ImagePolicy).allows(request.caller, "delete_image", row):
            raise Forbidden("You are not allowed to delete the image.")
        await discard(self.cloud, row["id"])
        return empty(204)

    async def _find(self, request: Request) -> Row:
        row = await IMAGE.get(self.db, id=request.params["id"])
        if row is None or not await visible_to(self.db, request.caller, row):
            raise NotFound("Image not found.")
        return row

    def routes(self) -> list[Route]:
        one = PATH + "/{id}"
        return [
            Route("GET", PATH, self.index, "image:list", until=LAST),
            Route("GET", PATH + "/detail", self.detail, "image:detail", until=LAST),
            Route("GET", one, self.show, "image:show", until=LAST),
            Route("DELETE", one, self.delete, "image:delete", status=204, until=LAST),
        ]


def _links(request: Request, row: Row) -> list[dict[str, str]]:
    alternate = {"rel": "alternate", "type": "application/vnd.openstack.image",
                 "href": f"{request.base_url}/image/images/{row['id']}"}  # fmt: skip
    return [*links(request, "images", row["id"]), alternate]


def _view(request: Request, row: Row) -> dict[str, Any]:
    view: dict[str, Any] = {
        "id": row["id"], "name": row["name"], "minRam": row["min_ram"] or 0, "minDisk": row["min_disk"] or 0,
        "metadata": row["properties"], "created": clock.iso_z(row["created_at"]),
        "updated": clock.iso_z(row["updated_at"]), "status": _STATUS.get(row["status"], "UNKNOWN"),
        "progress": _PROGRESS.get(row["status"], 0), "OS-EXT-IMG-SIZE:size": row["size"], "links": _links(request, row),
    }  # fmt: skip
    server = row["properties"].get("instance_uuid")
    if server:
        view["server"] = {"id": server, "links": links(request, "servers", server)}
    return view
