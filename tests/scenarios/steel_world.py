"""A small world for Servers on bare metal: simulated Nodes, the APIs without a socket, everything in one loop."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx

from hagane.baremetal.node import NODE
from hagane.compute.row import SERVER, status_of
from hagane.drivers.bmc.sim import SimBmc
from hagane.drivers.hypervisor.sim import SimHypervisor
from hagane.drivers.hypervisor.sim_knobs import Delays
from hagane.errors import DeviceFailed
from hagane.reconcile.node import NodePart
from hagane.reconcile.node_sim import Fleet
from hagane.state.database import Row
from tests.scenarios import server_world
from tests.scenarios.node_world import DIRECT, quick
from tests.scenarios.server_world import PROJECT, USER, V21, World

NODES = "/baremetal/v1/nodes"
LATEST = {"X-OpenStack-Ironic-API-Version": "1.104"}
EVERY = "admin,member,reader"


class Steel(World):
    """World with Nodes. `fresh`: further fields of Nodes that are enrolled."""

    metal: httpx.AsyncClient
    fleet: Fleet
    fresh: dict[str, Any]

    async def enrol(self, name: str, nics: int = 2, traits: tuple[str, ...] = (), **more: Any) -> str:
        """A Node that is available, by the API."""
        body = {"name": name, "driver": "fake-hardware", "resource_class": "bm.small"} | self.fresh | more
        answer = await self.metal.post(NODES, json=body)
        assert answer.status_code == 201, answer.text
        node_id = str(answer.json()["uuid"])
        for number in range(nics):
            mac = f"52:54:02:{abs(hash(name)) % 256:02x}:{abs(hash(name)) // 256 % 256:02x}:{number:02x}"
            port = {"node_uuid": node_id, "address": mac}
            answer = await self.metal.post("/baremetal/v1/ports", json=port)
            assert answer.status_code == 201, answer.text
        if traits:
            answer = await self.metal.put(f"{NODES}/{node_id}/traits", json={"traits": list(traits)})
            assert answer.status_code == 204, answer.text
        for verb, state in (("manage", "manageable"), ("provide", "available")):
            assert (await self.told(node_id, verb)).status_code == 202
            await self.node_is(node_id, state)
        return node_id

    async def told(self, node_id: str, verb: str, **more: Any) -> httpx.Response:
        return await self.metal.put(f"{NODES}/{node_id}/states/provision", json={"target": verb} | more)

    async def node(self, node_id: str) -> Row:
        row = await NODE.get(self.db, id=node_id)
        assert row is not None
        return row

    async def node_is(self, node_id: str, state: str) -> Row:
        """The Node when it is in a provision state."""

        async def there() -> bool:
            return bool((await self.node(node_id))["provision_state"] == state)

        await self.until(there)
        return await self.node(node_id)

    async def bmc(self, node_id: str) -> SimBmc:
        """The simulated BMC of a Node, whose knobs a scenario turns."""
        found = self.cloud.use(NodePart).tools.bmcs.of(await self.node(node_id))
        assert isinstance(found, SimBmc)
        return found

    async def fails(self, node_id: str, step: str, why: str = "") -> None:
        """Let one step of a Node's BMC fail from now on; without a reason: no more."""
        bmc = await self.bmc(node_id)
        bmc.knobs = replace(bmc.knobs, fail={step: DeviceFailed(why)} if why else {})

    async def slow(self, node_id: str, seconds: float) -> None:
        bmc = await self.bmc(node_id)
        bmc.knobs = replace(bmc.knobs, delay=seconds)

    async def power(self, node_id: str, target: str) -> httpx.Response:
        return await self.metal.put(f"{NODES}/{node_id}/states/power", json={"target": target})

    async def becomes(self, server_id: str, status: str) -> dict[str, Any]:
        """The Server when it has a status and nothing is being done about it."""

        async def there() -> bool:
            row = await SERVER.get(self.db, id=server_id)
            return row is not None and status_of(row) == status and row["task_state"] is None

        await self.until(there)
        shown = await self.show(server_id)
        assert shown is not None
        return shown

    async def events(self, server_id: str, wanted: set[str]) -> list[dict[str, Any]]:
        """The steps of a Server's creation, the last first, when these are among them."""
        path, found = f"{V21}/servers/{server_id}/os-instance-actions", list[dict[str, Any]]()

        async def there() -> bool:
            nonlocal found
            actions = (await self.admin.get(path)).json()["instanceActions"]
            made = next(one["request_id"] for one in actions if one["action"] == "create")
            found = (await self.admin.get(f"{path}/{made}")).json()["instanceAction"]["events"]
            return wanted <= {event["event"] for event in found}

        await self.until(there)
        return found

    async def end(self, server_id: str) -> None:
        """Delete a Server, and wait until it and what it held are gone."""
        assert (await self.member.delete(f"{V21}/servers/{server_id}")).status_code == 204
        await self.gone(server_id)

    async def all_free(self) -> None:
        """Every Node is available again."""
        for row in await NODE.select(self.db):
            await self.node_is(row["id"], "available")

    async def metal_leaks(self) -> dict[str, Any]:
        """As leaks(), and what Nodes keep of Servers that are gone."""
        found = await self.leaks()
        for name, sql in (
            ("instances", "SELECT id, name, provision_state FROM node WHERE instance_id IS NOT NULL"),
            ("infos", "SELECT id, name FROM node WHERE instance_info != '{}'"),
            ("vifs", "SELECT id FROM nic WHERE vif IS NOT NULL"),
            ("allocations", "SELECT id FROM node_allocation"),
        ):
            if rows := await self.db.fetch(sql):
                found[name] = rows
        return found

    async def gone(self, server_id: str) -> None:
        async def away() -> bool:
            return await SERVER.get(self.db, id=server_id) is None

        await self.until(away)


@asynccontextmanager
async def beside(folder: Path, fleet: Fleet, url: str = "") -> AsyncIterator[Steel]:
    """A process on these machines, with nothing in it but what the store has."""
    fleet.paces = fleet.paces or quick()
    async with server_world.beside(
        folder, {"sim1": SimHypervisor("sim1", delays=Delays.none())}, url, fleet=fleet
    ) as made:
        made.__class__ = Steel
        assert isinstance(made, Steel)
        made.fleet, made.fresh = fleet, {}
        headers = {"X-Auth-Token": f"{PROJECT}:{EVERY}", **LATEST}
        transport = httpx.ASGITransport(made.hagane.app)
        made.metal = httpx.AsyncClient(transport=transport, base_url="http://cloud", headers=headers)
        try:
            yield made
        finally:
            await made.metal.aclose()


@asynccontextmanager
async def steel(
    folder: Path, nodes: int = 2, *, fleet: Fleet | None = None, url: str = "", **node: Any
) -> AsyncIterator[Steel]:
    """A furnished world with some Nodes (bm1, bm2, ...; `node` are further fields) and the flavor `metal`."""
    async with beside(folder, fleet or Fleet(), url) as made:
        await made.furnish()
        made.fresh = node
        flavor = {"name": "bm.small", "ram": 512, "vcpus": 1, "disk": 1, "id": "metal"}
        answer = await made.admin.post(f"{V21}/flavors", json={"flavor": flavor})
        assert answer.status_code == 200, answer.text
        specs = {"resources:CUSTOM_BM_SMALL": "1", "resources:VCPU": "0", "resources:MEMORY_MB": "0",
                 "resources:DISK_GB": "0"}  # fmt: skip
        answer = await made.admin.post(f"{V21}/flavors/metal/os-extra_specs", json={"extra_specs": specs})
        assert answer.status_code == 200, answer.text
        made.flavor_id = "metal"
        for number in range(1, nodes + 1):
            await made.enrol(f"bm{number}")
        yield made


__all__ = ["DIRECT", "LATEST", "NODES", "PROJECT", "USER", "V21", "Steel", "beside", "steel"]
