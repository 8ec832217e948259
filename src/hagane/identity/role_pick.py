"""Roles as bodies name them, by id or by name, and what follows from them."""

from collections.abc import Iterable

from hagane.errors import NotFound
from hagane.identity.role import Role
from hagane.state.database import Reader
from hagane.state.table import listed

_IMPLIED_BY = """WITH RECURSIVE held(id) AS (
  SELECT id FROM identity_role WHERE id IN {}
  UNION SELECT i.implied_id FROM identity_implied_role i JOIN held ON i.prior_id = held.id)
SELECT held.id, r.domain_id FROM held JOIN identity_role r ON r.id = held.id"""


async def role_id(reader: Reader, wanted: dict[str, str]) -> str:
    """The id of a role that is named by id or name. Raises NotFound."""
    if "id" in wanted:
        return wanted["id"]
    rows = await Role.table.select(reader, {"name": wanted.get("name", ""), "domain_id": ""})
    if not rows:
        raise NotFound(f"Role {wanted.get('name', '')} is not defined")
    return str(rows[0]["id"])


async def with_implied(reader: Reader, ids: Iterable[str], *, of_domains: bool = False) -> list[str]:
    """The roles and all that they imply; roles of domains only if asked for."""
    among = listed("id", ids)
    rows = await reader.fetch_tuples(_IMPLIED_BY.format(among.text), among.params) if among.params else []
    return [row[0] for row in rows if of_domains or not row[1]]
