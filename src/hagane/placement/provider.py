"""Hosts as resource providers: what they are, have, and give. For reading; claims are made with Servers."""

from datetime import UTC, datetime
from typing import Any

from hagane.api.http import Request, Response, empty, json_response
from hagane.api.service import Route
from hagane.cloud import Cloud
from hagane.errors import NotFound
from hagane.placement.base import ROOT, at, need
from hagane.placement.host import HOST, all_hosts
from hagane.placement.inventory import ALLOCATION, INVENTORY, usages
from hagane.placement.query import Query
from hagane.placement.trait import CLASSES, TRAITS, traits_of
from hagane.state.database import Reader, Row

PATH = ROOT + "/resource_providers"
_SHOWN = ("allocation_ratio", "max_unit", "min_unit", "reserved", "step_size", "total")


def answered(request: Request, body: Any) -> Response:
    """From 1.15 on answers say how fresh they are."""
    headers = {}
    if at(request, 15):
        headers = {"cache-control": "no-cache", "last-modified": f"{datetime.now(UTC):%a, %d %b %Y %H:%M:%S} GMT"}
    return json_response(200, body, headers)


class Providers:
    """The handlers."""

    def __init__(self, cloud: Cloud) -> None:
        self.db = cloud.db

    async def index(self, request: Request) -> Response:
        need(request, "resource_providers:list")
        known = {"name", "uuid"}
        for since, names in ((3, {"member_of"}), (4, {"resources"}), (14, {"in_tree"}), (18, {"required"})):
            known |= names if at(request, since) else set()
        query, inventories = Query.of(request, known), await usages(self.db)
        found = []
        for host in await all_hosts(self.db):
            if request.args.get("name") not in (None, host["name"]) or request.args.get("uuid") not in (
                None,
                host["id"],
            ):
                continue
            if query.fits(host, inventories.get(host["id"], {})):
                found.append(_view(request, host))
        return answered(request, {"resource_providers": found})

    async def show(self, request: Request) -> Response:
        need(request, "resource_providers:show")
        return answered(request, _view(request, await self._find(request)))

    async def _find(self, request: Request) -> Row:
        key = request.params["id"]
        host = await HOST.get(self.db, id=key)
        if host is None:
            raise NotFound(f"No resource provider with uuid {key} found")
        return host

    async def inventories(self, request: Request) -> Response:
        need(request, "resource_providers:inventories:list")
        host = await self._find(request)
        rows = await INVENTORY.select(self.db, {"provider_id": host["id"]})
        shown = {row["resource_class"]: {name: row[name] for name in _SHOWN} for row in rows}
        return answered(request, {"inventories": shown, "resource_provider_generation": host["generation"]})

    async def inventory(self, request: Request) -> Response:
        need(request, "resource_providers:inventories:show")
        host, name = await self._find(request), request.params["class"]
        row = await INVENTORY.get(self.db, provider_id=host["id"], resource_class=name)
        if row is None:
            raise NotFound(f"No inventory of class {name} for {host['id']}")
        shown = {key: row[key] for key in _SHOWN}
        return answered(request, shown | {"resource_provider_generation": host["generation"]})

    async def usages(self, request: Request) -> Response:
        need(request, "resource_providers:usages")
        host = await self._find(request)
        rows = await INVENTORY.select(self.db, {"provider_id": host["id"]})
        used = {row["resource_class"]: row["used"] for row in rows}
        return answered(request, {"resource_provider_generation": host["generation"], "usages": used})

    async def allocations(self, request: Request) -> Response:
        need(request, "resource_providers:allocations:list")
        host = await self._find(request)
        found: dict[str, Any] = {}
        for row in await ALLOCATION.select(self.db, {"provider_id": host["id"]}):
            one = found.setdefault(row["consumer_id"], {"resources": {}})
            one["resources"][row["resource_class"]] = row["used"]
            if at(request, 28):
                one["consumer_generation"] = 1
        return answered(request, {"allocations": found, "resource_provider_generation": host["generation"]})

    async def traits(self, request: Request) -> Response:
        need(request, "resource_providers:traits:list")
        host = await self._find(request)
        return answered(request, {"traits": traits_of(host), "resource_provider_generation": host["generation"]})

    async def aggregates(self, request: Request) -> Response:
        need(request, "resource_providers:aggregates:list")
        host = await self._find(request)
        more = {"resource_provider_generation": host["generation"]} if at(request, 19) else {}
        return answered(request, {"aggregates": []} | more)

    def routes(self) -> list[Route]:
        one, rule = PATH + "/{id}", "placement:resource_providers"
        return [
            Route("GET", PATH, self.index, "provider:list", rule=f"{rule}:list"),
            Route("GET", one, self.show, "provider:show", rule=f"{rule}:show"),
            Route("GET", one + "/inventories", self.inventories, "inventory:list", rule=f"{rule}:inventories:list"),
            Route("GET", one + "/inventories/{class}", self.inventory, "inventory:show",
                  rule=f"{rule}:inventories:show"),
            Route("GET", one + "/usages", self.usages, "provider:usages", rule=f"{rule}:usages"),
            Route("GET", one + "/allocations", self.allocations, "provider:allocations",
                  rule=f"{rule}:allocations:list"),
            Route("GET", one + "/traits", self.traits, "provider:traits", rule=f"{rule}:traits:list", since="1.6"),
            Route("GET", one + "/aggregates", self.aggregates, "provider:aggregates", rule=f"{rule}:aggregates:list",
                  since="1.1"),
        ]  # fmt: skip


def _view(request: Request, host: Row) -> dict[str, Any]:
    path = f"{PATH}/{host['id']}"
    kinds = ["self", "inventories", "usages"]
    kinds += [name for since, name in ((1, "aggregates"), (6, "traits"), (11, "allocations")) if at(request, since)]
    links = [{"rel": kind, "href": path if kind == "self" else f"{path}/{kind}"} for kind in kinds]
    view = {"uuid": host["id"], "name": host["name"], "generation": host["generation"], "links": links}
    if at(request, 14):
        view |= {"parent_provider_uuid": None, "root_provider_uuid": host["id"]}
    return view


def vocabulary(cloud: Cloud) -> list[Route]:
    """/traits and /resource_classes."""

    async def traits(request: Request) -> Response:
        need(request, "traits:list")
        name = request.args.get("name", "")
        found = list(TRAITS)
        if name.startswith("in:"):
            found = [trait for trait in TRAITS if trait in name[3:].split(",")]
        elif name.startswith("startswith:"):
            found = [trait for trait in TRAITS if trait.startswith(name.removeprefix("startswith:"))]
        return answered(request, {"traits": found})

    async def trait(request: Request) -> Response:
        need(request, "traits:show")
        if request.params["name"] not in TRAITS:
            raise NotFound(f"No such trait(s): {request.params['name']}.")
        return empty(204)

    def class_view(name: str) -> dict[str, Any]:
        return {"name": name, "links": [{"rel": "self", "href": f"{ROOT}/resource_classes/{name}"}]}

    async def classes(request: Request) -> Response:
        need(request, "resource_classes:list")
        return answered(request, {"resource_classes": [class_view(name) for name in CLASSES]})

    async def one_class(request: Request) -> Response:
        need(request, "resource_classes:show")
        if request.params["name"] not in CLASSES:
            raise NotFound(f"No such resource class {request.params['name']}.")
        return answered(request, class_view(request.params["name"]))

    return [
        Route("GET", ROOT + "/traits", traits, "trait:list", rule="placement:traits:list", since="1.6"),
        Route("GET", ROOT + "/traits/{name}", trait, "trait:show", rule="placement:traits:show", since="1.6"),
        Route("GET", ROOT + "/resource_classes", classes, "resource_class:list",
              rule="placement:resource_classes:list", since="1.2"),
        Route("GET", ROOT + "/resource_classes/{name}", one_class, "resource_class:show",
              rule="placement:resource_classes:show", since="1.2"),
    ]  # fmt: skip


async def provider_rows(reader: Reader, ids: list[str]) -> dict[str, Row]:
    return {row["id"]: row for row in await HOST.select(reader, {"id": ids})} if ids else {}
