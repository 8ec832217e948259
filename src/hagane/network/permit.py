"""Who may see and do what.

Visibility is a condition in SQL; what may be done with a visible row is the policy's. Rules know a row by its wire
names, and its parents by `network:project_id`, `network:shared` and `security_group:project_id`.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, cast

from hagane.api.http import Request
from hagane.api.policy import Policy
from hagane.api.resource import Resource
from hagane.errors import Forbidden, NotFound
from hagane.network import rbac
from hagane.network.attr import Given
from hagane.network.errors import error
from hagane.state.database import Reader, Row
from hagane.state.table import Sql

Target = dict[str, Any]


class Permits(Resource):
    """The half of a resource that asks the policy."""

    missing: ClassVar[str] = ""  # the error's name when there is no such thing
    rbac: ClassVar[str] = ""  # object type of its RBAC rows; empty: it cannot be shared

    def policy(self, request: Request) -> Policy:
        return cast(Policy, request.service.policy)

    def sees_all(self, request: Request) -> bool:
        """Administrators and other services are not restricted to a project."""
        return (
            request.allowed("context_is_admin")
            or request.allowed("context_is_advsvc")
            or request.allowed("service_api")
        )

    def visible(self, request: Request) -> list[Sql]:
        """The caller's own rows, and shared ones."""
        if self.sees_all(request):
            return []
        return [Sql(" OR ".join(self.visible_to(request)), {"me": request.caller.project_id or ""})]

    def visible_to(self, request: Request) -> list[str]:
        """Alternatives in SQL, about the project `:me`."""
        own = [f"{self.table.name}.project_id = :me"]
        if self.rbac:
            own.append(f"{self.table.name}.id IN ({shared_sql(self.rbac)})")
        return own

    async def targets_of(self, request: Request, reader: Reader, rows: Sequence[Row]) -> list[Target]:
        """Rows as policy rules know them; an override adds what the rules ask about the rows' parents."""
        by_name = self.by_name
        return [{by_name[name].label: value for name, value in row.items() if name in by_name} for row in rows]

    async def target_of(self, request: Request, reader: Reader, row: Row) -> Target:
        return (await self.targets_of(request, reader, [row]))[0]

    async def with_shared(self, request: Request, reader: Reader, rows: Sequence[Row], targets: list[Target]) -> None:
        """Tell the rules which of the rows are shared with the caller."""
        ids = [row["id"] for row in rows if "shared" not in row]
        shared = await rbac.shared_with(reader, self.rbac, ids, request.caller.project_id) if ids else set()
        for row, target in zip(rows, targets, strict=True):
            target.setdefault("shared", row["id"] in shared)

    def check(self, request: Request, verb: str, target: Target, row: Row, given: Given = frozenset()) -> None:
        """Ask the policy for the verb and for each given attribute that has a rule. Raises Forbidden or NotFound."""
        rule, policy, creds = self.rule(verb), self.policy(request), request.caller.creds
        more = attribute_rules(rule, [(self.by_name[n].label, row.get(n)) for n in given if self.by_name[n].rule])
        try:
            policy.enforce(rule, creds, target)
            for name, inner in more:
                for each in (name, *inner):
                    if not policy.check(each, creds, target):
                        raise error("PolicyNotAuthorized", rule=spelled(rule, more))
        except Forbidden as refusal:
            if verb != "create" and not request.allowed(self.rule("get"), target):
                raise error("HTTPNotFound") from None
            if more and refusal.code == "PolicyNotAuthorized":
                raise error("PolicyNotAuthorized", rule=spelled(rule, more)) from None
            raise

    async def find(self, request: Request, reader: Reader, key: str) -> Row:
        rows = await self.table.select(reader, {"id": key}, conditions=self.visible(request))
        if not rows:
            raise self.not_found(key)
        return rows[0]

    def not_found(self, key: str) -> NotFound:
        return cast(NotFound, error(self.missing, id=key))


def attribute_rules(rule: str, values: list[tuple[str, Any]]) -> list[tuple[str, list[str]]]:
    """The rules of given attributes, each with those of what is inside it (`create_port:fixed_ips:ip_address`)."""
    rules = []
    for label, value in values:
        inner: dict[str, None] = {}
        if label == "external_gateway_info" and isinstance(value, dict):
            inner = dict.fromkeys(value)
        elif isinstance(value, list):
            inner = {key: None for entry in value if isinstance(entry, dict) for key in entry}
        rules.append((f"{rule}:{label}", [f"{rule}:{label}:{key}" for key in inner]))
    return rules


def spelled(rule: str, more: list[tuple[str, list[str]]]) -> str:
    """All rules that had to hold, as the real service spells them in its refusal."""
    text = f"rule:{rule}"
    for name, inner in more:
        each = f"rule:{name}"
        if inner:
            each = f"({each} and ({' and '.join('rule:' + one for one in inner)}))"
        text = f"({text} and {each})"
    return text


def shared_sql(object_type: str, action: str = "access_as_shared") -> str:
    """The objects of a type that are shared with the project `:me`."""
    return (
        f"SELECT object_id FROM rbac_policy WHERE object_type = '{object_type}' AND action = '{action}' "
        "AND target_project IN (:me, '*')"
    )
