"""Interoperable import: an image's bytes are staged first, and become its content on request.

    PUT .../stage ─▶ uploading ── POST .../import {"method": {"name": "glance-direct"}} ─▶ active   (or queued: refused)

The bytes are hashed and inspected while they are staged, so the import itself is one transaction; its outcome is told
by a task, as clients expect it. Fetching an image from a URL (`web-download`) is not offered: this process shall not be
made to ask addresses that its callers cannot reach.
"""

from typing import Any

from hagane.api.http import Request, Response, empty, json_response
from hagane.api.service import Route
from hagane.cloud import Cloud
from hagane.errors import Conflict, Invalid
from hagane.image import content, store
from hagane.image.base import PREFIX, STORE, enforce, json_object
from hagane.image.data import announced, receiver
from hagane.image.image import IMPORT_METHODS, Image
from hagane.image.task import image_tasks, new_task
from hagane.state.database import Row, Tx


class Staging:
    """Handlers of staging and importing."""

    def __init__(self, cloud: Cloud, images: Image) -> None:
        self.cloud, self._images = cloud, images

    def routes(self) -> list[Route]:
        one = f"{PREFIX}/v2/images/{{id}}"
        return [
            Route("GET", f"{PREFIX}/v2/info/import", self.methods, "import:methods"),
            Route("PUT", f"{one}/stage", self.stage, "image:stage", rule="modify_image", status=204, streams=True),
            Route("POST", f"{one}/import", self.import_image, "image:import", rule="modify_image", status=202),
            Route("GET", f"{one}/tasks", self.tasks, "image:tasks", rule="get_image"),
        ]

    async def methods(self, request: Request) -> Response:
        methods = {"description": "Import methods available.", "type": "array", "value": IMPORT_METHODS}
        return json_response(200, {"import-methods": methods})

    async def stage(self, request: Request) -> Response:
        row = await receiver(self._images, request, "modify_image")
        await store.stage(self.cloud, row, request.stream(), size=announced(request))
        return empty()

    async def import_image(self, request: Request) -> Response:
        body = await json_object(request, "Import request requires a 'method' field.")
        _check(body)

        async def work(tx: Tx) -> tuple[Row, str]:
            row = await self._images.find(request, tx, request.params["id"])
            _ready(row)
            enforce(request, "modify_image", self._images.target(row))
            _stores(request, body)
            why = await store.import_staged(tx, self.cloud, row)
            given = {"image_id": row["id"], "import_req": body, "backend": [STORE]}
            await new_task(tx, request, row, given, failure=why)
            return row, why

        row, why = await self.cloud.db.write(work)
        if why:
            await content.remove(self.cloud.config, row["id"], row["upload"])
        return empty(202)

    async def tasks(self, request: Request) -> Response:
        """What has been imported, or failed to be, in the last days."""
        row = await self._images.find(request, self.cloud.db, request.params["id"])
        return json_response(200, {"tasks": await image_tasks(self.cloud.db, row["id"])})


def _check(body: dict[str, Any]) -> None:
    """What can be said of an import without knowing the image. Raises Invalid."""
    method = body.get("method")
    if "method" not in body:
        raise Invalid("Import request requires a 'method' field.", code="MalformedBody")
    if not isinstance(method, dict) or not isinstance(method.get("name"), str):
        raise Invalid("Import request requires a 'name' field.", code="MalformedBody")
    if method["name"] not in IMPORT_METHODS:
        raise Invalid(f"Unknown import method name '{method['name']}'.", code="UnknownImportMethod")
    for name, usual in (("all_stores_must_succeed", True), ("all_stores", False)):
        if not isinstance(body.get(name, usual), bool):
            raise Invalid(f"'{name}' must be boolean value only", code="MalformedBody")


def _ready(row: Row) -> None:
    """Raises Conflict unless bytes have been staged."""
    if row["status"] == "active":
        raise Conflict("Image with status active cannot be target for import", code="Conflict")
    if row["status"] != "uploading" or row["staged"] is None:
        raise Conflict("Image needs to be staged before 'glance-direct' method can be used", code="Conflict")


def _stores(request: Request, body: dict[str, Any]) -> None:
    """There is one store; naming it is fine. Raises Invalid, Conflict."""
    header = request.headers.get("x-image-meta-store")
    if body.get("all_stores", False):
        if "stores" in body or header is not None:
            raise Invalid("All_stores parameter can't be used with x-image-meta-store header or stores parameter")
        return
    if "stores" in body and header is not None:
        raise Invalid("Stores parameter and x-image-meta-store header can't be both specified")
    named = body.get("stores", [STORE if header is None else header])
    for name in named if isinstance(named, list) else [named]:
        if name != STORE:
            raise Conflict(f"Store for identifier {name} not found", code="UnknownStore")
