"""The life of Servers that are bare-metal Nodes, on simulated Nodes, and every way in which it goes wrong once."""

from pathlib import Path

from tests.scenarios.node_world import V21, steel


async def test_create_and_delete(tmp_path: Path) -> None:
    async with steel(tmp_path, 1) as w:
        made = await w.create()
        server = await w.settled(made["id"])
        assert server is not None
        assert server["status"] == "ACTIVE", server
        row = await w.row(made["id"])
        node = await w.node(row["node_id"])
        assert node["instance_id"] == made["id"]
        assert node["instance_info"]["image_source"] == w.image_id
        assert server["addresses"]["net"][0]["OS-EXT-IPS-MAC:mac_addr"].startswith("52:54:02:")
        assert (await w.member.delete(f"{V21}/servers/{made['id']}")).status_code == 204
        await w.gone(made["id"])
        await w.node_is(row["node_id"], "available")
        assert await w.metal_leaks() == {}
