"""Images under the compute API, as older clients look at them (until 2.35). The image API has them."""

from collections.abc import Iterator
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
_HAS = """EXISTS (SELECT 1 FROM image_property p WHERE p.image_id = image.id AND p.name = :name{n}
AND p.value = :value{n})"""
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
        conditions = [Sql(_VISIBLE, {"me": request.caller.project_id or ""}), *_narrowed(request)]
        order = "created_at DESC, id DESC"
        return await IMAGE.select(self.db, wanted, conditions=conditions, order=order, limit=query.limit(request))

    async def show(self, request: Request) -> Response:
        row = await self.find(request)
        return json_response(200, {"image": _view(request, row)})

    async def delete(self, request: Request) -> Response:
        row = await self.find(request)
        if row["protected"] or not self.cloud.use(ImagePolicy).allows(request.caller, "delete_image", row):
            raise Forbidden("You are not allowed to delete the image.")
        await discard(self.cloud, row["id"])
        return empty(204)

    async def find(self, request: Request) -> Row:
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


def _narrowed(request: Request) -> Iterator[Sql]:
    """Filters by properties: what kind of image it is, and of which Server, by its id or URL; and by what it needs."""
    wanted = {"image_type": request.args.get("type"),
              "instance_uuid": request.args.get("server", "").rstrip("/").rpartition("/")[2] or None}  # fmt: skip
    wanted |= {name.removeprefix("property-"): value for name, value in request.query if name.startswith("property-")}
    for number, (name, value) in enumerate(wanted.items()):
        if value is not None:
            yield Sql(_HAS.format(n=number), {f"name{number}": name, f"value{number}": value})
    for name, column in (("minRam", "min_ram"), ("minDisk", "min_disk")):
        if name in request.args:
            yield Sql(f"COALESCE(image.{column}, 0) = :{column}", {column: query.number(request, name, 0)})
    if since := request.args.get("changes-since"):
        yield Sql("image.updated_at >= :since", {"since": query.moment("changes-since", since)})


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
