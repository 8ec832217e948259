"""Which stored policy (stored_policy.py) an endpoint goes by: its own, else its region's for the service, else the
service's.

    endpoint ─▶ (service, its region) ─▶ (service, the region above) ─▶ ... ─▶ service        the first one counts

Each of those places has at most one policy; to associate another one replaces it.
https://docs.openstack.org/api-ref/identity/v3-ext/#os-endpoint-policy-api
"""

from typing import Any

from hagane.api.http import Request, Response, empty, json_response
from hagane.api.listing import Page
from hagane.api.service import Route
from hagane.cloud import Cloud
from hagane.errors import NotFound
from hagane.identity.base import V3, could_not_find, enforce
from hagane.identity.catalog import CatalogService, Endpoint, Region
from hagane.identity.stored_policy import StoredPolicy
from hagane.state.database import Reader, Row, Tx
from hagane.state.table import Column, Table

ASSOCIATION = Table(
    "identity_endpoint_policy",
    (
        Column("endpoint_id", key=True),  # "": of a service
        Column("service_id", key=True),  # "": of an endpoint
        Column("region_id", key=True),  # "": of a service in all regions
        Column("policy_id"),
    ),
    ("policy_id", "service_id", "region_id"),
)
_PLACES = ("endpoint_id", "service_id", "region_id")
_EFFECTIVE = """WITH RECURSIVE up(id, parent_region_id, depth) AS (
  SELECT r.id, r.parent_region_id, 0 FROM identity_region r WHERE r.id = :region
  UNION SELECT r.id, r.parent_region_id, up.depth + 1 FROM identity_region r JOIN up ON r.id = up.parent_region_id)
SELECT policy_id FROM (
  SELECT policy_id, -1 AS rank FROM identity_endpoint_policy WHERE endpoint_id = :endpoint
  UNION ALL SELECT p.policy_id, up.depth FROM identity_endpoint_policy p JOIN up ON p.region_id = up.id
    WHERE p.service_id = :service
  UNION ALL SELECT policy_id, 1000000 FROM identity_endpoint_policy WHERE service_id = :service AND region_id = ''
) AS found ORDER BY rank LIMIT 1"""
_GOVERNED = """WITH RECURSIVE down(service_id, region_id) AS (
  SELECT p.service_id, p.region_id FROM identity_endpoint_policy p WHERE p.policy_id = :policy AND p.region_id <> ''
  UNION SELECT down.service_id, r.id FROM identity_region r JOIN down ON r.parent_region_id = down.region_id)
SELECT e.id FROM identity_endpoint e WHERE
  EXISTS (SELECT 1 FROM identity_endpoint_policy p WHERE p.policy_id = :policy AND p.endpoint_id = e.id)
  OR EXISTS (SELECT 1 FROM identity_endpoint_policy p WHERE p.policy_id = :policy AND p.service_id = e.service_id
             AND p.region_id = '')
  OR EXISTS (SELECT 1 FROM down WHERE down.service_id = e.service_id AND down.region_id = e.region_id)"""


class EndpointPolicy:
    """The associations, and what they come to."""

    def __init__(self, cloud: Cloud) -> None:
        self.db = cloud.db
        self.policies, self.endpoints = StoredPolicy(cloud), Endpoint(cloud)
        self._kinds = {"endpoint": self.endpoints, "service": CatalogService(cloud), "region": Region(cloud)}

    def routes(self) -> list[Route]:
        top = f"{V3}/policies/{{id}}/OS-ENDPOINT-POLICY"
        service = f"{top}/services/{{service}}"
        places = (
            (f"{top}/endpoints/{{endpoint}}", "endpoint"),
            (service, "service"),
            (f"{service}/regions/{{region}}", "region_and_service"),
        )
        verbs = (("PUT", self.add, "create"), ("GET", self.check, "check"), ("DELETE", self.remove, "delete"))
        made = [
            Route(method, path, handler, f"endpoint_policy:{verb}_{kind}", status=204,
                  rule=f"identity:{verb}_policy_association_for_{kind}")
            for path, kind in places for method, handler, verb in verbs
        ]  # fmt: skip
        return [
            *made,
            Route("GET", f"{top}/endpoints", self.governed, "endpoint_policy:endpoints",
                  rule="identity:list_endpoints_for_policy"),
            Route("GET", f"{V3}/endpoints/{{id}}/OS-ENDPOINT-POLICY/policy", self.effective, "endpoint_policy:policy",
                  rule="identity:get_policy_for_endpoint"),
        ]  # fmt: skip

    async def _place(self, request: Request, reader: Reader) -> tuple[str, dict[str, str]]:
        """The policy and the place that a path names, all of them found. Raises Forbidden, NotFound."""
        enforce(request, request.route.rule)
        policy = request.params["id"]
        if await StoredPolicy.table.get(reader, id=policy) is None:
            raise could_not_find("policy", policy)
        place = dict.fromkeys(_PLACES, "")
        for name, resource in self._kinds.items():
            key = request.params.get(name)
            if key is not None:
                if await resource.table.get(reader, id=key) is None:
                    raise could_not_find(name, key)
                place[f"{name}_id"] = key
        return policy, place

    async def add(self, request: Request) -> Response:
        async def work(tx: Tx) -> None:
            policy, place = await self._place(request, tx)
            await ASSOCIATION.delete(tx, place)
            await ASSOCIATION.insert(tx, place | {"policy_id": policy})

        await self.db.write(work)
        return empty(204)

    async def check(self, request: Request) -> Response:
        policy, place = await self._place(request, self.db)
        if await ASSOCIATION.get(self.db, **place, policy_id=policy) is None:
            raise NotFound("Could not find policy association.")
        return empty(204)

    async def remove(self, request: Request) -> Response:
        """What is not there is gone, says the real service."""

        async def work(tx: Tx) -> None:
            policy, place = await self._place(request, tx)
            await ASSOCIATION.delete(tx, place | {"policy_id": policy})

        await self.db.write(work)
        return empty(204)

    async def governed(self, request: Request) -> Response:
        """The endpoints that the associations of a policy lead to."""
        policy, _ = await self._place(request, self.db)
        ids = [row[0] for row in await self.db.fetch_tuples(_GOVERNED, {"policy": policy})]
        rows = await Endpoint.table.select(self.db, {"id": ids}, order="id")
        views: list[Any] = await self.endpoints.present(request, rows)
        return json_response(200, self.endpoints.list_answer(request, views, Page(None, None, [])))

    async def effective(self, request: Request) -> Response:
        """The policy of an endpoint."""
        enforce(request, request.route.rule)
        key = request.params["id"]
        endpoint = await Endpoint.table.get(self.db, id=key)
        if endpoint is None:
            raise could_not_find("endpoint", key)
        policy = await self._effective(endpoint)
        if policy is None:
            raise NotFound(f"No policy is associated with endpoint {key}.")
        return json_response(200, {"policy": (await self.policies.present(request, [policy]))[0]})

    async def _effective(self, endpoint: Row) -> Row | None:
        of = {"endpoint": endpoint["id"], "service": endpoint["service_id"], "region": endpoint["region_id"]}
        found = await self.db.fetch_tuples(_EFFECTIVE, of)
        return await StoredPolicy.table.get(self.db, id=found[0][0]) if found else None
