"""The life of Servers on simulated Hosts, from order to end."""

from pathlib import Path

from tests.scenarios.server_world import world


async def test_create_and_delete(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        made = await w.create()
        server = await w.settled(made["id"])
        assert server is not None
        assert server["status"] == "ACTIVE", server
        assert server["OS-EXT-STS:power_state"] == 1
        assert server["OS-SRV-USG:launched_at"]
        assert await w.member.delete(f"/compute/v2.1/servers/{made['id']}")
        assert await w.settled(made["id"]) is None
        assert await w.leaks() == {}
