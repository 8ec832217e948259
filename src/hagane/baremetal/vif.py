"""VIFs: which Nic of a Node carries which Port, in words of the real service. Choosing a Nic is a pure function."""

from collections.abc import Collection, Sequence
from typing import Any

from hagane.baremetal.nic import Nics
from hagane.baremetal.nic_group import NicGroups
from hagane.errors import Conflict, Invalid
from hagane.state.database import Reader, Row, Tx


async def nics_of(reader: Reader, node_ids: Collection[str]) -> tuple[list[Row], list[Row]]:
    """Nics and Nic groups of some Nodes."""
    where, order = {"node_id": sorted(node_ids)}, "created_at, id"
    return await Nics.table.select(reader, where, order=order), await NicGroups.table.select(reader, where, order=order)


def free(nics: Sequence[Row], groups: Sequence[Row], physical_network: str | None = None) -> list[tuple[Any, Row]]:
    """(table, row) of what may carry one VIF more, the best first: a group, a Nic with a Link, one that boots."""
    used = {row["group_id"] for row in nics if row["group_id"]}
    found: list[tuple[Any, Row]] = [(NicGroups.table, row) for row in groups if row["id"] in used]
    single = [row for row in nics if row["group_id"] is None]
    single.sort(key=lambda row: (not row["link"], not row["pxe_enabled"]))
    found += [(Nics.table, row) for row in single]

    def reaches(row: Row) -> bool:
        known = {nic["physical_network"] for nic in nics if nic["id"] == row["id"] or nic["group_id"] == row["id"]}
        return physical_network is None or bool(known & {physical_network, None})

    return [(table, row) for table, row in found if row["vif"] is None and reaches(row)]


async def attach(
    tx: Tx, node: Row, vif: str, *, nic: str | None = None, group: str | None = None,
    physical_network: str | None = None,
) -> Row:  # fmt: skip
    """Give a VIF to the Nic (or group) that is free and fits, which is returned. Raises Invalid, Conflict."""
    nics, groups = await nics_of(tx, [node["id"]])
    for noun, rows in (("port", nics), ("portgroup", groups)):
        for row in rows:
            if row["vif"] == vif:
                raise Conflict(f"Unable to attach VIF because VIF {vif} is already attached to Ironic {noun} "
                               f"{row['id']}", code="VifAlreadyAttached")  # fmt: skip
    for wanted in (nic, group):
        if wanted is not None:
            nics = [row for row in nics if row["id"] == wanted or row["group_id"] == wanted]
            groups = [row for row in groups if row["id"] == wanted]
    candidates = free(nics, groups, physical_network)
    if not candidates:
        raise Invalid(f"Unable to attach VIF {vif}, not enough free physical ports.")
    table, row = candidates[0]
    await table.update(tx, {"id": row["id"]}, {"vif": vif})
    return dict(row) | {"vif": vif}


async def detach(tx: Tx, node_id: str, vif: str) -> bool:
    """Take a VIF off its Nic; whether there was one."""
    gone = [await table.update(tx, {"node_id": node_id, "vif": vif}, {"vif": None})
            for table in (Nics.table, NicGroups.table)]  # fmt: skip
    return any(gone)
