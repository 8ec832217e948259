"""Rules of QoS policies: limits of bandwidth, marks, guaranteed bandwidth; one of a kind for each direction.

They live under their policy, and under an alias path for those who know a rule's id alone:

    /qos/policies/{policy_id}/bandwidth_limit_rules/{id}        /qos/alias-bandwidth-limit-rules/{id}
"""

from typing import Any, ClassVar

from hagane.api.http import Request
from hagane.api.resource import REQUIRED, Attr
from hagane.errors import NotFound
from hagane.network import qos_row
from hagane.network.attr import ROOT, UNSET, Given
from hagane.network.child import Child
from hagane.network.errors import error
from hagane.network.qos_policy import QosPolicy
from hagane.network.qos_row import BANDWIDTH, DSCP, MARKS, MINIMUM, RULE, kbps
from hagane.network.value import Checked, Id, OneOf, Text, Whole
from hagane.state import clock
from hagane.state.database import Reader, Row, Tx
from hagane.state.table import Sql

_OWN = (
    Attr("id", Id(), key=True),
    Attr("project_id", Text(255), write="c", default=UNSET, shown=False, filter=False, sort=False),
    Attr("tenant_id", Text(255), write="c", default=UNSET, stored=False, shown=False, filter=False, sort=False),
    Attr("policy_id", Id(), shown=False, filter=False, sort=False),
    Attr("type", Text(), shown=False, filter=False, sort=False),
)
_DIRECTION = Attr("direction", OneOf(values=("egress", "ingress")), write="cu", default="egress")
_OUT = Attr("direction", OneOf(values=("egress",)), write="cu", default="egress")
"""Of a guarantee: OVN keeps it where frames leave (reconcile/ovn/qos.py), and promises nothing of what comes in."""
_KBPS = Checked(rule=kbps, kind="int", json_schema=(("type", ["integer", "string"]), ("minimum", 0)))
_MARK = Checked(rule=Whole(values=MARKS).check, kind="int", json_schema=(("enum", list(MARKS)),))


class QosRule(Child):
    """Base of the three types."""

    missing, link = "QosRuleNotFound", "policy_id"
    type: ClassVar[str] = ""
    alias: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        cls.name, cls.plural, cls.table_name = f"{cls.type}_rule", f"{cls.type}_rules", "qos_rule"
        cls.path = f"{ROOT}/qos/policies/{{policy_id}}/{cls.plural}"
        if cls.alias:
            cls.name, cls.plural = f"alias_{cls.name}", f"alias_{cls.plural}"
            cls.path = f"{ROOT}/qos/{cls.plural.replace('_', '-')}"
            cls.verbs = frozenset({"show", "update", "delete"})
        super().__init_subclass__(**kwargs)
        cls.table = RULE

    def rule(self, verb: str) -> str:
        return f"{verb}_{self.name}" if self.alias else super().rule(verb)

    def __init__(self, cloud: Any) -> None:
        super().__init__(cloud)
        self._policies = QosPolicy(cloud)

    def above(self) -> QosPolicy:
        return self._policies

    def visible(self, request: Request) -> list[Sql]:
        return [*super().visible(request), Sql("qos_rule.type = :type", {"type": self.type})]

    async def find(self, request: Request, reader: Reader, key: str) -> Row:
        """Under the alias path the rule itself says whose it is."""
        if self.alias:
            row = await RULE.get(reader, id=key)
            if row is None:
                raise error(self.missing, id=key, policy_id="")
            request.params[self.link] = row["policy_id"]
        try:
            policy = await self.parent(request, reader)
        except NotFound:
            if self.alias:  # whoever may not see the policy is not told which one it is
                raise error(self.missing, id=key, policy_id="") from None
            raise
        found = await RULE.select(reader, {"id": key, "policy_id": policy["id"], "type": self.type})
        if not found:
            raise error(self.missing, id=key, policy_id=policy["id"])
        return found[0]

    async def making(self, request: Request, tx: Tx, row: Row, given: Given) -> None:
        row["type"] = self.type
        await self._refuse_conflict(tx, row)
        await self._touch(request, tx, row)

    async def changing(self, request: Request, tx: Tx, old: Row, changes: Row) -> None:
        await self._refuse_conflict(tx, old | changes)
        await self._touch(request, tx, old)

    async def unmaking(self, request: Request, tx: Tx, row: Row) -> None:
        await self._touch(request, tx, row)

    async def _refuse_conflict(self, tx: Tx, row: Row) -> None:
        """Raises QoSRuleParameterConflict, QoSRulesConflict."""
        others = [r for r in await RULE.select(tx, {"policy_id": row["policy_id"]}) if r["id"] != row["id"]]
        others = [other for other in others if other.get("direction") == row.get("direction")]
        for other in others:
            value, theirs = (row.get("max_kbps"), other["min_kbps"])
            if row["type"] == MINIMUM:
                value, theirs = (other["max_kbps"], row["min_kbps"])
            if value is not None and theirs is not None and theirs > value:
                mine = "min_kbps" if row["type"] == MINIMUM else "max_kbps"
                raise error("QoSRuleParameterConflict", value=row[mine], id=row["policy_id"], rule=other["type"],
                            existing=other["max_kbps" if row["type"] == MINIMUM else "min_kbps"])  # fmt: skip
        for other in others:
            if other["type"] == row["type"]:
                raise error("QoSRulesConflict", type=row["type"], rule_id=other["id"], id=row["policy_id"])

    async def _touch(self, request: Request, tx: Tx, row: Row) -> None:
        """The policy is another one now, and so is what it is bound to."""
        sql = "UPDATE qos_policy SET generation = generation + 1, updated_at = :now WHERE id = :id"
        await tx.execute(sql, {"id": row["policy_id"], "now": clock.now()})
        await qos_row.wake(tx, row["policy_id"], request_id=request.id)


class BandwidthLimit(QosRule):
    type = BANDWIDTH
    attrs = (
        *_OWN,
        Attr("max_kbps", _KBPS, write="cu", default=REQUIRED),
        Attr("max_burst_kbps", _KBPS, write="cu", default=0),
        _DIRECTION,
    )


class DscpMarking(QosRule):
    type = DSCP
    attrs = (*_OWN, Attr("dscp_mark", _MARK, write="cu", default=REQUIRED))


class MinimumBandwidth(QosRule):
    type = MINIMUM
    attrs = (*_OWN, Attr("min_kbps", _KBPS, write="cu", default=REQUIRED), _OUT)


class BandwidthLimitAlias(BandwidthLimit):
    alias = True


class DscpMarkingAlias(DscpMarking):
    alias = True


class MinimumBandwidthAlias(MinimumBandwidth):
    alias = True


RULES: tuple[type[QosRule], ...] = (
    BandwidthLimit, DscpMarking, MinimumBandwidth, BandwidthLimitAlias, DscpMarkingAlias, MinimumBandwidthAlias,
)  # fmt: skip
