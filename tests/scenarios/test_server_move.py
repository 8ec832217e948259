"""Resizes and migrations: where the machine, its claims and its disks are before, meanwhile and afterwards."""

from pathlib import Path
from typing import Any

import pytest

from hagane.drivers.hypervisor.base import Power
from hagane.errors import DeviceFailed, Unavailable
from hagane.reconcile import server
from hagane.state import work
from tests.scenarios.server_world import PROJECT, V21, World, world


@pytest.fixture
def big() -> dict[str, Any]:
    return {"name": "big", "ram": 1024, "vcpus": 2, "disk": 3, "OS-FLV-EXT-DATA:ephemeral": 1, "id": "big"}


async def begin(w: World, big: dict[str, Any]) -> str:
    answer = await w.admin.post(f"{V21}/flavors", json={"flavor": big})
    assert answer.status_code == 200, answer.text
    server_id = str((await w.create())["id"])
    shown = await w.settled(server_id)
    assert shown and shown["status"] == "ACTIVE"
    return server_id


async def claims(w: World) -> list[tuple[str, int]]:
    """(Host, CPUs) of every claim."""
    rows = await w.db.fetch_tuples(
        "SELECT host.name, used FROM placement_allocation a JOIN host ON host.id = a.provider_id "
        "WHERE resource_class = 'VCPU' ORDER BY host.name, used"
    )
    return [(row[0], row[1]) for row in rows]


async def counted(w: World) -> tuple[int, int]:
    rows = await w.db.fetch_tuples("SELECT cores, ram FROM compute_usage WHERE project_id = :p", {"p": PROJECT})
    return rows[0][0], rows[0][1]


async def end(w: World, server_id: str) -> None:
    assert (await w.member.delete(f"{V21}/servers/{server_id}")).status_code == 204
    assert await w.settled(server_id) is None
    await w.pass_over()
    assert await w.leaks() == {}
    moves = w.cloud.config.state / "moves"
    assert not moves.exists() or not list(moves.iterdir())


async def statuses(w: World) -> list[tuple[str, str]]:
    rows = (await w.admin.get(f"{V21}/os-migrations")).json()["migrations"]
    return [(row["migration_type"], row["status"]) for row in rows]


async def test_resize_on_the_same_host(tmp_path: Path, big: dict[str, Any]) -> None:
    async with world(tmp_path, hosts=("a",)) as w:
        server_id = await begin(w, big)
        assert (await w.act(server_id, resize={"flavorRef": "big"})).status_code == 202
        shown = await w.settled(server_id)
        assert shown and shown["status"] == "VERIFY_RESIZE", shown
        assert (shown["flavor"]["original_name"], shown["flavor"]["disk"]) == ("big", 3)
        assert await claims(w) == [("a", 1), ("a", 2)]
        assert await counted(w) == (2, 1024)
        seen = (await w.hosts["a"].read())[server_id]
        assert (seen.power, seen.vcpus, len(seen.disks)) == (Power.ON, 2, 2)
        assert (await w.act(server_id, confirmResize=None)).status_code == 204
        shown = await w.settled(server_id)
        assert shown and shown["status"] == "ACTIVE"
        assert (await claims(w), await counted(w)) == ([("a", 2)], (2, 1024))
        assert await statuses(w) == [("resize", "confirmed")]
        await end(w, server_id)


async def test_migrate_and_confirm(tmp_path: Path, big: dict[str, Any]) -> None:
    """The disk goes along; until it is confirmed, the machine of before is on its Host, off, and nobody sweeps it."""
    async with world(tmp_path, hosts=("a", "b")) as w:
        server_id = await begin(w, big)
        source = (await w.row(server_id))["host"]
        dest = "b" if source == "a" else "a"
        answer = await w.admin.post(f"{V21}/servers/{server_id}/action", json={"migrate": {"host": dest}})
        assert answer.status_code == 202, answer.text
        shown = await w.settled(server_id)
        assert shown and (shown["status"], shown["OS-EXT-SRV-ATTR:host"]) == ("VERIFY_RESIZE", dest), shown
        await w.pass_over()
        await w.pass_over()
        assert (await w.hosts[source].read())[server_id].power is Power.OFF
        assert (await w.hosts[dest].read())[server_id].power is Power.ON
        assert await claims(w) == [("a", 1), ("b", 1)]
        ports = await w.db.fetch("SELECT binding_host_id FROM port WHERE device_id = :id", {"id": server_id})
        assert [port["binding_host_id"] for port in ports] == [dest]
        assert (await w.act(server_id, confirmResize=None)).status_code == 204
        shown = await w.settled(server_id)
        assert shown and shown["status"] == "ACTIVE"
        assert await w.hosts[source].read() == {}
        assert await claims(w) == [(dest, 1)]
        assert (await w.act(server_id, reboot={"type": "HARD"})).status_code == 202
        shown = await w.settled(server_id)
        assert shown and shown["status"] == "ACTIVE"
        await end(w, server_id)


@pytest.mark.parametrize("stopped", [False, True])
async def test_resize_to_another_host_and_back(tmp_path: Path, big: dict[str, Any], stopped: bool) -> None:
    async with world(tmp_path, hosts=("a", "b"), memory_mb=1200) as w:
        server_id = await begin(w, big)
        source = (await w.row(server_id))["host"]
        if stopped:
            await w.act(server_id, **{"os-stop": None})
            await w.settled(server_id)
        assert (await w.act(server_id, resize={"flavorRef": "big"})).status_code == 202
        shown = await w.settled(server_id)
        assert shown and shown["status"] == "VERIFY_RESIZE", shown
        assert shown["OS-EXT-SRV-ATTR:host"] != source
        seen = (await w.hosts[shown["OS-EXT-SRV-ATTR:host"]].read())[server_id]
        assert seen.power is (Power.OFF if stopped else Power.ON)
        assert (await w.act(server_id, revertResize=None)).status_code == 202
        shown = await w.settled(server_id)
        assert shown and shown["status"] == ("SHUTOFF" if stopped else "ACTIVE"), shown
        assert (shown["OS-EXT-SRV-ATTR:host"], shown["flavor"]["original_name"]) == (source, "small")
        assert (await claims(w), await counted(w)) == ([(source, 1)], (1, 512))
        assert [len(await host.read()) for host in w.hosts.values()].count(1) == 1
        assert await statuses(w) == [("resize", "reverted")]
        await end(w, server_id)


async def test_no_host_has_room(tmp_path: Path, big: dict[str, Any]) -> None:
    """The Server runs on as it was, never stopped."""
    async with world(tmp_path, hosts=("a",), memory_mb=1200) as w:
        server_id = await begin(w, big)
        assert (await w.act(server_id, resize={"flavorRef": "big"})).status_code == 202
        shown = await w.settled(server_id)
        assert shown and (shown["status"], shown["flavor"]["original_name"]) == ("ACTIVE", "small")
        row = await w.row(server_id)
        assert row["fault"]["message"] == "No valid host was found. There are not enough hosts available."
        assert (await claims(w), await counted(w), await statuses(w)) == ([("a", 1)], (1, 512), [("resize", "error")])
        await end(w, server_id)


async def test_a_host_that_refuses_the_larger_machine(tmp_path: Path, big: dict[str, Any]) -> None:
    async with world(tmp_path, hosts=("a", "b"), memory_mb=1200) as w:
        server_id = await begin(w, big)
        source = (await w.row(server_id))["host"]
        w.hosts["b" if source == "a" else "a"].faults.fail("Start", DeviceFailed("no CPU like that"), times=None)
        assert (await w.act(server_id, resize={"flavorRef": "big"})).status_code == 202
        shown = await w.settled(server_id)
        assert shown and (shown["status"], shown["OS-EXT-SRV-ATTR:host"]) == ("ACTIVE", source)
        assert (await w.hosts[source].read())[server_id].power is Power.ON
        assert (await claims(w), await counted(w)) == ([(source, 1)], (1, 512))
        await end(w, server_id)


async def test_the_new_host_dies(tmp_path: Path, big: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is started on the old Host while the new one may run it; when that answers, all goes on or back."""
    monkeypatch.setattr(server, "ACTION_SECONDS", -1)
    async with world(tmp_path, hosts=("a", "b"), memory_mb=1200) as w:
        server_id = await begin(w, big)
        source = (await w.row(server_id))["host"]
        dest = w.hosts["b" if source == "a" else "a"]
        dest.faults.fail("Start", Unavailable("no answer"), times=None)
        dest.faults.fail("remove", Unavailable("no answer"), times=1)
        assert (await w.act(server_id, resize={"flavorRef": "big"})).status_code == 202

        async def refused() -> bool:
            return dest.faults.calls["remove"] >= 1

        await w.until(refused)
        assert (await w.hosts[source].read())[server_id].power is Power.OFF
        assert (await w.row(server_id))["task_state"] == "resize_finish"
        await w.db.write(lambda tx: work.wake(tx, "server", server_id))
        shown = await w.settled(server_id)
        assert shown and (shown["status"], shown["OS-EXT-SRV-ATTR:host"]) == ("ACTIVE", source)
        assert (await w.hosts[source].read())[server_id].power is Power.ON
        assert await dest.read() == {}
        dest.faults.clear()
        await end(w, server_id)


async def test_deleted_while_it_is_resized(tmp_path: Path, big: dict[str, Any]) -> None:
    async with world(tmp_path, hosts=("a", "b"), memory_mb=1200) as w:
        server_id = await begin(w, big)
        assert (await w.act(server_id, resize={"flavorRef": "big"})).status_code == 202
        await w.settled(server_id)
        await end(w, server_id)
