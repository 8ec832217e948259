"""A small world for scenarios of Nodes: simulated machines, the APIs without a socket, everything in one loop."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from hagane.api.http import Caller, Request
from hagane.app import Hagane
from hagane.baremetal.node import NODE
from hagane.config import Config
from hagane.reconcile.devices import Devices
from hagane.reconcile.node import NodePart
from hagane.reconcile.node_sim import Fleet, Machine
from hagane.reconcile.node_tools import Times
from hagane.state.database import Row

V1 = "/baremetal/v1"
DIRECT = {"driver": "fake-hardware", "deploy_interface": "direct", "inspect_interface": "agent",
          "rescue_interface": "agent", "resource_class": "small"}  # fmt: skip
IMAGE = {"image_source": "http://images.test/small.raw", "image_checksum": "0" * 64}


async def _authenticate(request: Request) -> Caller:
    return Caller(user_id="u" * 32, system=True, roles=frozenset(("admin", "member", "reader")))


def quick() -> Times:
    """Deadlines that a test can wait for."""
    kinds = ("deploy", "clean", "inspect", "rescue", "service")
    return Times(callback=dict.fromkeys(kinds, 20.0), step=dict.fromkeys(kinds, 20.0), heartbeat=20.0,
                 device=20.0, network=20.0, first=0.05, look=0.02, agent=0.02, retry=0.01)  # fmt: skip


class World:
    """What a scenario acts upon and looks at."""

    def __init__(self, hagane: Hagane, fleet: Fleet) -> None:
        self.hagane, self.cloud, self.db, self.fleet = hagane, hagane.cloud, hagane.cloud.db, fleet
        self.part = hagane.cloud.use(NodePart)
        self.times = self.part.tools.times
        headers = {"X-OpenStack-Ironic-API-Version": "1.115", "X-Auth-Token": "x"}
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(hagane.app), base_url="http://cloud" + V1,
                                      headers=headers)  # fmt: skip

    async def enrol(self, **more: Any) -> str:
        """A Node in `enroll`; its id."""
        answer = await self.http.post("/nodes", json=DIRECT | more)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["uuid"])

    async def available(self, **more: Any) -> str:
        node = await self.enrol(**more)
        await self.reach(node, "manage", "manageable")
        await self.reach(node, "provide", "available")
        return node

    async def active(self, **more: Any) -> str:
        node = await self.available(**more)
        await self.instance(node)
        await self.reach(node, "active", "active")
        return node

    async def instance(self, node: str, **more: Any) -> None:
        await self.patch(node, instance_info=IMAGE | more)

    async def patch(self, node: str, **fields: Any) -> None:
        body = [{"op": "add", "path": f"/{name}", "value": value} for name, value in fields.items()]
        answer = await self.http.patch(f"/nodes/{node}", json=body)
        assert answer.status_code == 200, answer.text

    async def ask(self, node: str, verb: str, **more: Any) -> httpx.Response:
        return await self.http.put(f"/nodes/{node}/states/provision", json={"target": verb, **more})

    async def reach(self, node: str, verb: str, state: str, **more: Any) -> Row:
        """Ask for a verb, and wait until the Node is in a state and nothing is left to be done."""
        answer = await self.ask(node, verb, **more)
        assert answer.status_code == 202, answer.text
        return await self.at(node, state)

    async def at(self, node: str, state: str, seconds: float = 20) -> Row:
        """Wait for a state in which nothing is left to be done (a state of failure: everything is released)."""
        row: Row = {}

        async def there() -> bool:
            nonlocal row
            row = await self.row(node)
            return row["provision_state"] == state and not ("failed" in state and row["seen"].get("life"))

        try:
            await self.until(there, seconds)
        except TimeoutError:
            todo = await self.db.fetch("SELECT * FROM work WHERE kind = 'node'")
            raise AssertionError(
                f"not {state}, but {row['provision_state']}: {row['last_error']} {row['seen']} {todo}"
            ) from None
        return row

    async def until(self, condition: Any, seconds: float = 20) -> None:
        async with asyncio.timeout(seconds):
            while not await condition():
                await asyncio.sleep(0.005)

    async def row(self, node: str) -> Row:
        row = await NODE.get(self.db, id=node)
        assert row is not None
        return row

    def machine(self, node: str) -> Machine:
        return self.fleet.machines[node]

    async def history(self, node: str) -> list[str]:
        answer = await self.http.get(f"/nodes/{node}/history?detail=true")
        return [entry["event"] for entry in answer.json()["history"]]

    async def leaks(self, node: str) -> dict[str, Any]:
        """What should not be there when nothing is being done to a Node and no tenant has it."""
        row, machine = await self.row(node), self.machine(node)
        found: dict[str, Any] = {}
        if row["seen"].get("life"):
            found["life"] = row["seen"]["life"]
        if kept := [key for key in row["driver_internal_info"] if key.startswith("agent_")]:
            found["agent"] = kept
        if "agent_token" in self.part.tools.secrets.decrypt(row["secrets"]) if row["secrets"] else False:
            found["token"] = True
        if machine.media:
            found["media"] = machine.media
        if machine.ramdisk is not None or machine.on:
            found["power"] = machine.on
        if running := [step for step in row["seen"].get("steps") or [] if step["finished_at"] is None]:
            found["steps"] = running
        ports = await self.db.fetch("SELECT id FROM port WHERE device_id = :id", {"id": node})
        return found | ({"ports": ports} if ports else {})


@asynccontextmanager
async def world(folder: Path, *, fleet: Fleet | None = None, lease: float = 15.0) -> AsyncIterator[World]:
    fleet = fleet or Fleet()
    fleet.paces = fleet.paces or quick()
    hagane = Hagane(Config(state=folder, sim=True, workers_lease=lease), Devices(fleet=fleet), _authenticate)
    await hagane.start()
    made = World(hagane, fleet)
    try:
        yield made
    finally:
        await made.http.aclose()
        await hagane.stop()
