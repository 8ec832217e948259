"""Volumes and snapshots under the compute API (until 2.35): /os-volumes and /os-snapshots. The volume API has them.

https://docs.openstack.org/api-ref/compute/#volume-extension-os-volumes-os-snapshots-deprecated
"""

from collections.abc import Callable
from typing import Any

from hagane.api.http import Request, Response, empty, json_response
from hagane.api.service import Route
from hagane.cloud import Cloud
from hagane.compute import query
from hagane.compute.base import V21, api, need, object_of
from hagane.compute.proxy import LAST, VOLUME, ask, one_of
from hagane.errors import Invalid

VOLUMES, SNAPSHOTS = V21 + "/os-volumes", V21 + "/os-snapshots"


def _volume(volume: dict[str, Any]) -> dict[str, Any]:
    attached = [{"id": one["volume_id"], "volumeId": one["volume_id"], "serverId": one["server_id"],
                 "device": one["device"]} for one in volume["attachments"]]  # fmt: skip
    return {
        "id": volume["id"], "status": volume["status"], "size": volume["size"], "attachments": attached or [{}],
        "availabilityZone": volume["availability_zone"], "createdAt": volume["created_at"],
        "displayName": volume["name"], "displayDescription": volume["description"],
        "volumeType": volume["volume_type"], "snapshotId": volume["snapshot_id"], "metadata": volume["metadata"],
    }  # fmt: skip


def _snapshot(snapshot: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": snapshot["id"], "volumeId": snapshot["volume_id"], "status": snapshot["status"],
        "size": snapshot["size"], "createdAt": snapshot["created_at"], "displayName": snapshot["name"],
        "displayDescription": snapshot["description"],
    }  # fmt: skip


def _new_volume(given: dict[str, Any]) -> dict[str, Any]:
    """An order in the volume API's words. Raises Invalid."""
    size = given.get("size")
    if isinstance(size, bool) or not (isinstance(size, int) or (isinstance(size, str) and size.isdecimal())):
        raise Invalid(f"Invalid input for field/attribute size. Value: {size}.")
    if int(size) < 1:
        raise Invalid(f"Invalid input for field/attribute size. Value: {size}. {size} is less than the minimum of 1")
    names = ("metadata", "snapshot_id", "volume_type", "availability_zone")
    return {"size": int(size), "name": given.get("display_name"), "description": given.get("display_description")} | {
        name: given[name] for name in names if given.get(name) is not None
    }


def _new_snapshot(given: dict[str, Any]) -> dict[str, Any]:
    if "volume_id" not in given:
        raise Invalid("'volume_id' is a required property")
    return {"volume_id": given["volume_id"], "name": given.get("display_name"),
            "description": given.get("display_description"), "force": given.get("force", False)}  # fmt: skip


class _Things:
    """The handlers of one of both. `word` stands in the rules: "" or "snapshots:"."""

    def __init__(self, path: str, name: str, word: str, view: Callable[[dict[str, Any]], dict[str, Any]],
                 order: Callable[[dict[str, Any]], dict[str, Any]]) -> None:  # fmt: skip
        self._path, self._name, self._word, self._view, self._order = path, name, word, view, order
        self._theirs = f"{VOLUME}/{name}s"

    def _rule(self, verb: str) -> str:
        return api(f"os-volumes:{self._word}{verb}")

    def _their(self, request: Request) -> str:
        return one_of(self._theirs, self._name.capitalize(), request.params["id"])

    async def index(self, request: Request) -> Response:
        need(request, self._rule("detail" if request.path.endswith("/detail") else "list"))
        found = (await ask(request, "GET", f"{self._theirs}/detail"))[f"{self._name}s"]
        views = [self._view(one) for one in query.window(request, found)]
        return json_response(200, {f"{self._name}s": views})

    async def show(self, request: Request) -> Response:
        need(request, self._rule("show"))
        found = await ask(request, "GET", self._their(request))
        return json_response(200, {self._name: self._view(found[self._name])})

    async def create(self, request: Request) -> Response:
        need(request, self._rule("create"))
        wanted = self._order(object_of(await request.json(), self._name))
        made = await ask(request, "POST", self._theirs, {self._name: wanted})
        return json_response(200, {self._name: self._view(made[self._name])})

    async def delete(self, request: Request) -> Response:
        need(request, self._rule("delete"))
        await ask(request, "DELETE", self._their(request))
        return empty(202)

    def routes(self) -> list[Route]:
        one, name = self._path + "/{id}", self._name
        return [
            Route("GET", self._path, self.index, f"{name}:list", rule=self._rule("list"), until=LAST),
            Route("GET", self._path + "/detail", self.index, f"{name}:detail", rule=self._rule("detail"), until=LAST),
            Route("POST", self._path, self.create, f"{name}:create", rule=self._rule("create"), until=LAST),
            Route("GET", one, self.show, f"{name}:show", rule=self._rule("show"), until=LAST),
            Route("DELETE", one, self.delete, f"{name}:delete", rule=self._rule("delete"), status=202, until=LAST),
        ]


def routes(cloud: Cloud) -> list[Route]:
    return [
        *_Things(VOLUMES, "volume", "", _volume, _new_volume).routes(),
        *_Things(SNAPSHOTS, "snapshot", "snapshots:", _snapshot, _new_snapshot).routes(),
    ]
