"""A Host dies for good: its Servers come back on another, from their image, with their addresses."""

from pathlib import Path

from hagane.drivers.hypervisor.base import Power
from tests.scenarios.server_world import V21, World, world


async def dead(w: World, name: str) -> None:
    w.hosts[name].die()

    async def down() -> bool:
        rows = await w.db.fetch_tuples("SELECT state FROM host WHERE name = :n", {"n": name})
        return bool(rows[0][0] == "down")

    await w.until(down, 5)


async def test_evacuate(tmp_path: Path) -> None:
    async with world(tmp_path, hosts=("a", "b")) as w:
        server_id = (await w.create())["id"]
        before = await w.settled(server_id)
        assert before is not None
        source = before["OS-EXT-SRV-ATTR:host"]
        other = "b" if source == "a" else "a"
        action = f"{V21}/servers/{server_id}/action"
        answer = await w.admin.post(action, json={"evacuate": {}})
        assert (answer.status_code, answer.json()["badRequest"]["message"]) == (
            400, f"Compute service of {source} is still in use.")  # fmt: skip
        await dead(w, source)
        assert (await w.act(server_id, evacuate={})).status_code == 403
        headers = {"OpenStack-API-Version": "compute 2.90"}
        answer = await w.admin.post(action, json={"evacuate": {}}, headers=headers)
        assert (answer.status_code, answer.content) == (200, b"")
        shown = await w.settled(server_id)
        assert shown and (shown["status"], shown["OS-EXT-SRV-ATTR:host"]) == ("ACTIVE", other), shown
        assert shown["addresses"] == before["addresses"]
        moves = (await w.admin.get(f"{V21}/os-migrations")).json()["migrations"]
        assert [(one["migration_type"], one["status"], one["dest_compute"]) for one in moves] == [
            ("evacuation", "done", other)]  # fmt: skip
        w.hosts[source].revive()

        async def swept() -> bool:
            await w.pass_over()
            return server_id not in await w.hosts[source].read()

        await w.until(swept, 5)
        assert (await w.hosts[other].read())[server_id].power is Power.ON
        assert (await w.member.delete(f"{V21}/servers/{server_id}")).status_code == 204
        assert await w.settled(server_id) is None
        await w.pass_over()
        assert await w.leaks() == {}


async def test_evacuated_and_stopped(tmp_path: Path) -> None:
    """From 2.95 on; and where there is no other Host, the Server says so."""
    async with world(tmp_path, hosts=("a", "b")) as w:
        server_id = (await w.create())["id"]
        shown = await w.settled(server_id)
        assert shown is not None
        action = f"{V21}/servers/{server_id}/action"
        await dead(w, shown["OS-EXT-SRV-ATTR:host"])
        assert (await w.admin.post(action, json={"evacuate": {}})).status_code == 200
        shown = await w.settled(server_id)
        assert shown and shown["status"] == "SHUTOFF", shown
        await dead(w, shown["OS-EXT-SRV-ATTR:host"])
        assert (await w.admin.post(action, json={"evacuate": {}})).status_code == 200
        shown = await w.settled(server_id)
        assert shown and shown["status"] == "ERROR", shown
        assert shown["fault"]["message"] == "No valid host was found. There are not enough hosts available."


async def test_its_owner_is_not_told_where_it_is(tmp_path: Path) -> None:
    async with world(tmp_path, hosts=("rack7-c12",)) as w:
        server_id = (await w.create())["id"]
        assert await w.settled(server_id) is not None
        port = (await w.row(server_id))["nics"][0]["port_id"]
        await dead(w, "rack7-c12")
        assert (await w.act(server_id, **{"os-stop": None})).status_code == 202

        async def waits() -> bool:
            told = await w.admin.get(f"/hagane/v1/explain/server/{server_id}")
            return "Host rack7-c12 is down" in told.text and "It is placed on Host rack7-c12." in told.text

        await w.until(waits, 5)
        for kind, key in (("server", server_id), ("port", port)):
            told = await w.member.get(f"/hagane/v1/explain/{kind}/{key}")
            assert told.status_code == 200 and "rack7" not in told.text, told.text
        mine = (await w.member.get(f"/hagane/v1/explain/server/{server_id}")).json()
        assert "Its Host is down." in [wait["reason"] for wait in mine["waits"]], mine
