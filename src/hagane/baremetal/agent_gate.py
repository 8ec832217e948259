"""The doors for ramdisks, without HTTP: lookup, heartbeat, what an inspection found. The API and simulated machines use
them.

`inside`: whether one speaks through the provisioning service, or is simulated. Nobody else speaks for a Node whose Nics
are ours to plug: its ramdisk is on no other network.

A ramdisk has no account. Lookup gives a Node's token once, and only in states in which a ramdisk of ours runs there;
from then on the token proves that it is the same one. A stranger learns nothing: all refusals of a lookup are alike.

Who asks a second time before the first heartbeat has lost the answer, or somebody else had it: nobody can tell. The
real service lets such a Node wait for its deadline; here it is noted, and the machine is started anew, with another
token (reconcile/node_agent.py). Until it is off, what still runs on it is not heard: it would take the next token.
"""

import hmac
import secrets as random
from typing import Any

from hagane.baremetal import node_progress
from hagane.baremetal.nic import Nics
from hagane.baremetal.node import NODE
from hagane.baremetal.node_row import INVENTORY
from hagane.baremetal.node_secret import opened, sealed
from hagane.baremetal.node_state import LOOKUP, advance
from hagane.baremetal.plug import plugs
from hagane.errors import Invalid, NotFound
from hagane.state import clock, work
from hagane.state.database import Database, Reader, Row, Tx
from hagane.state.secret import Secrets

AGAIN = "agent_asked_again"
"""Key of driver_internal_info: a ramdisk without a token waits."""
OFF = ("tenant-network", "storage", "network", "boot", "release", "teardown")
"""Phases (reconcile/node_plan.py) at whose end the machine is off: no ramdisk of this work has been started yet."""


class AgentGate:
    def __init__(self, db: Database, secrets: Secrets) -> None:
        self._db, self._secrets = db, secrets

    async def lookup(self, key: str | None, macs: list[str], *, inside: bool = True) -> tuple[Row, str | None]:
        """The Node, and its token if it is told now: whoever asks a second time gets none. Raises NotFound."""

        async def find(tx: Tx) -> tuple[Row, str | None]:
            row = await _find(tx, key, macs, inside=inside)
            if row["provision_state"] not in LOOKUP or _before(row):
                raise nobody()
            if opened(self._secrets, row).get("agent_token"):
                await self._again(tx, row)
                return row, None
            token = random.token_urlsafe(32)
            internal = row["driver_internal_info"] | {"agent_secret_token": "******"}
            changes = sealed(self._secrets, row, {"driver_internal_info": internal}, agent_token=token)
            changes |= await node_progress.looked_up(tx, row)
            await NODE.update(tx, {"id": row["id"]}, changes)
            return row | changes, token

        return await self._db.write(find)

    async def _again(self, tx: Tx, row: Row) -> None:
        internal = row["driver_internal_info"]
        if plugs(row) and not internal.get("agent_url") and not internal.get(AGAIN):
            await NODE.update(tx, {"id": row["id"]}, {"driver_internal_info": internal | {AGAIN: True}})
            await work.wake(tx, "node", row["id"])

    async def heartbeat(self, key: str, given: Row, *, inside: bool = True, request_id: str | None = None) -> None:
        """A ramdisk says where it is and how it is. Raises NotFound, Invalid."""

        async def change(tx: Tx) -> None:
            row = await NODE.get(tx, id=key) or await NODE.get(tx, name=key)
            if row is None or _elsewhere(row, inside=inside):
                raise NotFound(f"Node {key} could not be found.")
            if _before(row):
                raise Invalid("The machine is about to be switched off.")
            internal = row["driver_internal_info"]
            if internal.get("agent_url") not in (None, given["callback_url"]):
                raise Invalid('Detected change in ramdisk provided "callback_url"')
            self._prove(row, given.get("agent_token"))
            if not given.get("agent_version"):
                raise Invalid("Agent did not transmit a version, and a version is required. Please update the agent "
                              "being used.")  # fmt: skip
            await NODE.update(tx, {"id": row["id"]}, {"driver_internal_info": internal | _told(given)})
            await work.wake(tx, "node", row["id"], request_id=request_id)

        await self._db.write(change)

    def _prove(self, row: Row, token: Any) -> None:
        """Whether it is the ramdisk that looked itself up. Raises Invalid."""
        if token is None:
            raise Invalid("Agent token is required for heartbeat processing.")
        known = opened(self._secrets, row).get("agent_token") or ""
        if not known or not hmac.compare_digest(str(token).encode(), known.encode()):
            raise Invalid("Invalid or missing agent token received.")

    async def found(
        self, key: str | None, macs: list[str], data: Row, *, inside: bool = True, request_id: str | None = None
    ) -> str:  # fmt: skip
        """What an inspection found; returns the Node's id. Raises NotFound."""

        async def change(tx: Tx) -> str:
            row = await _find(tx, key, macs, inside=inside)
            if row["provision_state"] != "inspect wait":
                raise nobody()
            plugin = {name: value for name, value in data.items() if name != "inventory"}
            await INVENTORY.delete(tx, {"node_id": row["id"]})
            await INVENTORY.insert(tx, {"node_id": row["id"], "inventory": data["inventory"], "plugin_data": plugin})
            place = advance(row["provision_state"], "resume", row["target_provision_state"])
            changes = {"provision_state": place.state, "provision_updated_at": clock.now(),
                       "seen": row["seen"] | {"inspected": True}}  # fmt: skip
            await NODE.update(tx, {"id": row["id"]}, changes)
            await work.wake(tx, "node", row["id"], request_id=request_id)
            return str(row["id"])

        return await self._db.write(change)


def nobody() -> NotFound:
    return NotFound("Resource could not be found.")


def _elsewhere(row: Row, *, inside: bool) -> bool:
    return not inside and plugs(row)


def _before(row: Row) -> bool:
    return ((row["seen"] or {}).get("life") or {}).get("phase") in OFF


async def _find(reader: Reader, key: str | None, macs: list[str], *, inside: bool) -> Row:
    """The one Node of a UUID, or to which all known ones of the Nics belong. Raises NotFound."""
    if key is None:
        found = {nic["node_id"] for nic in await Nics.table.select(reader, {"address": macs})} if macs else set()
        key = found.pop() if len(found) == 1 else None
    row = await NODE.get(reader, id=key) if key is not None else None
    if row is None or _elsewhere(row, inside=inside):
        raise nobody()
    return row


def _told(given: Row) -> Row:
    told = {"agent_url": given["callback_url"], "agent_version": given["agent_version"],
            "agent_last_heartbeat": clock.now()}  # fmt: skip
    if given.get("agent_verify_ca"):
        told["agent_verify_ca"] = given["agent_verify_ca"]
    if given.get("agent_status"):
        told |= {"agent_status": given["agent_status"], "agent_status_message": given.get("agent_status_message")}
    return told
