"""Network flavors and their service profiles over HTTP. Administrators make them, everybody may choose a flavor.

/flavors/{id}/service_profiles      what a flavor is bound to       /flavors/{id}/next_providers     who would do it
"""

from collections.abc import Sequence
from typing import Any

from hagane.api.http import Request, Response, empty, json_response
from hagane.api.service import Route
from hagane.network import flavor_row
from hagane.network.attr import Given
from hagane.network.base import NetResource
from hagane.network.errors import bad_request, error
from hagane.network.flavor_row import BOUND, PROFILE
from hagane.network.present import Made
from hagane.network.router_row import ROUTER
from hagane.network.value import Id
from hagane.state.database import Reader, Row, Tx
from hagane.state.table import Sql


class _Plain(NetResource):
    """Without project, revision and times, and nobody's own."""

    bulk = False

    def visible(self, request: Request) -> list[Sql]:
        return []

    def stamp(self, row: Row) -> None:
        super().stamp(row)
        for name in ("created_at", "updated_at", "generation"):
            row.pop(name)
        row["tags"] = []

    async def store(self, tx: Tx, old: Row, changes: Row) -> Row:
        if changes:
            await self.table.update(tx, {"id": old["id"]}, changes)
        return old | changes

    def match(self, request: Request, row: Row) -> None:
        """There is no revision to insist on."""


class Flavor(_Plain):
    name, plural, missing, table_name = "flavor", "flavors", "FlavorNotFound", "network_flavor"
    attrs = flavor_row.FLAVOR_ATTRS

    async def computed(self, request: Request, reader: Reader, rows: Sequence[Row]) -> list[Made]:
        found = await flavor_row.bound(reader, "flavor_id", [row["id"] for row in rows])
        return [{"service_profiles": found[row["id"]]} for row in rows]

    async def making(self, request: Request, tx: Tx, row: Row, given: Given) -> None:
        for profile in row.pop("service_profiles"):
            await self._bind(tx, row["id"], profile)

    async def unmaking(self, request: Request, tx: Tx, row: Row) -> None:
        if await ROUTER.count(tx, {"flavor_id": row["id"]}):
            raise error("FlavorInUse", id=row["id"])
        await BOUND.delete(tx, {"flavor_id": row["id"]})

    async def _bind(self, tx: Tx, flavor_id: str, profile_id: str) -> None:
        both = {"flavor_id": flavor_id, "profile_id": profile_id}
        if await PROFILE.get(tx, id=profile_id) is None:
            raise error("ServiceProfileNotFound", id=profile_id)
        if await BOUND.get(tx, **both):
            raise error("FlavorServiceProfileBindingExists", id=profile_id, flavor_id=flavor_id)
        await BOUND.insert(tx, both)

    async def _mine(self, request: Request, reader: Reader, rule: str) -> Row:
        row = await self.find(request, reader, request.params["flavor_id"])
        self.policy(request).enforce(rule, request.caller.creds, await self.target_of(request, reader, row))
        return row

    async def bind(self, request: Request) -> Response:
        body = await request.json()
        inner = body.get("service_profile") if isinstance(body, dict) else None
        if not isinstance(inner, dict) or "id" not in inner:
            raise bad_request("Unable to find 'service_profile' in request body")
        profile = str(Id().check("id", inner["id"]))

        async def act(tx: Tx) -> Made:
            row = await self._mine(request, tx, "create_flavor_service_profile")
            await self._bind(tx, row["id"], profile)
            return await self.view(request, tx, row)

        return json_response(201, {"service_profile": await self.db.write(act)})

    async def unbind(self, request: Request) -> Response:
        async def act(tx: Tx) -> None:
            row = await self._mine(request, tx, "delete_flavor_service_profile")
            profile = request.params["id"]
            if not await BOUND.delete(tx, {"flavor_id": row["id"], "profile_id": profile}):
                raise error("FlavorServiceProfileBindingNotFound", id=profile, flavor_id=row["id"])

        await self.db.write(act)
        return empty(204)

    async def next(self, request: Request) -> Response:
        row = await self._mine(request, self.db, "get_flavor")
        return json_response(200, {"next_providers": [await flavor_row.provider(self.db, row["id"])]})

    def routes(self) -> list[Route]:
        one = f"{self.path}/{{flavor_id}}"
        known: list[tuple[str, str, Any, str, int]] = [
            ("POST", "/service_profiles", self.bind, "create_flavor_service_profile", 201),
            ("DELETE", "/service_profiles/{id}", self.unbind, "delete_flavor_service_profile", 204),
            ("GET", "/next_providers", self.next, "get_flavor", 200),
        ]
        more = [
            Route(method, one + rest, handler, f"flavor:{handler.__name__}", rule=rule, status=status)
            for method, rest, handler, rule, status in known
        ]
        return [*super().routes(), *more]


class ServiceProfile(_Plain):
    name, plural, missing = "service_profile", "service_profiles", "ServiceProfileNotFound"
    path = "/network/v2.0/service_profiles"
    attrs = flavor_row.PROFILE_ATTRS

    async def computed(self, request: Request, reader: Reader, rows: Sequence[Row]) -> list[Made]:
        found = await flavor_row.bound(reader, "profile_id", [row["id"] for row in rows])
        return [{"flavors": found[row["id"]]} for row in rows]

    async def making(self, request: Request, tx: Tx, row: Row, given: Given) -> None:
        if row["driver"]:
            flavor_row.check_driver(row["driver"])
        elif not row["metainfo"]:
            raise error("ServiceProfileEmpty")

    async def changing(self, request: Request, tx: Tx, old: Row, changes: Row) -> None:
        if changes.get("driver"):
            flavor_row.check_driver(changes["driver"])
        await self._refuse_bound(tx, old)

    async def unmaking(self, request: Request, tx: Tx, row: Row) -> None:
        await self._refuse_bound(tx, row)

    async def _refuse_bound(self, tx: Tx, row: Row) -> None:
        if await BOUND.count(tx, {"profile_id": row["id"]}):
            raise error("ServiceProfileInUse", id=row["id"])
