"""Parts of a Server under paths of their own: metadata, tags, addresses."""

from collections.abc import Callable
from typing import Any

from hagane.api.http import Request, Response, empty, json_response
from hagane.api.service import Route
from hagane.api.types import BadValue, Obj
from hagane.cloud import Cloud
from hagane.compute import nic, quota
from hagane.compute.action import refuse_state
from hagane.compute.base import V21, api, need
from hagane.compute.kinds import METADATA, TAG, TAGS
from hagane.compute.row import SERVER, VmState
from hagane.compute.server import find, refuse_locked
from hagane.compute.server_create import check_metadata
from hagane.errors import Invalid, NotFound
from hagane.state import clock
from hagane.state.database import Row, Tx

BASE = V21 + "/servers/{id}"
ALL = Obj(fields={"metadata": METADATA}, required=("metadata",))
ONE = Obj(fields={"meta": METADATA}, required=("meta",))
TAG_LIST = Obj(fields={"tags": TAGS}, required=("tags",))
MOST_TAGS = 50


class Metadata:
    """/servers/{id}/metadata."""

    def __init__(self, cloud: Cloud) -> None:
        self.db = cloud.db

    async def index(self, request: Request) -> Response:
        row = await self._read(request, "index")
        return json_response(200, {"metadata": row["metadata"]})

    async def show(self, request: Request) -> Response:
        row = await self._read(request, "show")
        key = request.params["key"]
        if key not in row["metadata"]:
            raise NotFound("Metadata item was not found")
        return json_response(200, {"meta": {key: row["metadata"][key]}})

    async def _read(self, request: Request, verb: str) -> Row:
        row = await find(self.db, request)
        need(request, api(f"server-metadata:{verb}"), row)
        return row

    async def create(self, request: Request) -> Response:
        given = ALL.check("", await request.json())["metadata"]
        return json_response(200, {"metadata": await self._write(request, "create", lambda old: old | given)})

    async def update_all(self, request: Request) -> Response:
        given = ALL.check("", await request.json())["metadata"]
        return json_response(200, {"metadata": await self._write(request, "update_all", lambda old: given)})

    async def update(self, request: Request) -> Response:
        given, key = ONE.check("", await request.json())["meta"], request.params["key"]
        if len(given) != 1:
            reason = "does not have enough properties" if not given else "has too many properties"
            raise BadValue("meta", given, f"{given!r} {reason}")
        if key not in given:
            raise Invalid("Request body and URI mismatch")
        await self._write(request, "update", lambda old: old | given)
        return json_response(200, {"meta": given})

    async def delete(self, request: Request) -> Response:
        key = request.params["key"]

        def without(old: dict[str, str]) -> dict[str, str]:
            if key not in old:
                raise NotFound("Metadata item was not found")
            return {name: value for name, value in old.items() if name != key}

        await self._write(request, "delete", without)
        return empty(204)

    async def _write(
        self, request: Request, verb: str, change: Callable[[dict[str, str]], dict[str, str]]
    ) -> dict[str, str]:
        async def work(tx: Tx) -> dict[str, str]:
            row = await find(tx, request)
            need(request, api(f"server-metadata:{verb}"), row)
            refuse_locked(request, row)
            fit = [VmState.ACTIVE, VmState.PAUSED, VmState.SUSPENDED, VmState.STOPPED, VmState.BUILDING,
                   VmState.ERROR]  # fmt: skip
            refuse_state(row, f"{verb.partition('_')[0]} metadata", fit, (), launched=False)
            metadata = change(row["metadata"])
            check_metadata(metadata, await quota.limits_of(tx, row["project_id"]))
            await SERVER.update(tx, {"id": row["id"]}, {"metadata": metadata, "updated_at": clock.now()})
            return metadata

        return await self.db.write(work)

    def routes(self) -> list[Route]:
        path, rule = BASE + "/metadata", "server-metadata"
        return [
            Route("GET", path, self.index, "metadata:list", rule=api(f"{rule}:index")),
            Route("POST", path, self.create, "metadata:create", rule=api(f"{rule}:create"), body=ALL),
            Route("PUT", path, self.update_all, "metadata:replace", rule=api(f"{rule}:update_all"), body=ALL),
            Route("GET", path + "/{key}", self.show, "metadata:show", rule=api(f"{rule}:show")),
            Route("PUT", path + "/{key}", self.update, "metadata:update", rule=api(f"{rule}:update"), body=ONE),
            Route("DELETE", path + "/{key}", self.delete, "metadata:delete", rule=api(f"{rule}:delete"), status=204),
        ]


class Tags:
    """/servers/{id}/tags (2.26)."""

    def __init__(self, cloud: Cloud) -> None:
        self.db = cloud.db

    async def index(self, request: Request) -> Response:
        row = await find(self.db, request)
        need(request, api("os-server-tags:index"), row)
        return json_response(200, {"tags": row["tags"]})

    async def show(self, request: Request) -> Response:
        row = await find(self.db, request)
        need(request, api("os-server-tags:show"), row)
        if request.params["tag"] not in row["tags"]:
            raise NotFound(f"Server {row['id']} has no tag '{request.params['tag']}'")
        return empty(204)

    async def update_all(self, request: Request) -> Response:
        tags = list(dict.fromkeys(TAG_LIST.check("", await request.json())["tags"]))
        await self._write(request, "update_all", lambda old: tags)
        return json_response(200, {"tags": tags})

    async def update(self, request: Request) -> Response:
        tag, server = request.params["tag"], request.params["id"]
        try:
            TAG.check("tag", tag)
        except BadValue as error:
            raise Invalid(f"Tag '{tag}' is invalid. It must be a non empty string without characters '/' and ','. "
                          f"Validation error message: {error.reason}") from error  # fmt: skip
        fresh = False

        def add(old: list[str]) -> list[str]:
            nonlocal fresh
            fresh = tag not in old
            if fresh and len(old) >= MOST_TAGS:
                raise Invalid(f"The number of tags exceeded the per-server limit {MOST_TAGS}")
            return [*old, tag] if fresh else old

        await self._write(request, "update", add)
        if not fresh:
            return empty(204)
        return empty(201, {"location": f"{request.url}/v2.1/servers/{server}/tags/{tag}"})

    async def delete(self, request: Request) -> Response:
        tag = request.params["tag"]

        def remove(old: list[str]) -> list[str]:
            if tag not in old:
                raise NotFound(f"Server {request.params['id']} has no tag '{tag}'")
            return [one for one in old if one != tag]

        await self._write(request, "delete", remove)
        return empty(204)

    async def delete_all(self, request: Request) -> Response:
        await self._write(request, "delete_all", lambda old: [])
        return empty(204)

    async def _write(self, request: Request, verb: str, change: Callable[[list[str]], list[str]]) -> None:
        async def work(tx: Tx) -> None:
            row = await find(tx, request)
            need(request, api(f"os-server-tags:{verb}"), row)
            word = f"{verb.partition('_')[0]} tag{'s' if verb.endswith('_all') else ''}"
            fit = [VmState.ACTIVE, VmState.PAUSED, VmState.SUSPENDED, VmState.STOPPED]
            refuse_state(row, word, fit, (), launched=False)
            await SERVER.update(tx, {"id": row["id"]}, {"tags": change(row["tags"]), "updated_at": clock.now()})

        await self.db.write(work)

    def routes(self) -> list[Route]:
        path, rule = BASE + "/tags", "os-server-tags"
        common: Any = {"since": "2.26"}
        return [
            Route("GET", path, self.index, "tags:list", rule=api(f"{rule}:index"), **common),
            Route(
                "PUT", path, self.update_all, "tags:replace", rule=api(f"{rule}:update_all"), body=TAG_LIST, **common
            ),
            Route("DELETE", path, self.delete_all, "tags:clear", rule=api(f"{rule}:delete_all"), status=204, **common),
            Route("GET", path + "/{tag}", self.show, "tags:show", rule=api(f"{rule}:show"), status=204, **common),
            Route("PUT", path + "/{tag}", self.update, "tags:add", rule=api(f"{rule}:update"), status=201, **common),
            Route(
                "DELETE", path + "/{tag}", self.delete, "tags:remove", rule=api(f"{rule}:delete"), status=204, **common
            ),
        ]


def addresses(cloud: Cloud) -> list[Route]:
    """/servers/{id}/ips."""

    async def found(request: Request, verb: str) -> dict[str, list[dict[str, Any]]]:
        row = await find(cloud.db, request)
        need(request, api(f"ips:{verb}"), row)
        networks = (await nic.addresses(cloud.db, [row])).get(row["id"], {}) if row["nics"] else {}
        return {name: [{"version": a["version"], "addr": a["addr"]} for a in those] for name, those in networks.items()}

    async def index(request: Request) -> Response:
        return json_response(200, {"addresses": await found(request, "index")})

    async def show(request: Request) -> Response:
        networks, name = await found(request, "show"), request.params["network"]
        if name not in networks:
            raise NotFound("Instance is not a member of specified network")
        return json_response(200, {name: networks[name]})

    return [
        Route("GET", BASE + "/ips", index, "ips:list", rule=api("ips:index")),
        Route("GET", BASE + "/ips/{network}", show, "ips:show", rule=api("ips:show")),
    ]
