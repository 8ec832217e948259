"""The steps of a Node's deployment as events of its Server: what `openstack server event show` lists, live.

The Node's reconciler keeps them in `node.seen["steps"]`, in order: {"step", "started_at", "finished_at", "progress",
"message", "result"}. The Server's own step, `schedule`, comes before them; two more come when it is ACTIVE (see
server_reach.py). A second attempt's steps end in "-2", so that the first one's are kept.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from hagane.baremetal.base import CONDUCTOR
from hagane.reconcile.server_node_words import public
from hagane.state import clock
from hagane.state.database import Row

LAST = ("tenant-dhcp", "reachable")
INNER = ("prepare_instance_boot", "power-off")
"""Steps of the Node that tell its tenant nothing."""
COUNT = 9
"""Steps of a whole deployment, from the first to the reboot."""


def attempt(row: Mapping[str, Any]) -> str:
    """What the names of this attempt's steps end in."""
    return f"-{len(row['tried']) + 1}" if row["tried"] else ""


def mirrored(row: Mapping[str, Any], node: Mapping[str, Any]) -> list[Row]:
    """A Node's steps as rows for event.record; those of an earlier deployment than this action's are left out."""
    found = [step for step in _steps(row, node) if step["step"] not in LAST]
    return [_event(row, step | {"message": public(step.get("message") or "", node)}) for step in found]


def late(row: Mapping[str, Any], node: Mapping[str, Any]) -> list[Row]:
    """The steps that are seen when the Server is ACTIVE already."""
    return [_event(row, step) for step in _steps(row, node) if step["step"] in LAST and step["finished_at"]]


def _steps(row: Mapping[str, Any], node: Mapping[str, Any]) -> list[Row]:
    steps = (node["seen"] or {}).get("steps") or []
    return [step for step in steps if step["started_at"] >= row["acted_at"] and step["step"] not in INNER]


def _event(row: Mapping[str, Any], step: Mapping[str, Any]) -> Row:
    return {
        "step": step["step"] + attempt(row), "started_at": step["started_at"], "finished_at": step.get("finished_at"),
        "result": step.get("result"), "message": step.get("message") or None, "percent": step.get("progress"),
        "host": CONDUCTOR,
    }  # fmt: skip


def close(row: Mapping[str, Any], steps: Iterable[Row], error: str) -> list[Row]:
    """The same when the deployment failed: what still went on ended with the error, or the whole did."""
    now = clock.now()
    ended = {"finished_at": now, "result": "Error", "message": error}
    closed = [step if step["finished_at"] else step | ended for step in steps]
    if not any(step["result"] == "Error" for step in closed):
        closed.append({"step": "deploy" + attempt(row), "started_at": now, "host": CONDUCTOR} | ended)
    return closed


def percent(row: Mapping[str, Any], node: Mapping[str, Any]) -> int:
    """How far a deployment is."""
    steps = mirrored(row, node)
    done = sum(1 for step in steps if step["finished_at"])
    part = next((step["percent"] or 0 for step in reversed(steps) if not step["finished_at"]), 0)
    return min(99, int((done + part / 100) * 100 / COUNT))
