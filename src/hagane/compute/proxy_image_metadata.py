"""Properties of images under the compute API (until 2.38): /images/{id}/metadata. The image API has them.

https://docs.openstack.org/api-ref/compute/#show-images-metadata
"""

from typing import Any

from hagane.api.http import Request, Response, empty, json_response
from hagane.api.service import Route
from hagane.api.types import Obj
from hagane.cloud import Cloud
from hagane.compute.base import V21
from hagane.compute.image_proxy import ImageProxy
from hagane.compute.kinds import METADATA
from hagane.compute.proxy import IMAGE, ask
from hagane.errors import Invalid, NotFound
from hagane.image.patch import V21 as PATCH

PATH, LAST = V21 + "/images/{id}/metadata", "2.38"
ALL = Obj(fields={"metadata": METADATA}, required=("metadata",))
ONE = Obj(fields={"meta": METADATA}, required=("meta",))


class ImageMetadata:
    """The handlers."""

    def __init__(self, cloud: Cloud) -> None:
        self._images = ImageProxy(cloud)

    async def index(self, request: Request) -> Response:
        return json_response(200, {"metadata": await self._now(request)})

    async def show(self, request: Request) -> Response:
        key, now = request.params["key"], await self._now(request)
        if key not in now:
            raise NotFound("Metadata item was not found")
        return json_response(200, {"meta": {key: now[key]}})

    async def create(self, request: Request) -> Response:
        given = ALL.check("", await request.json())["metadata"]
        now = await self._now(request)
        return json_response(200, {"metadata": await self._store(request, now, now | given)})

    async def replace(self, request: Request) -> Response:
        given = ALL.check("", await request.json())["metadata"]
        return json_response(200, {"metadata": await self._store(request, await self._now(request), given)})

    async def update(self, request: Request) -> Response:
        given, key = ONE.check("", await request.json())["meta"], request.params["key"]
        if len(given) != 1:
            raise Invalid("Request body contains too many items")
        if key not in given:
            raise Invalid("Request body and URI mismatch")
        now = await self._now(request)
        await self._store(request, now, now | given)
        return json_response(200, {"meta": given})

    async def delete(self, request: Request) -> Response:
        key, now = request.params["key"], await self._now(request)
        if key not in now:
            raise NotFound("Invalid metadata key")
        await self._store(request, now, {name: value for name, value in now.items() if name != key})
        return empty(204)

    async def _now(self, request: Request) -> dict[str, Any]:
        found: dict[str, Any] = (await self._images.find(request))["properties"]
        return found

    async def _store(self, request: Request, now: dict[str, Any], then: dict[str, Any]) -> dict[str, Any]:
        changes: list[dict[str, Any]] = [{"op": "remove", "path": _path(name)} for name in now if name not in then]
        changes += [{"op": "replace" if name in now else "add", "path": _path(name), "value": value}
                    for name, value in then.items() if now.get(name) != value]  # fmt: skip
        if changes:
            await ask(request, "PATCH", f"{IMAGE}/images/{request.params['id']}", changes, media=PATCH)
        return then

    def routes(self) -> list[Route]:
        one, name = PATH + "/{key}", "image_metadata"
        return [
            Route("GET", PATH, self.index, f"{name}:list", until=LAST),
            Route("POST", PATH, self.create, f"{name}:create", until=LAST),
            Route("PUT", PATH, self.replace, f"{name}:replace", until=LAST),
            Route("GET", one, self.show, f"{name}:show", until=LAST),
            Route("PUT", one, self.update, f"{name}:update", until=LAST),
            Route("DELETE", one, self.delete, f"{name}:delete", status=204, until=LAST),
        ]


def _path(name: str) -> str:
    """A JSON pointer (RFC 6901)."""
    return "/" + name.replace("~", "~0").replace("/", "~1")
