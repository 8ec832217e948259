"""Who uses what: allocations of a consumer, sums of a project, and what could be allocated."""

from typing import Any

from hagane.api.http import Request, Response
from hagane.api.service import Route
from hagane.api.text import natural
from hagane.cloud import Cloud
from hagane.errors import Invalid
from hagane.placement.base import ROOT, at, need
from hagane.placement.outside import all_providers, held
from hagane.placement.provider import answered
from hagane.placement.query import Query
from hagane.placement.trait import Vocabulary, traits_of
from hagane.state.database import Row

TYPE = "INSTANCE"  # of every consumer here
_CANDIDATES = {"resources", "limit", "required", "member_of", "in_tree", "group_policy", "root_required"}


class Consumers:
    """The handlers."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud, self.db = cloud, cloud.db

    async def allocations(self, request: Request) -> Response:
        need(request, "allocations:list")
        rows, hosts = await held(self.cloud, self.db, consumer=request.params["id"])
        found: dict[str, Any] = {}
        for row in rows:
            generation = hosts[row["provider_id"]]["generation"]
            one = found.setdefault(row["provider_id"], {"generation": generation, "resources": {}})
            one["resources"][row["resource_class"]] = row["used"]
        answer: dict[str, Any] = {"allocations": found}
        if rows and at(request, 12):
            answer |= {"project_id": rows[0]["project_id"], "user_id": rows[0]["user_id"]}
            if at(request, 28):
                answer["consumer_generation"] = 1
            if at(request, 38):
                answer["consumer_type"] = TYPE
        return answered(request, answer)

    async def usages(self, request: Request) -> Response:
        """Sums of a project, or of one of its users; by type of consumer from 1.38 on."""
        project, user = request.args.get("project_id"), request.args.get("user_id")
        need(request, "usages", {"project_id": project})
        if project is None:
            raise Invalid("Invalid query string parameters: 'project_id' is a required property")
        kind = request.args.get("consumer_type", TYPE)
        rows: list[Row] = []
        if not at(request, 38) or kind in (TYPE, "all"):
            rows, _ = await held(self.cloud, self.db, project=project, user=user or "")
        sums: dict[str, int] = {}
        for row in rows:
            sums[row["resource_class"]] = sums.get(row["resource_class"], 0) + row["used"]
        if not at(request, 38):
            return answered(request, {"usages": sums})
        consumers = len({row["consumer_id"] for row in rows})
        name = "all" if kind == "all" else TYPE
        return answered(request, {"usages": {name: sums | {"consumer_count": consumers}} if rows else {}})

    async def candidates(self, request: Request) -> Response:
        need(request, "allocation_candidates:list")
        if "resources" not in request.args:
            raise Invalid("Invalid query string parameters: 'resources' is a required property")
        known, inventories = await all_providers(self.cloud, self.db)
        query = Query.of(request, _CANDIDATES, Vocabulary.of(known, inventories))
        text = request.args.get("limit", "1000")
        if not (limit := natural(text)):
            raise Invalid(f"Invalid query string parameters: '{text}' does not match '^[1-9][0-9]*$'")
        hosts = [host for host in known if query.fits(host, inventories.get(host["id"], {}))]
        hosts = hosts[:limit]
        return answered(request, {
            "allocation_requests": [_request(request, host, query.resources) for host in hosts],
            "provider_summaries": {
                host["id"]: _summary(request, host, inventories[host["id"]], query.resources) for host in hosts
            },
        })  # fmt: skip

    def routes(self) -> list[Route]:
        return [
            Route("GET", ROOT + "/allocations/{id}", self.allocations, "allocation:show",
                  rule="placement:allocations:list"),
            Route("GET", ROOT + "/usages", self.usages, "usage:list", rule="placement:usages", since="1.9"),
            Route("GET", ROOT + "/allocation_candidates", self.candidates, "allocation_candidate:list",
                  rule="placement:allocation_candidates:list", since="1.10"),
        ]  # fmt: skip


def _request(request: Request, host: Row, resources: dict[str, int]) -> dict[str, Any]:
    if not at(request, 12):
        return {"allocations": [{"resource_provider": {"uuid": host["id"]}, "resources": resources}]}
    view: dict[str, Any] = {"allocations": {host["id"]: {"resources": resources}}}
    return view | ({"mappings": {"": [host["id"]]}} if at(request, 34) else {})


def _summary(request: Request, host: Row, inventory: dict[str, Row], resources: dict[str, int]) -> dict[str, Any]:
    shown = {
        name: {"capacity": row["capacity"], "used": row["used"]}
        for name, row in inventory.items()
        if at(request, 27) or name in resources
    }
    view: dict[str, Any] = {"resources": shown}
    if at(request, 17):
        view["traits"] = traits_of(host)
    if at(request, 29):
        view |= {"parent_provider_uuid": None, "root_provider_uuid": host["id"]}
    return view
