"""Commands to a Node from inside a transaction: a provision verb, power, a console. Whoever asks has been allowed.

The API (node_verb.py) and compute's Servers (reconcile/server_node.py) move a Node by the same few functions: the state
changes within the transaction, what one asks of the BMC is intent in the row (`wanted`), and the reconciler of Nodes is
woken.
"""

from typing import Any

from hagane.baremetal.base import boolean
from hagane.baremetal.node import NODE
from hagane.baremetal.node_history import record
from hagane.baremetal.node_secret import opened, sealed
from hagane.baremetal.node_state import advance, event_of
from hagane.state import clock, work
from hagane.state.database import Row, Tx
from hagane.state.secret import Secrets

DEPLOYS = ("active", "rebuild", "deploy")
FAILED = {"failed": True}
"""What the note of what was being done to a Node (`seen["life"]`) says once that has failed or was aborted: whatever is
begun next begins after its ramdisk was put away."""


async def store(tx: Tx, row: Row, changes: Row) -> Row:
    """Write changes of intent."""
    changes = changes | {"updated_at": clock.now(), "generation": row["generation"] + 1}
    await NODE.update(tx, {"id": row["id"]}, changes)
    return row | changes


async def command(
    tx: Tx,
    secrets: Secrets,
    row: Row,
    verb: str,
    given: dict[str, Any],
    *,
    request_id: str | None,
    user: str | None,
    project: str | None,
) -> Row:
    """Move a Node by a provision verb that fits its state; `given` are the request's further arguments."""
    event = event_of(verb)
    kept = row["target_provision_state"] if event in ("unhold", "abort") else None  # of a manual cleaning
    place = advance(row["provision_state"], event, "manageable" if event == "clean" else kept)
    changes: Row = {
        "provision_state": place.state, "target_provision_state": place.target,
        "provision_updated_at": clock.now(), "last_error": None,
    }  # fmt: skip
    changes |= _intent(row, verb, given)
    if event == "abort" and (life := (row["seen"] or {}).get("life")):
        changes["seen"] = row["seen"] | {"life": life | FAILED}
    info = _instance(opened(secrets, row)["instance_info"], verb, given)
    if info is not None:
        changes["instance_info"] = info
    stored = await store(tx, row, sealed(secrets, row, changes))
    await record(tx, stored, f"{verb} was requested", user=user, project=project)
    await work.wake(tx, "node", row["id"], request_id=request_id)
    return stored


async def want(tx: Tx, row: Row, changes: Row, *, request_id: str | None, **wanted: Any) -> Row:
    """Store what the BMC shall do, and wake who tells it."""
    stored = await store(tx, row, changes | {"wanted": row["wanted"] | wanted})
    await work.wake(tx, "node", row["id"], request_id=request_id)
    return stored


def _intent(row: Row, verb: str, given: dict[str, Any]) -> Row:
    """What the reconciler needs to know of a request, where clients of the real service look for it."""
    internal = dict(row["driver_internal_info"])
    before = dict(internal)
    if verb in DEPLOYS:
        internal["user_deploy_steps"] = given.get("deploy_steps") or []
    if verb in ("clean", "service"):
        internal[f"{verb}_steps"] = given[f"{verb}_steps"]
        internal[f"{verb}ing_disable_ramdisk".replace("serviceing", "servicing")] = bool(
            boolean("disable_ramdisk", given.get("disable_ramdisk"))
        )
    if verb == "provide":
        internal.pop("clean_steps", None)
    found: Row = {"driver_internal_info": internal} if internal != before else {}
    if verb == "inspect":
        found |= {"inspection_started_at": clock.now(), "inspection_finished_at": None}
    return found


def _instance(info: dict[str, Any], verb: str, given: dict[str, Any]) -> dict[str, Any] | None:
    """`instance_info` after a request that adds something to it."""
    if verb in DEPLOYS and given.get("configdrive"):
        return info | {"configdrive": given["configdrive"]}
    if verb == "rescue":
        return info | {"rescue_password": given["rescue_password"]}
    return None
