"""QoS policies: named sets of rules that ports, networks and floating IPs are bound to."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from hagane.api.http import Request
from hagane.network import qos_row, rbac
from hagane.network.attr import ROOT, Given, Special
from hagane.network.base import NetResource
from hagane.network.errors import error
from hagane.network.permit import Target
from hagane.network.present import Made
from hagane.network.shared_filter import by_shared
from hagane.state.database import Reader, Row, Tx


class QosPolicy(NetResource):
    name, plural, missing, rbac = "policy", "policies", "QosPolicyNotFound", "qos_policy"
    path, table_name = f"{ROOT}/qos/policies", "qos_policy"
    attrs, indexes = qos_row.ATTRS, qos_row.INDEXES
    special: ClassVar[Mapping[str, Special]] = {"shared": by_shared("qos_policy", "qos_policy.id")}

    async def computed(self, request: Request, reader: Reader, rows: Sequence[Row]) -> list[Made]:
        ids = [row["id"] for row in rows]
        rules = await qos_row.rules_of(reader, ids)
        shared = await rbac.shared_with(reader, self.rbac, ids, request.caller.project_id)
        return [{"shared": key in shared, "rules": [qos_row.view_rule(rule) for rule in rules[key]]} for key in ids]

    async def targets_of(self, request: Request, reader: Reader, rows: Sequence[Row]) -> list[Target]:
        targets = await super().targets_of(request, reader, rows)
        await self.with_shared(request, reader, rows, targets)
        return targets

    async def making(self, request: Request, tx: Tx, row: Row, given: Given) -> None:
        if row["is_default"]:
            await self._only_default(tx, row)
        if row.pop("shared"):
            await rbac.grant(tx, row["project_id"], self.rbac, row["id"], rbac.SHARED, "*")

    async def changing(self, request: Request, tx: Tx, old: Row, changes: Row) -> None:
        if changes.get("is_default"):
            await self._only_default(tx, old)
        shared = changes.pop("shared", None)
        everyone = {"object_id": old["id"], "action": rbac.SHARED, "target_project": "*"}
        grant = await rbac.RBAC.get(tx, **everyone) if shared is not None else None
        if shared and grant is None:
            await rbac.grant(tx, old["project_id"], self.rbac, old["id"], rbac.SHARED, "*")
        elif grant is not None and not shared:
            await rbac.refuse_in_use(tx, grant)
            await rbac.revoke(tx, **everyone)

    async def _only_default(self, tx: Tx, row: Row) -> None:
        known = await qos_row.default_of(tx, row["project_id"])
        if known not in (None, row["id"]):
            raise error("QoSPolicyDefaultAlreadyExists", project_id=row["project_id"])

    async def unmaking(self, request: Request, tx: Tx, row: Row) -> None:
        await qos_row.refuse_in_use(tx, row["id"])
        await qos_row.RULE.delete(tx, {"policy_id": row["id"]})
        await rbac.forget(tx, self.rbac, row["id"])
