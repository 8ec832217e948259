"""Subnet pools: prefixes from which subnets are cut, so that projects need not choose addresses.

A pool may belong to an address scope: then no two pools of the scope hold the same address, and what is routed between
their networks keeps its address.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from hagane.api.http import Request, Response, json_response
from hagane.api.resource import REQUIRED, Attr
from hagane.api.service import Route
from hagane.network import rbac, subnet_row, subnetpool_rule
from hagane.network.address_scope import AddressScope
from hagane.network.attr import UNSET, Given, Special, standard
from hagane.network.base import NetResource
from hagane.network.errors import bad_request, error, invalid
from hagane.network.permit import Target
from hagane.network.present import Made
from hagane.network.shared_filter import by_shared
from hagane.network.subnet_row import SUBNET
from hagane.network.value import Checked, Flag, Id, Text, Whole, prefixes
from hagane.state import clock
from hagane.state.database import Reader, Row, Tx


class SubnetPool(NetResource):
    name, plural, missing, quota = "subnetpool", "subnetpools", "SubnetPoolNotFound", "subnetpool"
    rbac = "subnetpool"
    attrs = (
        *standard(name=False),
        Attr("name", Text(255, blank=False), write="cu", default=REQUIRED),
        Attr("prefixes", Checked(rule=prefixes), write="cu", default=REQUIRED, filter=False),
        Attr("ip_version", Whole()),
        Attr("default_quota", Whole(0), write="cu", default=UNSET),
        Attr("default_prefixlen", Whole(0), write="cu", default=UNSET),
        Attr("min_prefixlen", Whole(0), write="cu", default=UNSET),
        Attr("max_prefixlen", Whole(0), write="cu", default=UNSET),
        Attr("is_default", Flag(), write="cu", default=False, rule=True),
        Attr("shared", Flag(), write="c", default=False, stored=False, rule=True, sort=False),
        Attr("address_scope_id", Id(nullable=True), write="cu", default=None),
    )
    indexes = ("project_id", "address_scope_id")
    special: ClassVar[Mapping[str, Special]] = {"shared": by_shared("subnetpool", "subnetpool.id")}

    async def computed(self, request: Request, reader: Reader, rows: Sequence[Row]) -> list[Made]:
        shared = await rbac.shared_with(reader, self.rbac, [row["id"] for row in rows], request.caller.project_id)
        return [{"shared": row["id"] in shared} for row in rows]

    async def targets_of(self, request: Request, reader: Reader, rows: Sequence[Row]) -> list[Target]:
        targets = await super().targets_of(request, reader, rows)
        await self.with_shared(request, reader, rows, targets)
        return targets

    async def making(self, request: Request, tx: Tx, row: Row, given: Given) -> None:
        subnetpool_rule.complete(row)
        if row["is_default"]:
            await self._only_default(tx, row)
        if row["address_scope_id"]:
            await self._check_scope(request, tx, row)
        if row.pop("shared"):
            await rbac.grant(tx, row["project_id"], self.rbac, row["id"], rbac.SHARED, "*")

    async def changing(self, request: Request, tx: Tx, old: Row, changes: Row) -> None:
        new = old | changes
        if "prefixes" in changes:
            changes["prefixes"] = new["prefixes"] = subnetpool_rule.widened(old, changes["prefixes"])
        subnetpool_rule.check_bounds(new)
        if changes.get("is_default"):
            await self._only_default(tx, new)
        if new["address_scope_id"] and {"address_scope_id", "prefixes"} & changes.keys():
            await self._check_scope(request, tx, new)
        if "prefixes" in changes and old["address_scope_id"]:
            await self._check_owner(request, tx, old)
        if new["address_scope_id"] != old["address_scope_id"]:
            await subnet_row.scoped(tx, new)

    async def _only_default(self, tx: Tx, row: Row) -> None:
        known = await self.table.select(tx, {"is_default": True, "ip_version": row["ip_version"]})
        if any(other["id"] != row["id"] for other in known):
            reason = (
                "A default subnetpool for this IP family has already been set. Only one default may exist per IP family"
            )
            raise error("InvalidInput", reason=reason)

    async def _check_scope(self, request: Request, tx: Tx, row: Row) -> None:
        """The scope must be one that the caller may use, of the same IP version, and not hold the pool's addresses."""
        scope = await AddressScope(self.cloud).find(request, tx, row["address_scope_id"])
        if scope["ip_version"] != row["ip_version"]:
            raise error("IllegalSubnetPoolIpVersionAssociationToAddressScope", id=row["id"], scope_id=scope["id"],
                        ip_version=scope["ip_version"])  # fmt: skip
        for other in await self.table.select(tx, {"address_scope_id": scope["id"]}):
            if other["id"] != row["id"] and subnetpool_rule.overlap(other["prefixes"], row["prefixes"]):
                raise error("AddressScopePrefixConflict")

    async def _check_owner(self, request: Request, tx: Tx, row: Row) -> None:
        """Other prefixes are other addresses in the scope, which is its owner's to decide."""
        scope = await AddressScope.table.get(tx, id=row["address_scope_id"])
        if scope is not None and scope["project_id"] != request.caller.project_id and not self.sees_all(request):
            reason = (f"subnetpool {row['id']} cannot be updated when associated with shared address scope "
                      f"{scope['id']}")  # fmt: skip
            raise error("IllegalSubnetPoolUpdate", reason=reason)

    async def unmaking(self, request: Request, tx: Tx, row: Row) -> None:
        if await SUBNET.count(tx, {"subnetpool_id": row["id"]}):
            raise error("SubnetPoolDeleteError", reason="Subnet pool has existing allocations")
        await rbac.forget(tx, self.rbac, row["id"])

    async def add_prefixes(self, request: Request) -> Response:
        return await self._change_prefixes(request, "add_prefixes")

    async def remove_prefixes(self, request: Request) -> Response:
        return await self._change_prefixes(request, "remove_prefixes")

    async def _change_prefixes(self, request: Request, verb: str) -> Response:
        body = await request.json()
        if not isinstance(body, dict) or "prefixes" not in body:
            raise bad_request("Request body contains invalid data")
        wanted = prefixes("prefixes", body["prefixes"])

        async def act(tx: Tx) -> list[str]:
            row = await self.find(request, tx, request.params["id"])
            self.policy(request).enforce(verb, request.caller.creds, await self.target_of(request, tx, row))
            if verb == "add_prefixes":
                new = subnetpool_rule.widened(row, [*row["prefixes"], *wanted])
            else:
                taken = [s["cidr"] for s in await SUBNET.select(tx, {"subnetpool_id": row["id"]})]
                new = subnetpool_rule.narrowed(row, wanted, taken)
            if row["address_scope_id"]:
                await self._check_scope(request, tx, row | {"prefixes": new})
            return list((await self.store(tx, row, {"prefixes": new}))["prefixes"])

        return json_response(200, {"prefixes": await self.db.write(act)})

    async def onboard(self, request: Request) -> Response:
        """Take the subnets of a network into the pool, which then holds their prefixes."""
        body = await request.json()
        if not isinstance(body, dict) or not body.get("network_id"):
            raise invalid("network_id must be specified")
        network_id = str(Id().check("network_id", body["network_id"]))

        async def act(tx: Tx) -> list[Row]:
            row = await self.find(request, tx, request.params["id"])
            target = await self.target_of(request, tx, row)
            self.policy(request).enforce("onboard_network_subnets", request.caller.creds, target)
            return await self._take_in(request, tx, row, network_id)

        taken = await self.db.write(act)
        return json_response(200, [{"id": subnet["id"], "cidr": subnet["cidr"]} for subnet in taken])

    async def _take_in(self, request: Request, tx: Tx, row: Row, network_id: str) -> list[Row]:
        """Raises NetworkNotFound, NotAuthorized, IllegalSubnetPoolUpdate."""
        sql = "SELECT project_id FROM network WHERE id = :id"
        owners = await tx.fetch_tuples(sql, {"id": network_id})
        if not owners:
            raise error("NetworkNotFound", id=network_id)
        if owners[0][0] != request.caller.project_id and not self.sees_all(request):
            raise error("NotAuthorized")
        subnets = await SUBNET.select(tx, {"network_id": network_id, "ip_version": row["ip_version"]}, order="id")
        taken = [s["cidr"] for s in await SUBNET.select(tx, {"subnetpool_id": row["id"]})]
        for subnet in subnets:
            if subnetpool_rule.overlap([subnet["cidr"]], taken):
                reason = (f"Onboarding subnet {subnet['id']}: {subnet['cidr']} conflicts with allocated prefixes in "
                          f"subnet pool {row['id']}")  # fmt: skip
                raise error("IllegalSubnetPoolUpdate", reason=reason)
        changes = {"prefixes": [*row["prefixes"], *(subnet["cidr"] for subnet in subnets)]}
        await self.changing(request, tx, row, changes)
        await self.store(tx, row, changes)
        for subnet in subnets:
            again = {"subnetpool_id": row["id"], "generation": subnet["generation"] + 1, "updated_at": clock.now()}
            await SUBNET.update(tx, {"id": subnet["id"]}, again)
        await subnet_row.scoped(tx, row)
        return subnets

    def routes(self) -> list[Route]:
        return [
            *super().routes(),
            self.action("onboard_network_subnets", "onboard_network_subnets", self.onboard),
            self.action("add_prefixes", "add_prefixes", self.add_prefixes),
            self.action("remove_prefixes", "remove_prefixes", self.remove_prefixes),
        ]
