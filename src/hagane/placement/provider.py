"""Hosts as resource providers: what they are, have, and give. For reading; claims are made with Servers."""

from datetime import UTC, datetime
from typing import Any

from hagane.api.http import Request, Response, empty, json_response
from hagane.api.service import Route
from hagane.cloud import Cloud
from hagane.errors import NotFound
from hagane.placement.base import ROOT, at, need
from hagane.placement.outside import all_providers, held, provider
from hagane.placement.query import Query
from hagane.placement.trait import Vocabulary, traits_of
from hagane.state.database import Row

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
        self.cloud, self.db = cloud, cloud.db

    async def index(self, request: Request) -> Response:
        need(request, "resource_providers:list")
        known = {"name", "uuid"}
        for since, names in ((3, {"member_of"}), (4, {"resources"}), (14, {"in_tree"}), (18, {"required"})):
            known |= names if at(request, since) else set()
        hosts, inventories = await all_providers(self.cloud, self.db)
        query = Query.of(request, known, Vocabulary.of(hosts, inventories))
        found = []
        for host in hosts:
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
        return answered(request, _view(request, (await self._find(request))[0]))

    async def _find(self, request: Request) -> tuple[Row, dict[str, Row]]:
        """A provider and its inventory."""
        key = request.params["id"]
        found = await provider(self.cloud, self.db, key)
        if found is None:
            raise NotFound(f"No resource provider with uuid {key} found")
        return found

    async def inventories(self, request: Request) -> Response:
        need(request, "resource_providers:inventories:list")
        host, rows = await self._find(request)
        shown = {row["resource_class"]: {name: row[name] for name in _SHOWN} for row in rows.values()}
        return answered(request, {"inventories": shown, "resource_provider_generation": host["generation"]})

    async def inventory(self, request: Request) -> Response:
        need(request, "resource_providers:inventories:show")
        (host, rows), name = await self._find(request), request.params["class"]
        row = rows.get(name)
        if row is None:
            raise NotFound(f"No inventory of class {name} for {host['id']}")
        shown = {key: row[key] for key in _SHOWN}
        return answered(request, shown | {"resource_provider_generation": host["generation"]})

    async def usages(self, request: Request) -> Response:
        need(request, "resource_providers:usages")
        host, rows = await self._find(request)
        used = {row["resource_class"]: row["used"] for row in rows.values()}
        return answered(request, {"resource_provider_generation": host["generation"], "usages": used})

    async def allocations(self, request: Request) -> Response:
        need(request, "resource_providers:allocations:list")
        host, _ = await self._find(request)
        found: dict[str, Any] = {}
        for row in (await held(self.cloud, self.db, provider_id=host["id"]))[0]:
            one = found.setdefault(row["consumer_id"], {"resources": {}})
            one["resources"][row["resource_class"]] = row["used"]
            if at(request, 28):
                one["consumer_generation"] = 1
        return answered(request, {"allocations": found, "resource_provider_generation": host["generation"]})

    async def traits(self, request: Request) -> Response:
        need(request, "resource_providers:traits:list")
        host, _ = await self._find(request)
        return answered(request, {"traits": traits_of(host), "resource_provider_generation": host["generation"]})

    async def aggregates(self, request: Request) -> Response:
        need(request, "resource_providers:aggregates:list")
        host, _ = await self._find(request)
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

    async def words() -> Vocabulary:
        return Vocabulary.of(*await all_providers(cloud, cloud.db))

    async def traits(request: Request) -> Response:
        need(request, "traits:list")
        name = request.args.get("name", "")
        found = list((await words()).traits)
        if name.startswith("in:"):
            found = [trait for trait in found if trait in name[3:].split(",")]
        elif name.startswith("startswith:"):
            found = [trait for trait in found if trait.startswith(name.removeprefix("startswith:"))]
        return answered(request, {"traits": found})

    async def trait(request: Request) -> Response:
        need(request, "traits:show")
        if request.params["name"] not in (await words()).traits:
            raise NotFound(f"No such trait(s): {request.params['name']}.")
        return empty(204)

    def class_view(name: str) -> dict[str, Any]:
        return {"name": name, "links": [{"rel": "self", "href": f"{ROOT}/resource_classes/{name}"}]}

    async def classes(request: Request) -> Response:
        need(request, "resource_classes:list")
        return answered(request, {"resource_classes": [class_view(name) for name in (await words()).classes]})

    async def one_class(request: Request) -> Response:
        need(request, "resource_classes:show")
        if request.params["name"] not in (await words()).classes:
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
