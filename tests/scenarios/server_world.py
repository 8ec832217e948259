"""A small world for scenarios of Servers: some simulated Hosts, the APIs without a socket, everything in one loop."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from hagane.api.http import Caller, Request
from hagane.app import Hagane
from hagane.compute.row import SERVER
from hagane.config import Config
from hagane.drivers.hypervisor.sim import SimHypervisor
from hagane.drivers.hypervisor.sim_knobs import Delays
from hagane.drivers.volume.sim import SimVolumes
from hagane.image.store import fill, new_image
from hagane.reconcile.devices import Devices
from hagane.reconcile.host import Hosts, Pace
from hagane.reconcile.node_sim import Fleet
from hagane.state.database import Row

PROJECT, USER = "p" * 32, "u" * 32
V21 = "/compute/v2.1"


async def _authenticate(request: Request) -> Caller:
    """The token says who comes: "project:role,role"."""
    project, _, roles = request.headers.get("x-auth-token", "").partition(":")
    return Caller(user_id=USER, project_id=project, roles=frozenset(roles.split(",")))


class World:
    """What a scenario acts upon and looks at."""

    def __init__(self, hagane: Hagane, hosts: dict[str, SimHypervisor]) -> None:
        self.hagane, self.cloud, self.db, self.hosts = hagane, hagane.cloud, hagane.cloud.db, hosts
        self.part = hagane.cloud.use(Hosts)
        self.part.hosts.pace = Pace(poll=5.0, silent=0.05, down_after=0.2, orphan=0.0, disks=0.0)
        self._transport = httpx.ASGITransport(hagane.app)
        self.member = self.client("member,reader")
        self.admin = self.client("admin,member,reader")
        self.image_id = self.flavor_id = self.network_id = ""

    def client(self, roles: str, project: str = PROJECT) -> httpx.AsyncClient:
        headers = {"X-Auth-Token": f"{project}:{roles}", "OpenStack-API-Version": "compute 2.96"}
        return httpx.AsyncClient(transport=self._transport, base_url="http://cloud", headers=headers)

    async def furnish(self, size: int = 4096) -> None:
        """An image, a flavor, and every Host known and up."""
        self.image_id = await self.db.write(
            lambda tx: new_image(tx, name="small", owner=PROJECT, properties={}, visibility="public", disk_format="raw")
        )
        await fill(self.cloud, self.image_id, _zeros(size))
        flavor = {"name": "small", "ram": 512, "vcpus": 1, "disk": 1, "id": "small"}
        answer = await self.admin.post(f"{V21}/flavors", json={"flavor": flavor})
        assert answer.status_code == 200, answer.text
        self.flavor_id = "small"
        net = await self.member.post("/network/v2.0/networks", json={"network": {"name": "net"}})
        self.network_id = net.json()["network"]["id"]
        subnet = {"network_id": self.network_id, "cidr": "10.1.0.0/16", "ip_version": 4}
        answer = await self.member.post("/network/v2.0/subnets", json={"subnet": subnet})
        assert answer.status_code == 201, answer.text
        await self.until(self._hosts_up)

    async def _hosts_up(self) -> bool:
        rows = await self.db.fetch_tuples("SELECT count(*) FROM host WHERE state = 'up'")
        return rows[0][0] == len(self.hosts)

    async def create(self, **more: Any) -> dict[str, Any]:
        """POST /servers; the answer's server."""
        server = {
            "name": "one",
            "imageRef": self.image_id,
            "flavorRef": self.flavor_id,
            "networks": [{"uuid": self.network_id}],
        } | more
        answer = await self.member.post(f"{V21}/servers", json={"server": server})
        assert answer.status_code == 202, answer.text
        return dict(answer.json()["server"])

    async def act(self, server_id: str, **action: Any) -> httpx.Response:
        return await self.member.post(f"{V21}/servers/{server_id}/action", json=action)

    async def show(self, server_id: str) -> dict[str, Any] | None:
        answer = await self.admin.get(f"{V21}/servers/{server_id}")
        return None if answer.status_code == 404 else dict(answer.json()["server"])

    async def settled(self, server_id: str, seconds: float = 20) -> dict[str, Any] | None:
        """The Server when nothing is being done about it any more; None when it is gone."""

        async def done() -> bool:
            row = await SERVER.get(self.db, id=server_id)
            return row is None or (row["task_state"] is None and row["observed_generation"] == row["generation"])

        await self.until(done, seconds)
        return await self.show(server_id)

    async def until(self, condition: Any, seconds: float = 20) -> None:
        async with asyncio.timeout(seconds):
            while not await condition():
                await asyncio.sleep(0.005)

    async def row(self, server_id: str) -> Row:
        row = await SERVER.get(self.db, id=server_id)
        assert row is not None
        return row

    async def pass_over(self) -> None:
        """Let every Host be read and swept once."""
        for name in self.hosts:
            await self.part.hosts._one(name)

    async def _idle(self) -> bool:
        """The engine has written the outcome of the last work."""
        return (await self.db.fetch_tuples("SELECT count(*) FROM work WHERE kind = 'server'"))[0][0] == 0

    async def leaks(self) -> dict[str, Any]:
        """Everything that should not be there when there is no Server."""
        await self.until(self._idle)
        found: dict[str, Any] = {}
        ports = "port WHERE device_owner LIKE 'compute%'"
        volumes = ("volume", "volume_attachment", "volume_snapshot", "volume_usage")
        for table in ("server", "placement_allocation", ports, *volumes):
            rows = await self.db.fetch(f"SELECT * FROM {table}")
            if rows:
                found[table] = rows
        used = await self.db.fetch("SELECT * FROM placement_inventory WHERE used != 0")
        counted = await self.db.fetch("SELECT * FROM compute_usage WHERE instances != 0 OR cores != 0 OR ram != 0")
        machines = {name: host for name, driver in self.hosts.items() if (host := await driver.read())}
        disks = {name: keys for name, driver in self.hosts.items() if (keys := await driver.disks())}
        open_events = await self.db.fetch("SELECT * FROM event WHERE kind = 'server' AND finished_at IS NULL")
        parts = {
            "used": used,
            "counted": counted,
            "machines": machines,
            "disks": disks,
            "events": open_events,
        }
        return found | {name: what for name, what in parts.items() if what}


async def _zeros(size: int) -> AsyncIterator[bytes]:
    yield b"\0" * size


@asynccontextmanager
async def world(
    folder: Path,
    *,
    hosts: Sequence[str] = ("sim1", "sim2", "sim3"),
    delays: Delays | None = None,
    url: str = "",
    lease: float = 15.0,
    **sizes: int,
) -> AsyncIterator[World]:
    """A furnished world; `sizes` are those of each Host (vcpus, memory_mb, disk_gb)."""
    drivers = {name: SimHypervisor(name, delays=delays or Delays.none(), **sizes) for name in hosts}
    async with beside(folder, drivers, url, lease) as made:
        await made.furnish()
        yield made


@asynccontextmanager
async def beside(
    folder: Path, drivers: dict[str, SimHypervisor], url: str = "", lease: float = 15.0, fleet: Fleet | None = None
) -> AsyncIterator[World]:
    """A process on these Hosts, with nothing in it but what the store has."""
    config = Config(state=folder, database=url, sim=True, workers_lease=lease)
    storage = SimVolumes(folder / "volumes.json")
    hagane = Hagane(config, Devices(hosts=dict(drivers), fleet=fleet, volumes={"sim": storage}), _authenticate)
    await hagane.start()
    made = World(hagane, drivers)
    try:
        yield made
    finally:
        await made.member.aclose()
        await made.admin.aclose()
        await hagane.stop()
