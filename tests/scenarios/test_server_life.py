"""The life of Servers on simulated Hosts, from order to end, and what they and their Hosts do by themselves."""

import asyncio
from pathlib import Path

import pytest

from hagane.drivers.hypervisor.base import Power
from hagane.drivers.hypervisor.sim_knobs import Delays
from hagane.errors import DeviceFailed
from hagane.reconcile import server, server_telling
from hagane.reconcile.ovn.part import NetworkPart
from hagane.reconcile.server_history import HistoryReconciler
from tests.scenarios.server_world import V21, world


async def test_create_and_delete(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        made = await w.create()
        server = await w.settled(made["id"])
        assert server is not None
        assert server["status"] == "ACTIVE", server
        assert server["OS-EXT-STS:power_state"] == 1
        assert server["OS-SRV-USG:launched_at"]
        assert [a["OS-EXT-IPS:type"] for a in server["addresses"]["net"]] == ["fixed"]
        assert (await w.member.delete(f"{V21}/servers/{made['id']}")).status_code == 204
        assert await w.settled(made["id"]) is None
        assert await w.leaks() == {}


async def test_no_host_has_room(tmp_path: Path) -> None:
    """The Server says so; the reason of each Host is in the details, which administrators see."""
    async with world(tmp_path, hosts=("a", "b"), memory_mb=600, vcpus=2) as w:
        first = [await w.settled((await w.create())["id"]) for _ in range(2)]
        assert {server["OS-EXT-SRV-ATTR:host"] for server in first if server} == {"a", "b"}
        third = await w.settled((await w.create())["id"])
        assert third is not None
        assert third["status"] == "ERROR"
        assert third["fault"]["message"] == "No valid host was found. There are not enough hosts available."
        assert "a: 512 MB of memory are wanted and 88 are free" in third["fault"]["details"]
        for server in [*first, third]:
            assert server is not None
            await w.member.delete(f"{V21}/servers/{server['id']}")
            await w.settled(server["id"])
        assert await w.leaks() == {}


async def test_a_failing_host_is_left(tmp_path: Path) -> None:
    """A build that a Host refuses goes to another, three in all; then it is an error with all causes."""
    async with world(tmp_path, hosts=("a", "b", "c", "d")) as w:
        for host in w.hosts.values():
            host.faults.fail("Start", DeviceFailed("no CPU like that"), times=None)
        server = await w.settled((await w.create())["id"])
        assert server is not None
        assert server["status"] == "ERROR"
        assert server["fault"]["message"].startswith("Exceeded maximum number of retries.")
        assert server["fault"]["details"].count("no CPU like that") == 3
        actions = await w.admin.get(f"{V21}/servers/{server['id']}/os-instance-actions")
        action = actions.json()["instanceActions"][0]
        shown = await w.admin.get(f"{V21}/servers/{server['id']}/os-instance-actions/{action['request_id']}")
        steps = {event["event"]: event["result"] for event in shown.json()["instanceAction"]["events"]}
        assert [step for step in steps if step.startswith("schedule")] == ["schedule-3", "schedule-2", "schedule"]
        await w.member.delete(f"{V21}/servers/{server['id']}")
        assert await w.settled(server["id"]) is None
        await w.pass_over()
        assert await w.leaks() == {}


async def test_a_guest_shuts_down_by_itself(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        server_id = (await w.create())["id"]
        shown = await w.settled(server_id)
        assert shown is not None
        host = w.hosts[shown["OS-EXT-SRV-ATTR:host"]]
        host.happen(server_id, Power.OFF, "shut down by the guest")

        async def off() -> bool:
            return (await w.row(server_id))["vm_state"] == "stopped"

        await w.until(off, 3)
        assert (await w.act(server_id, **{"os-start": None})).status_code == 202
        shown = await w.settled(server_id)
        assert shown is not None
        assert shown["status"] == "ACTIVE"


async def test_a_machine_that_somebody_removed(tmp_path: Path) -> None:
    """An error with the remedy; a hard reboot brings it back from its disk."""
    async with world(tmp_path) as w:
        server_id = (await w.create())["id"]
        shown = await w.settled(server_id)
        assert shown is not None
        w.hosts[shown["OS-EXT-SRV-ATTR:host"]].lose(server_id)

        async def gone() -> bool:
            return (await w.row(server_id))["vm_state"] == "error"

        await w.until(gone, 3)
        shown = await w.show(server_id)
        assert shown is not None
        assert "Somebody removed it" in shown["fault"]["details"]
        assert (await w.act(server_id, reboot={"type": "HARD"})).status_code == 202
        shown = await w.settled(server_id)
        assert shown is not None
        assert shown["status"] == "ACTIVE"


async def test_a_host_dies_and_comes_back(tmp_path: Path) -> None:
    """Its state is said, its Servers' power is unknown, new Servers go elsewhere, and deletes do not wait for it."""
    async with world(tmp_path, hosts=("a", "b")) as w:
        ids = [(await w.create(availability_zone="nova:a"))["id"] for _ in range(0)]
        made = await w.admin.post(f"{V21}/servers", json={"server": {
            "name": "pinned", "imageRef": w.image_id, "flavorRef": "small", "networks": "none",
            "availability_zone": "nova:a"}})  # fmt: skip
        ids.append(made.json()["server"]["id"])
        made = await w.admin.post(f"{V21}/servers", json={"server": {
            "name": "doomed", "imageRef": w.image_id, "flavorRef": "small", "networks": "none",
            "availability_zone": "nova:a"}})  # fmt: skip
        ids.append(made.json()["server"]["id"])
        for server_id in ids:
            shown = await w.settled(server_id)
            assert shown is not None
            assert shown["OS-EXT-SRV-ATTR:host"] == "a"
        w.hosts["a"].die()

        async def down() -> bool:
            services = (await w.admin.get(f"{V21}/os-services")).json()["services"]
            return [s["state"] for s in services if s["host"] == "a"] == ["down"]

        await w.until(down, 5)
        shown = await w.show(ids[0])
        assert shown is not None
        assert (shown["host_status"], shown["OS-EXT-STS:power_state"], shown["status"]) == ("DOWN", 0, "ACTIVE")
        elsewhere = await w.settled((await w.create())["id"])
        assert elsewhere is not None
        assert elsewhere["OS-EXT-SRV-ATTR:host"] == "b"
        await w.admin.delete(f"{V21}/servers/{ids[1]}")
        assert await w.settled(ids[1]) is None
        w.hosts["a"].revive(rebooted=True)

        async def back() -> bool:
            row = await w.row(ids[0])
            return row["vm_state"] == "stopped" and row["power_state"] == 4

        await w.until(back, 5)
        await w.pass_over()
        assert ids[1] not in await w.hosts["a"].read()


async def test_a_disabled_host_gets_no_servers(tmp_path: Path) -> None:
    async with world(tmp_path, hosts=("a", "b")) as w:
        services = (await w.admin.get(f"{V21}/os-services")).json()["services"]
        service = next(s["id"] for s in services if s["host"] == "a")
        body = {"status": "disabled", "disabled_reason": "new memory"}
        assert (await w.admin.put(f"{V21}/os-services/{service}", json=body)).status_code == 200
        placed = [await w.settled((await w.create())["id"]) for _ in range(3)]
        assert {shown["OS-EXT-SRV-ATTR:host"] for shown in placed if shown} == {"b"}


async def test_deleted_at_any_moment(tmp_path: Path) -> None:
    """A Server that is deleted while it is being made goes, whatever it was doing."""
    delays = Delays(image=0.02, disk=0.02, define=0.01, start=0.03, remove=0.01)
    async with world(tmp_path, delays=delays) as w:
        ids = []
        for step in range(12):
            server_id = (await w.create())["id"]
            await asyncio.sleep(step * 0.01)
            assert (await w.member.delete(f"{V21}/servers/{server_id}")).status_code == 204
            ids.append(server_id)
        for server_id in ids:
            assert await w.settled(server_id) is None
        await w.pass_over()
        assert await w.leaks() == {}


async def test_many_at_once_fill_the_hosts_exactly(tmp_path: Path) -> None:
    """Claims never exceed what there is, and sums agree with rows."""
    async with world(tmp_path, hosts=("a", "b"), memory_mb=5 * 512, vcpus=64) as w:
        quota = {"quota_set": {"instances": 100, "cores": 100}}
        await w.admin.put(f"{V21}/os-quota-sets/{'p' * 32}", json=quota)
        answer = await w.create(max_count=13, min_count=13)
        assert answer["id"]
        rows = (await w.member.get(f"{V21}/servers")).json()["servers"]
        assert len(rows) == 13
        ended = [await w.settled(row["id"]) for row in rows]
        states = [shown["status"] for shown in ended if shown]
        assert (states.count("ACTIVE"), states.count("ERROR")) == (10, 3)
        sums = await w.db.fetch(
            "SELECT i.provider_id, i.resource_class, i.used, COALESCE((SELECT sum(a.used) FROM placement_allocation a "
            "WHERE a.provider_id = i.provider_id AND a.resource_class = i.resource_class), 0) AS claimed "
            "FROM placement_inventory i"
        )
        assert all(row["used"] == row["claimed"] for row in sums), sums


async def test_a_delete_does_not_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an upload that takes a minute, of a guest that does not shut down, of a snapshot: nothing is left half-way."""
    monkeypatch.setattr(server_telling, "LOOK_SECONDS", 0.05)
    async with world(tmp_path, delays=Delays(image=0, disk=0, start=0, remove=0, shutdown=60, snapshot=60)) as w:
        asleep = (await w.create())["id"]
        await w.settled(asleep)
        assert (await w.act(asleep, **{"os-stop": None})).status_code == 202
        copied = (await w.create())["id"]
        await w.settled(copied)
        assert (await w.act(copied, createImage={"name": "copy"})).status_code == 202
        for host in w.hosts.values():
            host.delays = Delays(image=60)
            await host.sweep_images(set())
        building = (await w.create())["id"]
        await asyncio.sleep(0.2)
        for server_id in (asleep, copied, building):
            assert (await w.member.delete(f"{V21}/servers/{server_id}")).status_code == 204
        for server_id in (asleep, copied, building):
            assert await w.settled(server_id, 5) is None
        images = (await w.member.get("/image/v2/images")).json()["images"]
        assert [image["name"] for image in images] == ["small"]
        await w.pass_over()
        assert await w.leaks() == {}


async def test_events_outlive_their_server_for_a_week(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        server_id = (await w.create())["id"]
        await w.settled(server_id)
        await w.member.delete(f"{V21}/servers/{server_id}")
        assert await w.settled(server_id) is None
        answer = await w.member.get(f"{V21}/servers/{server_id}/os-instance-actions")
        assert [one["action"] for one in answer.json()["instanceActions"]] == ["delete", "create"]
        history = HistoryReconciler(w.cloud)
        await history.reconcile([])
        assert await w.db.fetch("SELECT * FROM event WHERE key = :id", {"id": server_id})
        await w.db.write(lambda tx: tx.execute("UPDATE event SET started_at = '2001-01-01T00:00:00.000000'"))
        await history.reconcile([])
        assert await w.db.fetch("SELECT * FROM event WHERE key = :id", {"id": server_id}) == []


async def test_a_network_that_does_not_plug(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ACTIVE means plugged: a port that stays down is an error with the cause, and claims nothing any more."""
    monkeypatch.setattr(server, "PLUG_SECONDS", -1)
    monkeypatch.setattr(NetworkPart, "_status", lambda self, row: "DOWN")
    async with world(tmp_path) as w:
        shown = await w.settled((await w.create())["id"])
        assert shown is not None
        assert shown["status"] == "ERROR"
        assert shown["fault"]["message"].startswith("The network has not yet plugged 1 port(s): ")
        assert await w.db.fetch("SELECT * FROM placement_allocation") == []
        assert not any([await host.read() for host in w.hosts.values()])
        assert (await w.member.delete(f"{V21}/servers/{shown['id']}")).status_code == 204
        assert await w.settled(shown["id"]) is None
        assert await w.leaks() == {}


async def test_an_image_that_is_deleted_meanwhile(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        for host in w.hosts.values():
            host.die()
        made = await w.create()
        await w.admin.delete(f"/image/v2/images/{w.image_id}")
        for host in w.hosts.values():
            host.revive()
        shown = await w.settled(made["id"])
        assert shown is not None
        assert (shown["status"], shown["fault"]["message"]) == ("ERROR", f"Image {w.image_id} could not be found.")


async def test_a_port_that_an_administrator_deletes(tmp_path: Path) -> None:
    """The machine loses the NIC, the Server forgets it and goes on."""
    async with world(tmp_path) as w:
        server_id = (await w.create())["id"]
        await w.settled(server_id)
        row = await w.row(server_id)
        answer = await w.admin.delete(f"/network/v2.0/ports/{row['nics'][0]['port_id']}")
        assert answer.status_code == 204, answer.text

        async def unplugged() -> bool:
            seen = (await w.hosts[row["host"]].read())[server_id]
            return not seen.nics and (await w.row(server_id))["nics"] == []

        await w.until(unplugged, 3)
        shown = await w.settled(server_id)
        assert shown is not None
        assert (shown["status"], shown["addresses"]) == ("ACTIVE", {})
