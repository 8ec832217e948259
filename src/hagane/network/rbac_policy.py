"""The RBAC API: a project shares its network, security group, address group, address scope,
subnet pool or QoS policy."""

from typing import Any

from hagane.api.http import Request
from hagane.api.resource import REQUIRED, Attr
from hagane.api.types import is_uuid
from hagane.network import rbac
from hagane.network.address_group import AddressGroup
from hagane.network.address_scope import AddressScope
from hagane.network.attr import UNSET, Given
from hagane.network.base import NetResource
from hagane.network.errors import error, invalid
from hagane.network.network import Network
from hagane.network.qos_policy import QosPolicy
from hagane.network.security_group import SecurityGroup
from hagane.network.subnetpool import SubnetPool
from hagane.network.value import Checked, Id, Text
from hagane.state.database import Row, Tx

OBJECTS: dict[str, type[NetResource]] = {
    "address_group": AddressGroup, "address_scope": AddressScope, "network": Network,
    "qos_policy": QosPolicy, "security_group": SecurityGroup, "subnetpool": SubnetPool,
}  # fmt: skip


def _object_type(field: str, value: Any) -> str:
    if not isinstance(value, str) or value not in OBJECTS:
        raise invalid(f"'{value}' is not a valid RBAC object type")
    return value


def _target(field: str, value: Any) -> str:
    if value != "*" and not is_uuid(value):
        raise invalid(f"'{value}' is not a valid target project ID; expected a UUID or '*'")
    return str(value)


class RbacPolicy(NetResource):
    name, plural, missing, quota = "rbac_policy", "rbac_policies", "RbacPolicyNotFound", "rbac_policy"
    path = "/network/v2.0/rbac-policies"
    attrs = (
        Attr("id", Id(), key=True),
        Attr("project_id", Text(255), write="c", default=UNSET),
        Attr("tenant_id", Text(255), write="c", default=UNSET, stored=False),
        Attr("object_type", Checked(rule=_object_type, kind="text"), write="c", default=REQUIRED),
        Attr("object_id", Id(), write="c", default=REQUIRED),
        Attr("action", Text(255), write="c", default=REQUIRED),
        Attr(
            "target_project",
            Checked(rule=_target, kind="text"),
            write="cu",
            default=REQUIRED,
            wire="target_tenant",
            rule=True,
        ),
    )
    indexes = rbac.RBAC.indexes

    def stamp(self, row: Row) -> None:
        super().stamp(row)
        for name in ("created_at", "updated_at", "generation"):
            row.pop(name)
        row["tags"] = []

    def not_found(self, key: str) -> Any:
        return error(self.missing, object_type="unknown", id=key)

    async def making(self, request: Request, tx: Tx, row: Row, given: Given) -> None:
        kind = row["object_type"]
        allowed = (rbac.SHARED, rbac.EXTERNAL) if kind == "network" else (rbac.SHARED,)
        if row["action"] not in allowed:
            raise error("InvalidActionForType", action=row["action"], kind=kind, actions=allowed)
        thing = await OBJECTS[kind](self.cloud).find(request, tx, row["object_id"])
        if thing["project_id"] != request.caller.project_id and not self.sees_all(request):
            raise invalid(f"Only admins can manipulate policies on {kind}s they do not own")
        same = {key: row[key] for key in ("object_id", "action", "target_project")}
        if await self.table.get(tx, **same):
            raise error("DuplicateRbacPolicy")
        if kind == "subnetpool" and thing["address_scope_id"]:
            await self._check_scope(tx, row, thing["address_scope_id"])
        await rbac.bump(tx, row)
        await rbac.follow(tx, row["object_type"], row["object_id"], adding=row["action"], request_id=request.id)

    async def _check_scope(self, tx: Tx, row: Row, scope: str) -> None:
        """Who is to use a pool must be let use its address scope, too. Raises InvalidInput."""
        for target in {"*", row["target_project"]}:
            if await rbac.RBAC.get(tx, object_id=scope, action=rbac.SHARED, target_project=target):
                return
        raise invalid(f"Failed to create RBAC policy on object {row['object_id']} because target project doesn't have "
                      "access to associated address scope")  # fmt: skip

    async def changing(self, request: Request, tx: Tx, old: Row, changes: Row) -> None:
        await rbac.refuse_in_use(tx, old, keeping=changes.get("target_project", old["target_project"]))
        await rbac.bump(tx, old)

    async def store(self, tx: Tx, old: Row, changes: Row) -> Row:
        if changes:
            await self.table.update(tx, {"id": old["id"]}, changes)
        return old | changes

    async def unmaking(self, request: Request, tx: Tx, row: Row) -> None:
        await rbac.refuse_in_use(tx, row)
        await self.table.delete(tx, {"id": row["id"]})
        await rbac.bump(tx, row)
        await rbac.follow(tx, row["object_type"], row["object_id"], request_id=request.id)
