"""What OVN's Northbound database says, apart from UUIDs: to be compared before and after somebody meddled with it."""

from typing import Any

from hagane.ovn.desired import MARK
from tests.dataplane.cloud import Cloud, Row

TABLES = (
    "Logical_Switch", "Logical_Switch_Port", "DHCP_Options", "Logical_Router", "Logical_Router_Port",
    "Logical_Router_Static_Route", "NAT", "Port_Group", "ACL", "Gateway_Chassis",
)  # fmt: skip
# What OVN itself writes.
THEIRS = frozenset({"_uuid", "up", "dynamic_addresses", "status", "tag_request"})
Picture = dict[str, dict[str, Any]]


def picture(cloud: Cloud) -> Picture:
    """Row by row: "Table key" (of a foreign row, its name or content) -> columns, references as what they refer to."""
    tables = {table: cloud.rows(table) for table in TABLES}
    names = {row["_uuid"]: f"{table} {_key(row)}" for table, rows in tables.items() for row in rows}
    found: Picture = {}
    for table, rows in tables.items():
        for row in rows:
            key = name = f"{table} {_key(row)}"
            while key in found:
                key += f" (again: {name})"
            found[key] = {column: _named(value, names) for column, value in row.items() if column not in THEIRS}
    return found


def _key(row: Row) -> str:
    mark = row["external_ids"].get(MARK)
    return str(mark or f"foreign {row.get('name') or row.get('ip_prefix') or row.get('match') or row.get('cidr')}")


def _named(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, list):
        return sorted(str(_named(entry, names)) for entry in value)
    return names.get(value, value) if isinstance(value, str) else value


def differences(one: Picture, other: Picture) -> list[str]:
    """In words."""
    found = [f"- {key}" for key in sorted(one.keys() - other.keys())]
    found += [f"+ {key}" for key in sorted(other.keys() - one.keys())]
    for key in sorted(one.keys() & other.keys()):
        for column, value in one[key].items():
            if value != other[key].get(column):
                found.append(f"{key} {column}: {value} -> {other[key].get(column)}")
    return found
