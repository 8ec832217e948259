"""POST /servers/{id}/action: one body, one key, one verb. Each verb is a declaration and a few lines of intent.

An accepted action raises the generation of the row, writes a task and an event, and wakes the reconciler, in one
transaction.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from hagane.api.http import Request, Response, empty
from hagane.api.service import Route, parse
from hagane.api.types import Type
from hagane.cloud import Cloud
from hagane.compute.base import V21, api, need
from hagane.compute.row import KIND, SERVER, Task, VmState
from hagane.compute.server import find, refuse_locked
from hagane.compute.steel import refuse_steel
from hagane.errors import Conflict, Invalid
from hagane.state import clock, event, work
from hagane.state.database import Row, Tx

Handler = Callable[[Request, Any], Awaitable[Response]]
PATH = V21 + "/servers/{id}/action"
ANYTHING = Type(nullable=True)


@dataclass(frozen=True)
class Action:
    """One verb: its policy rule, the microversions that have it, and the type of its value."""

    handler: Handler
    rule: str
    since: str = ""
    until: str = ""
    body: Callable[[tuple[int, int]], Type] | None = None


class Actions:
    """The dispatcher. `table` comes from the modules that have verbs."""

    def __init__(self, cloud: Cloud, tables: Sequence[dict[str, Action]]) -> None:
        self._cloud = cloud
        self._table: dict[str, Action] = {name: action for table in tables for name, action in table.items()}

    async def handle(self, request: Request) -> Response:
        body = await request.json()
        if not isinstance(body, dict) or not body:
            raise Invalid("Malformed request body", code="MalformedBody")
        name = next(iter(body))
        action = self._table.get(name)
        if action is None or not _known(action, request.version):
            raise Invalid(f"There is no such action: {name}. Verify the requested microversion includes this action.")
        if len(body) > 1:
            extra = ", ".join(repr(other) for other in list(body)[1:])
            verb = "was" if len(body) == 2 else "were"
            raise Invalid(f"Additional properties are not allowed ({extra} {verb} unexpected)")
        kind = action.body(request.version) if action.body else ANYTHING
        return await action.handler(request, kind.check(name, body[name]))

    def routes(self) -> list[Route]:
        return [Route("POST", PATH, self.handle, "server:action", rule=api("servers:start"), status=202)]


def _known(action: Action, version: tuple[int, int]) -> bool:
    if action.since and version < parse(action.since):
        return False
    return not (action.until and version > parse(action.until))


def refuse_state(
    row: Row,
    verb: str,
    vm_states: Sequence[str] | None,
    tasks: Sequence[str | None] = (None,),
    *,
    launched: bool = True,
) -> None:
    """The real service's answer to an action that does not fit the state. Raises Conflict."""
    if vm_states is not None and row["vm_state"] not in vm_states:
        raise _unfit(row, verb, "vm_state", row["vm_state"])
    if tasks != () and row["task_state"] not in tasks:
        raise _unfit(row, verb, "task_state", row["task_state"])
    if launched and not row["launched_at"]:
        raise _unfit(row, verb, "launched_at", None)


def _unfit(row: Row, verb: str, what: str, state: str | None) -> Conflict:
    if state is None:
        return Conflict(f"Cannot '{verb}' instance {row['id']} while it is in an invalid state")
    return Conflict(f"Cannot '{verb}' instance {row['id']} while it is in {what} {state}", code="InstanceInvalidState")


async def intend(request: Request, tx: Tx, row: Row, action: str, changes: dict[str, Any]) -> Row:
    """Store what is wanted of a Server, tell its owner, wake the reconciler; returns the row as it is then."""
    moment = clock.now()
    changes = changes | {
        "action": action, "request_id": request.id, "acted_at": moment, "updated_at": moment,
        "generation": row["generation"] + 1,
    }  # fmt: skip
    await SERVER.update(tx, {"id": row["id"]}, changes)
    await begin(request, tx, row, action)
    await work.wake(tx, KIND, row["id"], request_id=request.id)
    return row | changes


async def begin(request: Request, tx: Tx, row: Row, action: str) -> str:
    """The event of an action."""
    return await event.begin(tx, KIND, row["id"], request.id, action, user_id=request.caller.user_id,
                             project_id=request.caller.project_id)  # fmt: skip


async def told(request: Request, tx: Tx, row: Row, action: str, changes: dict[str, Any]) -> None:
    """Change what no machine need know of (a lock), and tell the owner."""
    await SERVER.update(tx, {"id": row["id"]}, changes | {"updated_at": clock.now()})
    await event.end(tx, await begin(request, tx, row, action))


def simple(
    cloud: Cloud,
    verb: str,
    action: str,
    rule: str,
    vm_states: Sequence[str],
    changes: Callable[[Row], dict[str, Any]],
    *,
    refuse: Callable[[Row], None] = lambda row: None,
) -> Action:
    """A verb that wants one thing of a Server in certain states, and answers 202 with nothing. `refuse` raises for
    Servers that cannot do it at all."""

    async def handler(request: Request, _: Any) -> Response:
        async def write(tx: Tx) -> None:
            row = await find(tx, request)
            need(request, api(rule), row)
            refuse_locked(request, row)
            refuse(row)
            refuse_state(row, verb, vm_states)
            await intend(request, tx, row, action, changes(row))

        await cloud.db.write(write)
        return empty(202)

    return Action(handler, rule)


def power_actions(cloud: Cloud) -> dict[str, Action]:
    """start, stop, pause, unpause, suspend, resume."""
    return {
        "os-start": simple(cloud, "start", "start", "servers:start", [VmState.STOPPED], lambda row: {
            "power": "on", "boots": row["boots"] + 1, "soft": False, "task_state": Task.POWERING_ON}),
        "os-stop": simple(cloud, "stop", "stop", "servers:stop", [VmState.ACTIVE, VmState.ERROR], lambda row: {
            "power": "off", "soft": True, "task_state": Task.POWERING_OFF}),
        "pause": simple(cloud, "pause", "pause", "os-pause-server:pause", [VmState.ACTIVE], lambda row: {
            "power": "paused", "task_state": Task.PAUSING}, refuse=lambda row: refuse_steel(row, "paused")),
        "unpause": simple(cloud, "unpause", "unpause", "os-pause-server:unpause", [VmState.PAUSED], lambda row: {
            "power": "on", "task_state": Task.UNPAUSING}, refuse=lambda row: refuse_steel(row, "paused")),
        "suspend": simple(cloud, "suspend", "suspend", "os-suspend-server:suspend", [VmState.ACTIVE], lambda row: {
            "power": "suspended", "task_state": Task.SUSPENDING}, refuse=lambda row: refuse_steel(row, "suspended")),
        "resume": simple(cloud, "resume", "resume", "os-suspend-server:resume", [VmState.SUSPENDED], lambda row: {
            "power": "on", "task_state": Task.RESUMING}, refuse=lambda row: refuse_steel(row, "suspended")),
    }  # fmt: skip
