"""Two processes on one PostgreSQL and the same Hosts: they share the work, and sell nothing twice."""

import asyncio
from pathlib import Path

from hagane.drivers.hypervisor.sim import SimHypervisor
from hagane.drivers.hypervisor.sim_knobs import Delays
from tests.scenarios.server_world import PROJECT, V21, World, beside


async def test_claims_of_two_processes(tmp_path: Path, postgres_url: str) -> None:
    """Thirty orders through both processes for ten places: ten run, the others say why, and sums agree with rows."""
    delays = Delays(image=0.01, disk=0.005, start=0.01)
    hosts = {name: SimHypervisor(name, delays=delays, memory_mb=5 * 512) for name in ("a", "b")}
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    async with beside(folders[0], hosts, postgres_url) as one, beside(folders[1], hosts, postgres_url) as two:
        await one.furnish()
        two.image_id, two.flavor_id, two.network_id = one.image_id, one.flavor_id, one.network_id
        quota = {"quota_set": {"instances": 100, "cores": 100}}
        assert (await one.admin.put(f"{V21}/os-quota-sets/{PROJECT}", json=quota)).status_code == 200
        worlds: list[World] = [one, two]
        made = await asyncio.gather(*(worlds[n % 2].create(networks="none") for n in range(30)))
        shown = [await one.settled(server["id"], 60) for server in made]
        states = [server["status"] for server in shown if server]
        assert (states.count("ACTIVE"), states.count("ERROR")) == (10, 20)
        sums = await one.db.fetch(
            "SELECT i.used, i.capacity, COALESCE((SELECT sum(a.used) FROM placement_allocation a WHERE a.provider_id ="
            " i.provider_id AND a.resource_class = i.resource_class), 0) AS claimed FROM placement_inventory i"
        )
        assert all(row["used"] == row["claimed"] <= row["capacity"] for row in sums), sums
        for server in made:
            assert (await two.member.delete(f"{V21}/servers/{server['id']}")).status_code == 204
        for server in made:
            assert await two.settled(server["id"], 60) is None
        assert await one.leaks() == {}


QUERIES = ("name=%5Eon.", "tags=x", "not-tags-any=y", "ip=10.1.*", "status=ACTIVE", "locked=false", "config_drive=false",
           "changes-since=2000-01-01T00:00:00Z", "sort_key=display_name&limit=5")  # fmt: skip


async def test_filters(tmp_path: Path, postgres_url: str) -> None:
    """What SQL says of filters is the same in both stores."""
    hosts = {"a": SimHypervisor("a", delays=Delays.none())}
    async with beside(tmp_path, hosts, postgres_url) as w:
        await w.furnish()
        server = await w.create(tags=["x"])
        await w.settled(server["id"])
        for query in QUERIES:
            answer = await w.member.get(f"{V21}/servers/detail?{query}")
            assert [one["id"] for one in answer.json()["servers"]] == [server["id"]], (query, answer.text)
