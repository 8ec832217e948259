"""Inspection rules, applied to a Node that was just inspected: what they change is checked as if it came by the API."""

import logging
from collections.abc import Sequence
from copy import deepcopy
from typing import Any

from hagane.api.resource import Attr
from hagane.api.types import BadValue
from hagane.baremetal import inspection_language as language
from hagane.baremetal.driver import complete
from hagane.baremetal.inspection_rule import RULE, opened
from hagane.baremetal.nic import Nics
from hagane.baremetal.node import NODE, check_name
from hagane.baremetal.node_part import check_trait
from hagane.baremetal.node_row import ATTRS, INTERFACES, INVENTORY
from hagane.errors import DeviceFailed, Invalid
from hagane.reconcile.node_job import Job
from hagane.state import clock
from hagane.state.database import Row, Tx

log = logging.getLogger(__name__)
OF_NODE = frozenset({
    "automated_clean", "conductor_group", "description", "disable_power_off", "driver", "driver_info", "extra",
    "lessee", "name", "network_data", "owner", "properties", "resource_class", "shard", "traits",
    *(f"{name}_interface" for name in INTERFACES),
})  # fmt: skip
"""What rules may write; the rest of a Node is what it does."""
OF_NIC = frozenset({"category", "description", "extra", "is_smartnic", "local_link_connection", "name",
                    "physical_network", "pxe_enabled", "vendor"})  # fmt: skip


async def apply(job: Job, inventory: Row, plugin_data: Row) -> None:
    """Raises DeviceFailed when a rule says so, or cannot be applied."""
    rules = await RULE.select(job.tools.db, {"phase": "main"}, order="created_at, id")
    if not rules:
        return
    nics = await Nics.table.select(job.tools.db, {"node_id": job.id}, order="created_at, id")
    row = job.row | job.changes
    whole = {part: one for part, one in job.opened().items() if part in ("driver_info", "instance_info")}
    before = _view(ATTRS, row) | whole
    subject = language.Subject(deepcopy(before), [_view(Nics.attrs, nic) for nic in nics], inventory, plugin_data)
    try:
        held = language.apply([opened(job.tools.secrets, rule) for rule in rules], subject)
        job.changes |= await _of_node(job, row, before, subject.node)
        await job.tools.db.write(lambda tx: _store(tx, job.id, nics, subject))
    except (Invalid, language.Refused) as error:
        raise DeviceFailed(error.message) from error
    for level, text in subject.said:
        log.log(logging.getLevelNamesMapping()[level.upper()], "node %s: %s", job.id, text)
    job.finish("inspection-rules", f"{len(held)} of {len(rules)} inspection rules held")


def _view(attrs: Sequence[Attr], row: Row) -> Row:
    return {attr.label: deepcopy(row[attr.name]) for attr in attrs if attr.stored and attr.shown and attr.name in row}


async def _of_node(job: Job, row: Row, before: Row, after: Row) -> Row:
    """What rules changed in the Node. Raises Invalid."""
    changes = _changes(ATTRS, OF_NODE, before, after)
    for trait in changes.get("traits") or ():
        check_trait("inspection rule", trait)
    if changes.get("name") is not None:
        check_name(changes["name"], f"'{changes['name']}' is no name of a Node")
        other = await NODE.get(job.tools.db, name=changes["name"])
        if other is not None and other["id"] != job.id:
            raise Invalid(f"A node with name {changes['name']} already exists.")
    if changes.keys() & {"driver", *(f"{name}_interface" for name in INTERFACES)}:
        changes |= complete({**row, **changes})
    return changes


def _changes(attrs: Sequence[Attr], allowed: frozenset[str], before: Row, after: Row) -> Row:
    by_label = {attr.label: attr for attr in attrs}
    found: Row = {}
    for label in before.keys() | after.keys():
        value = after.get(label)
        if value == before.get(label):
            continue
        if label not in allowed:
            raise Invalid(f"An inspection rule cannot change {label}.")
        attr = by_label[label]
        if value is None and callable(attr.default):
            value = attr.default()
        try:
            found[attr.name] = attr.type.check(label, value)
        except BadValue as error:
            raise Invalid(f"An inspection rule gave {label} a value that it cannot have: {error.reason}") from error
    return found


async def _store(tx: Tx, node_id: str, nics: Sequence[Row], subject: language.Subject) -> None:
    for nic, told in zip(nics, subject.nics, strict=True):
        changes: dict[str, Any] = _changes(Nics.attrs, OF_NIC, _view(Nics.attrs, nic), told)
        if changes:
            await Nics.table.update(tx, {"id": nic["id"]}, changes | {"updated_at": clock.now()})
    await INVENTORY.update(tx, {"node_id": node_id}, {"plugin_data": subject.plugin_data})
