"""What may be done to a Node in which state. Pure functions over its row; each raises or says nothing."""

from collections.abc import Mapping
from typing import Any

from hagane.baremetal.base import CONDUCTOR
from hagane.baremetal.node_row import INTERFACES
from hagane.baremetal.node_state import (
    CHANGEABLE,
    DELETABLE,
    FREE,
    LOCKED,
    UNSTABLE,
    event_of,
    is_verb,
    possible,
)
from hagane.errors import Conflict, Forbidden, Invalid
from hagane.state.database import Row

POWER = ("power on", "power off", "rebooting", "soft rebooting", "soft power off")
POWER_RESULT = {"power on": "power on", "power off": "power off", "rebooting": "power on",
                "soft rebooting": "power on", "soft power off": "power off"}  # fmt: skip

_DOING = {"deploy": "provisioning", "rebuild": "provisioning", "rescue": "rescuing", "unrescue": "unrescuing",
          "clean": "cleaning", "provide": "providing", "service": "service"}  # fmt: skip
"""Events that maintenance forbids, as errors call them."""


def reservation(row: Row) -> str | None:
    """Who works on the Node right now, as the API says it."""
    return CONDUCTOR if row["provision_state"] in LOCKED else None


def refused(action: str, node: str, state: str | None) -> Invalid:
    return Invalid(
        f'The requested action "{action}" can not be performed on node "{node}" while it is in state "{state}".'
    )


def locked(row: Row) -> Conflict:
    return Conflict(
        f"Node {row['id']} is locked by host {CONDUCTOR}, please retry after the current operation is completed."
    )


def in_maintenance(row: Row, operation: str) -> Invalid:
    return Invalid(
        f"The {operation} operation can't be performed on node {row['id']} because it's in maintenance mode."
    )


def protected(row: Row) -> Forbidden:
    return Forbidden(f"Node {row['id']} is protected and cannot be undeployed, rebuilt or deleted")


def check_verb(row: Row, verb: str) -> None:
    """Whether a provision verb may be asked for now: 409 while somebody works on the Node, else 400."""
    state = row["provision_state"]
    if verb in ("active", "rebuild") and row["maintenance"]:
        raise in_maintenance(row, "provisioning")
    if not possible(state, verb):
        raise locked(row) if reservation(row) else refused(verb, row["id"], state)
    if not is_verb(verb):
        raise Invalid(f'The requested action "{verb}" could not be understood.')
    event = event_of(verb)
    if row["protected"] and event in ("delete", "rebuild"):
        raise protected(row)
    if row["maintenance"] and event in _DOING:
        raise in_maintenance(row, _DOING[event])
    if row["retired"] and event == "provide":
        raise Invalid(f"The providing operation can't be performed on node {row['id']} because it is retired.")


def check_power(row: Row, ident: str, target: str) -> None:
    if target not in POWER:
        raise refused(target, ident, row["power_state"])
    if row["provision_state"] in ("clean wait", "cleaning"):
        raise refused(target, ident, row["provision_state"])
    if target in ("power off", "soft power off") and row["disable_power_off"]:
        raise Conflict(f"Failed to set node power state to {target}.")


def check_settled(row: Row) -> None:
    """Boot mode and secure boot are not touched while the Node is on the way somewhere."""
    if row["provision_state"] in UNSTABLE:
        raise Conflict(
            f"Node is in {row['provision_state']} state. Since node is transitioning, the boot mode will not be set as "
            "this may interfere with ongoing changes and result in erroneous modification. Try again later."
        )


def check_delete(row: Row) -> None:
    if not row["maintenance"] and row["instance_id"] is not None:
        raise Conflict(f"Node {row['id']} is associated with instance {row['instance_id']}.")
    if row["protected"]:
        raise protected(row)
    if not row["maintenance"] and row["provision_state"] not in (*DELETABLE, "available"):
        allowed = str((*DELETABLE, "available"))
        raise Conflict(
            f'Can not delete node "{row["id"]}" while it is in provision state "{row["provision_state"]}". Valid '
            f'provision states to perform deletion are: "{allowed}", or set the node into maintenance mode'
        )


def check_changeable(row: Row, ident: str, *, only_instance_removed: bool, knows_inspect_wait: bool) -> None:
    """Whether a patch may touch the Node at all now."""
    state = row["provision_state"]
    if row["maintenance"] and only_instance_removed:
        return
    if row["target_provision_state"] and state not in CHANGEABLE:
        raise Conflict(f"Node {ident} can not be updated while a state transition is in progress.")
    if state == "inspecting" and knows_inspect_wait:
        raise Conflict(f'Cannot update node "{row["id"]}" while it is in state "{state}".')


def check_changes(row: Row, changes: Mapping[str, Any]) -> None:
    """Whether these attributes may be changed in the Node's state."""
    node, state = row["id"], row["provision_state"]
    after = {**row, **changes}
    if changes.get("protected") and state not in ("active", "rescue"):
        raise Conflict(f"Node {node} can only be made protected in provision states 'active' or 'rescue', "
                       f"the current state is '{state}'")  # fmt: skip
    if changes.get("protected_reason") and not after["protected"]:
        raise Invalid("The protected_reason field can only be set when protected is True")
    if changes.get("retired") and state == "available":
        raise Conflict(f"Node {node} can not have 'retired' set in provision state 'available', "
                       f"the current state is '{state}'")  # fmt: skip
    if changes.get("retired_reason") and not after["retired"]:
        raise Invalid("The retired_reason field can only be set when retired is True")
    _check_free(row, changes)
    if changes.get("instance_id") and row["instance_id"]:
        raise Conflict(f"Node {node} is associated with instance {row['instance_id']}.")
    if changes.get("instance_id", "") is None and row["allocation_id"] and not row["maintenance"] and state not in FREE:
        raise Conflict(
            f"Node {node} with an allocation can not have instance_uuid removed unless it is in one of allowed "
            f"({', '.join(FREE)}) states or in maintenance mode. Current state is '{state}'."
        )
    if "driver" in changes and row["console_enabled"]:
        raise Conflict(f"Node {node} can not update the driver while the console is enabled. "
                       "Please stop the console first.")  # fmt: skip


def _check_free(row: Row, changes: Mapping[str, Any]) -> None:
    """Interfaces and resource class change only while nobody uses the Node."""
    if row["provision_state"] in FREE:
        return
    for name in (f"{interface}_interface" for interface in INTERFACES):
        if name in changes and not row["maintenance"]:
            raise _not_now(row, name, " or in maintenance mode")
    if "resource_class" in changes and row["resource_class"]:
        raise _not_now(row, "resource_class", "")


def _not_now(row: Row, name: str, more: str) -> Conflict:
    return Conflict(
        f"Node {row['id']} can not have {name} updated unless it is in one of allowed ({', '.join(FREE)}) "
        f"states{more}. "
        f"Current state is '{row['provision_state']}'."
    )


def implied(row: Row, changes: Row) -> None:
    """What follows from changes: reasons go with what they explain, the fault with maintenance."""
    if changes.get("protected") is False:
        changes["protected_reason"] = None
    if changes.get("retired") is False:
        changes["retired_reason"] = None
    if changes.get("maintenance") is False:
        changes |= {"maintenance_reason": None, "fault": None}
    if "conductor_group" in changes:
        changes["conductor_group"] = (changes["conductor_group"] or "").lower()
    name = (changes.get("instance_info") or {}).get("display_name")
    if name and not {**row, **changes}["instance_name"]:
        changes["instance_name"] = name
