"""A simulated rack for scenarios: two switches, two gateways, Nodes with Nics, and everything in one event loop."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx

from hagane.api.http import Caller, Request
from hagane.app import Hagane
from hagane.baremetal import plug
from hagane.baremetal.node import NODE
from hagane.config import Config
from hagane.drivers.gateway.base import GatewayAccess
from hagane.drivers.gateway.sim import SimGateway
from hagane.drivers.switch.base import SwitchAccess
from hagane.drivers.switch.sim import SimSwitch
from hagane.drivers.volume.base import VolumeDriver
from hagane.drivers.volume.export import Home, SimExports
from hagane.drivers.volume.sim import SimVolumes
from hagane.network.port_row import PORT
from hagane.reconcile.devices import Devices
from hagane.reconcile.ovn.engine import SimOvn
from hagane.state.database import Row, Tx

PROJECT, OTHER = "a" * 32, "b" * 32
T = TypeVar("T")
RACK: dict[str, Any] = {
    "physical_network": "rack1", "vlans": "1001-1010",
    "switches": [
        {"name": "tor1", "driver": "sim", "chassis_id": "52:54:01:00:00:01", "password": "tor-secret"},
        {"name": "tor2", "driver": "sim", "chassis_id": "52:54:01:00:00:02"},
    ],
    "gateways": [
        {"name": "gw1", "ovsdb": "sim:gw1", "switch": "tor1", "switch_port": "up1", "priority": 2},
        {"name": "gw2", "ovsdb": "sim:gw2", "switch": "tor2", "switch_port": "up1", "priority": 1},
    ],
}  # fmt: skip


async def authenticate(request: Request) -> Caller:
    """The token says who comes: "project:role,role"."""
    project, _, roles = request.headers.get("x-auth-token", "").partition(":")
    return Caller(user_id="u" * 32, project_id=project, roles=frozenset(roles.split(",")))


class RackWorld:
    """What a scenario acts upon and looks at."""

    def __init__(self, hagane: Hagane, switches: dict[str, SimSwitch], gateways: dict[str, SimGateway]) -> None:
        self.hagane, self.cloud, self.db = hagane, hagane.cloud, hagane.cloud.db
        self.switches, self.gateways = switches, gateways
        self._transport = httpx.ASGITransport(hagane.app)
        self.admin = self.client("admin,manager,member,reader")
        self.member = self.client("member,reader", OTHER)
        self.network_id = ""
        self.count = 0

    def client(self, roles: str, project: str = PROJECT) -> httpx.AsyncClient:
        headers = {"X-Auth-Token": f"{project}:{roles}", "OpenStack-API-Version": "baremetal latest"}
        return httpx.AsyncClient(transport=self._transport, base_url="http://cloud", headers=headers)

    async def furnish(self) -> None:
        await self.put_rack()
        self.network_id = await self.network("provisioning", "172.30.16.0/22")
        await self.until(lambda: self.all_up())

    async def put_rack(self, **changes: Any) -> httpx.Response:
        answer = await self.admin.put("/hagane/v1/racks/rack1", json=RACK | changes)
        assert answer.status_code == 200, answer.text
        return answer

    rack_name = "rack1"

    async def rack(self) -> dict[str, Any]:
        return dict((await self.admin.get(f"/hagane/v1/racks/{self.rack_name}")).json()["rack"])

    async def all_up(self) -> bool:
        rack = await self.rack()
        return all(part["state"] == "up" for part in (*rack["switches"], *rack["gateways"]))

    async def network(self, name: str, cidr: str, http: httpx.AsyncClient | None = None, **more: Any) -> str:
        http = http or self.admin
        answer = await http.post("/network/v2.0/networks", json={"network": {"name": name, **more}})
        assert answer.status_code == 201, answer.text
        key: str = answer.json()["network"]["id"]
        subnet = {"network_id": key, "cidr": cidr, "ip_version": 4}
        answer = await http.post("/network/v2.0/subnets", json={"subnet": subnet})
        assert answer.status_code == 201, answer.text
        return key

    async def port(self, network_id: str, http: httpx.AsyncClient | None = None, **more: Any) -> dict[str, Any]:
        port = {"port": {"network_id": network_id, **more}}
        answer = await (http or self.admin).post("/network/v2.0/ports", json=port)
        assert answer.status_code == 201, answer.text
        return dict(answer.json()["port"])

    async def node(self, *links: tuple[str, str] | None, group: bool = False, **info: Any) -> Row:
        """A Node with a Nic on each (switch, port); None: a Nic without a Link."""
        self.count += 1
        body = {"name": f"bm{self.count}", "driver": "fake-hardware", "network_interface": "neutron",
                "driver_info": {"provisioning_network": self.network_id, "cleaning_network": self.network_id} | info}  # fmt: skip
        answer = await self.admin.post("/baremetal/v1/nodes", json=body)
        assert answer.status_code == 201, answer.text
        key, group_id = answer.json()["uuid"], None
        if group:
            made = {"node_uuid": key, "address": f"52:54:03:00:00:{self.count:02x}", "mode": "802.3ad"}
            answer = await self.admin.post("/baremetal/v1/portgroups", json=made)
            group_id = answer.json()["uuid"]
        chassis = {switch["name"]: switch["chassis_id"] for switch in RACK["switches"]}
        for number, link in enumerate(links):
            nic: dict[str, Any] = {"node_uuid": key, "address": f"52:54:02:00:{self.count:02x}:{number:02x}"}
            nic |= {"pxe_enabled": number == 0, "portgroup_uuid": group_id}
            if link is not None:
                nic["local_link_connection"] = {"switch_id": chassis[link[0]], "port_id": link[1]}
            answer = await self.admin.post("/baremetal/v1/ports", json=nic)
            assert answer.status_code == 201, answer.text
        return await self.row(key)

    async def row(self, node_id: str) -> Row:
        row = await NODE.get(self.db, id=node_id)
        assert row is not None
        return row

    async def plug(self, node: Row, role: str, **more: Any) -> list[Row]:
        return await self.db.write(lambda tx: plug.plug(tx, self.cloud, node, role, **more))

    async def unplug(self, node: Row) -> None:
        await self.db.write(lambda tx: plug.unplug(tx, self.cloud, node))

    async def give(self, node: Row, *port_ids: str) -> None:
        """Make Ports the VIFs of a Node, each of the Nic (or group) that fits."""
        for port_id in port_ids:
            answer = await self.admin.post(f"/baremetal/v1/nodes/{node['id']}/vifs", json={"id": port_id})
            assert answer.status_code == 204, answer.text

    async def pending(self, node: Row) -> str:
        return await plug.pending(self.db, node)

    async def plugged(self, node: Row, role: str, **more: Any) -> list[Row]:
        """Plug, and wait until it is really so."""
        ports = await self.plug(node, role, **more)
        await self.so(node)
        return await PORT.select(self.db, {"id": [port["id"] for port in ports]})

    async def so(self, node: Row) -> None:
        async def nothing() -> bool:
            return not await self.pending(node)

        await self.until(nothing)

    async def until(self, condition: Callable[[], Awaitable[bool]], seconds: float = 20) -> None:
        async with asyncio.timeout(seconds):
            while not await condition():
                await asyncio.sleep(0.005)

    async def in_tx(self, work: Callable[[Tx], Awaitable[T]]) -> T:
        return await self.db.write(work)

    async def leaks(self) -> dict[str, Any]:
        """What should not be there when there is no Node."""
        found: dict[str, Any] = {}
        for what in ("allocation WHERE kind = 'segment' AND pool = 'vlan:rack1'", "switch_port", "nic",
                     "port WHERE device_owner LIKE 'baremetal:%'"):  # fmt: skip
            rows = await self.db.fetch(f"SELECT * FROM {what}")
            found |= {what: rows} if rows else {}
        patches = {name: there for name, gateway in self.gateways.items() if (there := gateway.patches())}
        return found | ({"patches": patches} if patches else {})


@asynccontextmanager
async def rack_world(folder: Path, url: str = "", ovn: SimOvn | None = None) -> AsyncIterator[RackWorld]:
    switches = {name: SimSwitch(SwitchAccess("", 0)) for name in ("tor1", "tor2")}
    gateways = {name: SimGateway(GatewayAccess(name, f"sim:{name}")) for name in ("gw1", "gw2")}
    async with beside(folder, switches, gateways, url, ovn) as made:
        await made.furnish()
        yield made


@asynccontextmanager
async def beside(
    folder: Path,
    switches: dict[str, SimSwitch],
    gateways: dict[str, SimGateway],
    url: str = "",
    ovn: SimOvn | None = None,
) -> AsyncIterator[RackWorld]:
    """A process on these devices, with nothing in it but what the store has."""
    volumes: dict[str, VolumeDriver] = {"sim": SimVolumes(folder / "volumes.json")}
    exports = SimExports({"sim": Home(frozenset())})
    devices = Devices(switches=dict(switches), gateways=dict(gateways), network=ovn, volumes=volumes, exports=exports)
    hagane = Hagane(Config(state=folder, sim=True, database=url), devices, authenticate)
    await hagane.start()
    made = RackWorld(hagane, switches, gateways)
    try:
        yield made
    finally:
        await made.admin.aclose()
        await made.member.aclose()
        await hagane.stop()
