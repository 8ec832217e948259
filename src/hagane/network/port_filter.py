"""Filters of ports that are more than a column's value."""

from typing import Any

from hagane.api.http import Request
from hagane.network.errors import invalid
from hagane.network.listing import like
from hagane.state.table import Sql, listed


def _fixed_ips(resource: Any, request: Request, texts: list[str]) -> list[Sql]:
    """`fixed_ips=ip_address=10.0.0.5`, `=subnet_id=...`, `=ip_address_substr=10.0`: any of a kind, all kinds."""
    wanted: dict[str, list[str]] = {}
    for text in texts:
        kind, equals, value = text.partition("=")
        if not equals or not kind.strip():
            raise invalid(f"'{text}' is not of the form <key>=[value]")
        wanted.setdefault(kind.strip(), []).append(value.strip())
    conditions = []
    if "subnet_id" in wanted:
        among = listed("fixed_subnet", wanted["subnet_id"])
        owners = f"SELECT owner FROM allocation WHERE kind = 'ip' AND pool IN {among.text}"
        conditions.append(Sql(f"port.id IN ({owners})", among.params))
    if "ip_address" in wanted:
        among = listed("fixed_ip", wanted["ip_address"])
        pools = "SELECT id FROM subnet"
        owners = f"SELECT owner FROM allocation WHERE kind = 'ip' AND pool IN ({pools}) AND item IN {among.text}"
        conditions.append(Sql(f"port.id IN ({owners})", among.params))
    if "ip_address_substr" in wanted:
        parts = [like("item", f"fixed_part_{i}", value) for i, value in enumerate(wanted["ip_address_substr"])]
        any_of = " OR ".join(part.text for part in parts)
        params = {name: value for part in parts for name, value in part.params.items()}
        conditions.append(Sql(f"port.id IN (SELECT owner FROM allocation WHERE kind = 'ip' AND ({any_of}))", params))
    return conditions


def _security_groups(resource: Any, request: Request, texts: list[str]) -> list[Sql]:
    among = listed("group", texts)
    members = f"SELECT port_id FROM port_security_group WHERE security_group_id IN {among.text}"
    return [Sql(f"port.id IN ({members})", among.params)]


FILTERS = {"fixed_ips": _fixed_ips, "security_groups": _security_groups}
