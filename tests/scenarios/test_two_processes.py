"""Two Haganes on one PostgreSQL and the same devices: they share the work, and one takes over from the other."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from hagane.app import Hagane
from hagane.config import Config
from hagane.drivers.hypervisor.sim import SimHypervisor
from hagane.drivers.hypervisor.sim_knobs import Delays
from hagane.identity.token import authenticate
from hagane.operate.seed import Local, seed
from hagane.reconcile.devices import Devices
from hagane.reconcile.ovn.engine import ChassisSeen, SimOvn
from hagane.serve import bootstrap

PASSWORD = "correct-horse"
LEASE = 1.0


@pytest.fixture
def config(tmp_path: Path, postgres_url: str) -> Config:
    return Config(state=tmp_path, database=postgres_url, sim=True, bcrypt_cost=4,
                  workers_lease=LEASE)  # fmt: skip


def shared(hosts: int, vcpus: int) -> Devices:
    """Simulated devices in memory, as both processes see them."""
    names = [f"sim{n}" for n in range(1, hosts + 1)]
    machines = {name: SimHypervisor(name, vcpus=vcpus, delays=Delays.none()) for name in names}
    network = SimOvn([ChassisSeen(name, name, frozenset({"ext"})) for name in names])
    return Devices(hosts=dict(machines), network=network)


async def started(config: Config, devices: Devices) -> tuple[Hagane, Local]:
    hagane = Hagane(config, devices, authenticate)
    await hagane.start()
    await bootstrap(hagane.cloud, PASSWORD, "http://localhost")
    await seed(hagane.app, hagane.cloud.db, config, PASSWORD)
    local = Local(hagane.app)
    await local.login(PASSWORD)
    project = (await local.call("GET", "/identity/v3/projects?name=admin"))["projects"][0]["id"]
    quota = {"quota_set": {"instances": -1, "cores": -1, "ram": -1}}
    await local.call("PUT", f"/compute/v2.1/os-quota-sets/{project}", quota)
    return hagane, local


@asynccontextmanager
async def both(config: Config, devices: Devices) -> AsyncIterator[tuple[Hagane, Local, Hagane, Local]]:
    one, first = await started(config, devices)
    two, second = await started(config, devices)
    try:
        yield one, first, two, second
    finally:
        await two.stop()
        await one.stop()


async def until(look: Callable[[], Awaitable[bool]], seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not await look():
            await asyncio.sleep(0.05)


async def order(local: Local, count: int) -> Any:
    """A network and Servers on it."""
    network = (await local.call("POST", "/network/v2.0/networks", {"network": {"name": "n"}}))["network"]["id"]
    subnet = {"network_id": network, "ip_version": 4, "cidr": "10.0.0.0/16"}
    await local.call("POST", "/network/v2.0/subnets", {"subnet": subnet})
    image = await local.call(
        "POST", "/image/v2/images", {"name": "i", "disk_format": "raw", "container_format": "bare"}
    )
    await local.call("PUT", f"/image/v2/images/{image['id']}/file", b"x" * 600)
    flavors = (await local.call("GET", "/compute/v2.1/flavors"))["flavors"]
    flavor = next(entry["id"] for entry in flavors if entry["name"] == "m1.nano")
    server = {
        "name": "s",
        "imageRef": image["id"],
        "flavorRef": flavor,
        "networks": [{"uuid": network}],
        "min_count": count,
    }
    await local.call("POST", "/compute/v2.1/servers", {"server": server})


async def statuses(local: Local) -> list[str]:
    return [server["status"] for server in (await local.call("GET", "/compute/v2.1/servers/detail"))["servers"]]


async def test_both_work_and_one_takes_over_what_the_other_left(config: Config) -> None:
    devices = shared(3, vcpus=64)
    async with both(config, devices) as (one, first, two, second):
        await order(first, 20)
        for task in (*one.engine._tasks, *one.engine._running):  # a kill: nothing is finished, nothing is given back
            task.cancel()
        await until(lambda: all_active(second))
        hosts = {row["host"] for row in await two.cloud.db.fetch("SELECT host FROM server")}
        assert len(hosts) > 1
        claims = await two.cloud.db.fetch_tuples("SELECT count(*) FROM placement_allocation")
        assert claims[0][0] == 20 * 3
        for server in (await second.call("GET", "/compute/v2.1/servers"))["servers"]:
            await second.call("DELETE", f"/compute/v2.1/servers/{server['id']}")
        await until(lambda: none_left(second))
        await two.engine.settled()
        assert (await two.cloud.db.fetch_tuples("SELECT count(*) FROM placement_allocation"))[0][0] == 0


async def all_active(local: Local) -> bool:
    seen = await statuses(local)
    assert "ERROR" not in seen
    return len(seen) == 20 and set(seen) == {"ACTIVE"}


async def none_left(local: Local) -> bool:
    return await statuses(local) == []


async def test_two_processes_never_sell_the_same_cpu_twice(config: Config) -> None:
    """Room for 4 Servers on one Host, 20 ordered from both sides at once."""
    config.cpu_ratio = 4.0
    devices = shared(1, vcpus=1)
    async with both(config, devices) as (one, first, _, second):
        await asyncio.gather(order(first, 10), order(second, 10))

        async def decided() -> bool:
            seen = await statuses(first)
            return len(seen) == 20 and "BUILD" not in seen

        await until(decided)
        assert sorted(await statuses(first)).count("ACTIVE") == 4
        used = await one.cloud.db.fetch_tuples(
            "SELECT sum(used) FROM placement_allocation WHERE resource_class = 'VCPU'"
        )
        assert used[0][0] == 4
