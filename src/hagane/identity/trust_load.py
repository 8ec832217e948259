"""What a trust is worth at this moment, asked whenever a token of it is made or validated.

All along the line of trusts that it was passed on by, each must be there and in time, and each trustee enabled. The
roles are those that the trust names, with what they imply; if the first trustor has lost one of them, it gives none.
A token outlives the last use of its trust: what is counted is how many tokens there may be.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from hagane.identity.assignment import role_ids_of
from hagane.identity.role import Role
from hagane.identity.role_pick import with_implied
from hagane.identity.trust import pedigree, unfit
from hagane.state.database import Reader, Row
from hagane.state.table import listed

_USERS = """SELECT u.id, u.name, u.enabled, u.password_expires_at,
d.id AS domain_id, d.name AS domain_name, d.enabled AS domain_enabled
FROM identity_user u JOIN identity_project d ON d.id = u.domain_id WHERE u.id IN {}"""


@dataclass(frozen=True, slots=True)
class Delegation:
    """A trust that holds: whose it is, what it gives, and whose end ends it (`subjects`)."""

    trust: Row
    trustor: Row
    roles: list[Row]
    subjects: tuple[str, ...]

    @property
    def part(self) -> dict[str, Any]:
        """As a token shows it."""
        row = self.trust
        users = {f"{name}_user": {"id": row[f"{name}_user_id"]} for name in ("trustor", "trustee")}
        return {"id": row["id"], **users, "impersonation": row["impersonation"]}


class Broken(Exception):
    """The trust does not hold, and why. `gone`: there is no such trust any more."""

    def __init__(self, why: str, *, gone: bool = False) -> None:
        super().__init__(why)
        self.gone = gone


async def delegation(reader: Reader, trust_id: str, user_id: str) -> Delegation:
    """What the trust gives to a user. Raises Broken."""
    line = await pedigree(reader, trust_id)
    if not line:
        raise Broken("the trust is gone or has expired", gone=True)
    trust, first = line[0], line[-1]
    if trust["trustee_user_id"] != user_id:
        raise Broken("the user is not the trustee")
    users = await _users(reader, {row[name] for row in line for name in ("trustor_user_id", "trustee_user_id")})
    for row in line:
        if not {row["trustor_user_id"], row["trustee_user_id"]} <= users.keys():
            raise Broken("a trustor or trustee is disabled or gone")
    for child, parent in pairwise(line):
        if why := unfit(parent, child):
            raise Broken(why)
    wanted = await with_implied(reader, trust["role_ids"], of_domains=True)
    held = [await role_ids_of(reader, who, trust["project_id"] or "") for who in
            {first["trustor_user_id"], trust["trustor_user_id"]}]  # fmt: skip
    if not {*wanted, *trust["role_ids"]} <= set.intersection(*held):
        raise Broken("the trustor has lost a role that the trust gives")
    roles = await Role.table.select(reader, {"id": wanted, "domain_id": ""}, order="name")
    return Delegation(trust, users[trust["trustor_user_id"]], roles, (*users, *(row["id"] for row in line)))


async def _users(reader: Reader, ids: set[str]) -> dict[str, Row]:
    """Those of the users who are enabled, in an enabled domain."""
    among = listed("user", sorted(ids))
    rows = await reader.fetch(_USERS.format(among.text), among.params)
    return {row["id"]: row for row in rows if row["enabled"] and row["domain_enabled"]}
