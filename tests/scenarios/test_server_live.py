"""Live migrations: the machine runs all the time, and afterwards all that it has is on the other Host."""

from pathlib import Path
from typing import Any

import pytest

from hagane.drivers.hypervisor.base import Power, Seen
from hagane.drivers.hypervisor.sim_knobs import Delays
from hagane.errors import Unavailable
from hagane.reconcile import server_live
from hagane.reconcile.server_live import Place, Sight, place_of
from tests.scenarios.server_world import V21, World, beside, world
from tests.scenarios.test_server_faults import action, delete
from tests.scenarios.test_server_move import claims, statuses
from tests.scenarios.test_server_volume import attached

SLOW = Delays(**dict.fromkeys(Delays.__slots__, 0.0) | {"migrate": 60.0})


async def begin(w: World, *, paused: bool = False) -> tuple[str, str, str]:
    """A Server, where it is, and the other Host."""
    server_id = str((await w.create(config_drive=True))["id"])
    await w.settled(server_id)
    if paused:
        await action(pause=None)(w, server_id)
        await w.settled(server_id)
    source = (await w.row(server_id))["host"]
    return server_id, source, "b" if source == "a" else "a"


async def go(w: World, server_id: str, host: str | None = None) -> None:
    body = {"os-migrateLive": {"host": host, "block_migration": "auto"}}
    answer = await w.admin.post(f"{V21}/servers/{server_id}/action", json=body)
    assert answer.status_code == 202, answer.text


async def under_way(w: World, server_id: str) -> dict[str, Any]:
    """The migration, when it is running."""
    found: list[dict[str, Any]] = []

    async def runs() -> bool:
        answer = await w.admin.get(f"{V21}/servers/{server_id}/migrations")
        found[:] = answer.json()["migrations"]
        set_out = any(host.faults.calls["receive"] for host in w.hosts.values())  # the row says so a moment before
        return bool(found) and found[0]["status"] == "running" and set_out

    await w.until(runs)
    shown = await w.show(server_id)
    assert shown and (shown["status"], shown["OS-EXT-STS:task_state"]) == ("MIGRATING", "migrating")
    return found[0]


async def where(w: World, server_id: str) -> dict[str, Power]:
    seen = {name: (await host.read()).get(server_id) for name, host in w.hosts.items()}
    return {name: one.power for name, one in seen.items() if one}


async def bindings(w: World, server_id: str) -> list[tuple[str, str]]:
    """Host and profile of each port."""
    rows = await w.db.fetch_tuples(
        "SELECT binding_host_id, binding_profile FROM port WHERE device_id = :id", {"id": server_id}
    )
    return [(row[0], row[1]) for row in rows]


async def end(w: World, server_id: str) -> None:
    await delete(w, server_id)
    assert await w.settled(server_id) is None
    await w.pass_over()
    assert await w.leaks() == {}


@pytest.mark.parametrize("paused", [False, True])
async def test_it_goes_with_all_that_it_has(paused: bool, tmp_path: Path) -> None:
    async with world(tmp_path, hosts=("a", "b")) as w:
        server_id, source, dest = await begin(w, paused=paused)
        if not paused:
            await attached(w, server_id)
        before = (await w.hosts[source].read())[server_id]
        starts = sum(host.faults.calls["Start"] for host in w.hosts.values())
        await go(w, server_id, dest)
        shown = await w.settled(server_id)
        state = "PAUSED" if paused else "ACTIVE"
        assert shown and (shown["status"], shown["OS-EXT-SRV-ATTR:host"]) == (state, dest), shown
        assert await where(w, server_id) == {dest: Power.PAUSED if paused else Power.ON}
        assert (await w.hosts[dest].read())[server_id] == before
        assert sum(host.faults.calls["Start"] for host in w.hosts.values()) == starts
        assert (await claims(w), await statuses(w)) == ([(dest, 1)], [("live-migration", "completed")])
        assert await bindings(w, server_id) == [(dest, "{}")]
        hosts = await w.db.fetch("SELECT connector FROM volume_attachment")
        assert all(f'"host":"{dest}"' in one["connector"] for one in hosts) and len(hosts) == (not paused)
        await w.pass_over()
        assert await where(w, server_id) == {dest: Power.PAUSED if paused else Power.ON}
        if paused:
            await end(w, server_id)


async def test_nobody_else_has_room(tmp_path: Path) -> None:
    async with world(tmp_path, hosts=("a",)) as w:
        server_id, source, _ = await begin(w)
        await go(w, server_id)
        shown = await w.settled(server_id)
        assert shown and (shown["status"], shown["OS-EXT-SRV-ATTR:host"]) == ("ACTIVE", source)
        assert (await claims(w), await statuses(w)) == ([(source, 1)], [("live-migration", "error")])
        assert (await w.row(server_id))["fault"]["message"].startswith("No valid host was found.")
        await end(w, server_id)


async def test_cancelled(tmp_path: Path) -> None:
    async with world(tmp_path, hosts=("a", "b"), delays=SLOW) as w:
        server_id, source, dest = await begin(w)
        await go(w, server_id)
        migration = await under_way(w, server_id)
        assert (migration["source_compute"], migration["dest_compute"]) == (source, dest)
        assert await claims(w) == [("a", 1), ("b", 1)]
        assert await bindings(w, server_id) == [(source, f'{{"migrating_to":"{dest}"}}')]
        one = f"{V21}/servers/{server_id}/migrations/{migration['id']}"
        assert (await w.admin.get(one)).json()["migration"]["uuid"] == migration["uuid"]
        assert (await w.admin.delete(one)).status_code == 202
        shown = await w.settled(server_id)
        assert shown and (shown["status"], shown["OS-EXT-SRV-ATTR:host"]) == ("ACTIVE", source)
        assert (await where(w, server_id), await claims(w)) == ({source: Power.ON}, [(source, 1)])
        assert await statuses(w) == [("live-migration", "cancelled")]
        assert await bindings(w, server_id) == [(source, "{}")]
        assert [(await w.admin.request(verb, one)).status_code for verb in ("GET", "DELETE")] == [404, 409]
        await end(w, server_id)


async def test_in_a_hurry(tmp_path: Path) -> None:
    async with world(tmp_path, hosts=("a", "b"), delays=SLOW) as w:
        server_id, source, dest = await begin(w)
        await go(w, server_id)
        migration = await under_way(w, server_id)
        w.hosts[source].faults.fail("hurry", Unavailable("not now"))
        one = f"{V21}/servers/{server_id}/migrations/{migration['id']}/action"
        assert (await w.admin.post(one, json={"force_complete": None})).status_code == 202
        shown = await w.settled(server_id)
        assert shown and (shown["status"], shown["OS-EXT-SRV-ATTR:host"]) == ("ACTIVE", dest)
        assert (w.hosts[source].faults.calls["hurry"], w.hosts[source].faults.calls["migrate"]) == (2, 1)
        assert (await w.admin.post(one, json={"force_complete": None})).status_code == 400
        await end(w, server_id)


async def test_deleted_on_its_way(tmp_path: Path) -> None:
    async with world(tmp_path, hosts=("a", "b"), delays=SLOW) as w:
        server_id, _, _ = await begin(w)
        await go(w, server_id)
        await under_way(w, server_id)
        await end(w, server_id)
        assert await statuses(w) == [("live-migration", "cancelled")]


async def test_few_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others of a Host that is emptied wait, and hold up nobody who wants something else of it."""
    monkeypatch.setattr(server_live, "AT_ONCE", 1)
    monkeypatch.setattr(server_live, "AGAIN", 0.05)
    async with world(tmp_path, hosts=("a", "b"), delays=SLOW) as w:
        rows = [await w.row(one["id"]) for one in [await w.create() for _ in range(3)] if await w.settled(one["id"])]
        host = next(name for name in ("a", "b") if [row["host"] for row in rows].count(name) > 1)
        first, second = [row["id"] for row in rows if row["host"] == host][:2]
        await go(w, first)
        migration = await under_way(w, first)
        await go(w, second)

        async def waits() -> bool:
            told = await w.db.fetch("SELECT reason FROM work WHERE kind = 'server' AND key = :id", {"id": second})
            return bool(told) and "other machines are leaving" in told[0]["reason"]

        await w.until(waits)
        assert w.hosts[host].faults.calls["migrate"] == 1
        w.hosts[host].delays = Delays.none()
        one = f"{V21}/servers/{first}/migrations/{migration['id']}"
        assert (await w.admin.delete(one)).status_code == 202
        stayed, went = await w.settled(first), await w.settled(second)
        assert stayed and went and stayed["OS-EXT-SRV-ATTR:host"] == host != went["OS-EXT-SRV-ATTR:host"]
        for row in rows:
            await delete(w, row["id"])
            assert await w.settled(row["id"]) is None
        await w.pass_over()
        assert await w.leaks() == {}


async def test_it_goes_off_on_its_way(tmp_path: Path) -> None:
    """A guest that shuts itself down is not started again."""
    async with world(tmp_path, hosts=("a", "b"), delays=SLOW) as w:
        server_id, source, _ = await begin(w)
        await go(w, server_id)
        await under_way(w, server_id)
        w.hosts[source].happen(server_id, Power.OFF)
        await w.hosts[source].hurry(server_id)
        await w.settled(server_id)
        await w.pass_over()
        shown = await w.settled(server_id)
        assert shown and (shown["status"], shown["OS-EXT-SRV-ATTR:host"]) == ("SHUTOFF", source)
        assert (await where(w, server_id), await claims(w)) == ({source: Power.OFF}, [(source, 1)])
        assert await statuses(w) == [("live-migration", "error")]
        await end(w, server_id)


async def test_the_new_host_is_lost_when_it_has_arrived(tmp_path: Path) -> None:
    """The Server is there, as its old Host has forgotten it: nobody takes what is there for rubbish later."""
    async with world(tmp_path, hosts=("a", "b"), delays=SLOW) as w:
        server_id, source, dest = await begin(w)
        await go(w, server_id)
        await under_way(w, server_id)
        faults = w.hosts[dest].faults
        faults.fail("read", Unavailable("no answer"), times=None)
        faults.fail("receive", Unavailable("no answer"), after=True)
        await w.hosts[source].hurry(server_id)

        async def over() -> bool:
            return (await w.row(server_id))["task_state"] is None

        await w.until(over)
        assert (await w.row(server_id))["host"] == dest and await claims(w) == [(dest, 1)]
        assert await w.db.fetch("SELECT step FROM event WHERE kind = 'server' AND finished_at IS NULL") == []
        faults.clear()
        shown = await w.settled(server_id)
        assert shown and (shown["status"], shown["OS-EXT-SRV-ATTR:host"]) == ("ACTIVE", dest)
        await w.pass_over()
        assert await where(w, server_id) == {dest: Power.ON}
        await end(w, server_id)


async def test_the_old_host_dies_on_the_way(tmp_path: Path) -> None:
    """Nobody knows where the machine is; an administrator says that it is nowhere, and has it made anew."""
    async with world(tmp_path, hosts=("a", "b"), delays=SLOW) as w:
        server_id, source, dest = await begin(w)
        await go(w, server_id)
        migration = await under_way(w, server_id)
        w.hosts[source].die()
        assert (await w.admin.delete(f"{V21}/servers/{server_id}/migrations/{migration['id']}")).status_code == 202

        async def evacuated() -> bool:
            answer = await w.admin.post(f"{V21}/servers/{server_id}/action", json={"evacuate": {}})
            assert answer.status_code in (200, 400, 409), answer.text
            return answer.status_code == 200

        await w.until(evacuated)
        shown = await w.settled(server_id)
        assert shown and (shown["status"], shown["OS-EXT-SRV-ATTR:host"]) == ("SHUTOFF", dest)
        assert await claims(w) == [(dest, 1)]
        assert await statuses(w) == [("evacuation", "done"), ("live-migration", "cancelled")]
        w.hosts[source].revive()
        await end(w, server_id)


async def test_another_process_goes_on(tmp_path: Path) -> None:
    """The one that led the way is gone: the machine is where it was, and is brought there by the next."""
    async with world(tmp_path, hosts=("a", "b"), delays=SLOW, lease=0.2) as w:
        server_id, _, dest = await begin(w)
        await go(w, server_id)
        await under_way(w, server_id)
    for host in w.hosts.values():
        host.delays = Delays.none()
    async with beside(tmp_path, w.hosts, lease=0.2) as again:
        shown = await again.settled(server_id)
        assert shown and (shown["status"], shown["OS-EXT-SRV-ATTR:host"]) == ("ACTIVE", dest)
        await end(again, server_id)


ON, PAUSED, OFF = (Sight(True, Seen("x", power, 1)) for power in (Power.ON, Power.PAUSED, Power.OFF))
NONE, SILENT = Sight(known=True), Sight()


@pytest.mark.parametrize(
    "power, here, there, place",
    [
        ("on", ON, NONE, Place.HERE),
        ("on", ON, PAUSED, Place.HERE),  # it is arriving, or half of it was left
        ("on", PAUSED, ON, Place.THERE),
        ("on", NONE, ON, Place.THERE),
        ("on", SILENT, ON, Place.THERE),
        ("on", ON, SILENT, Place.HERE),
        ("on", PAUSED, SILENT, Place.UNKNOWN),  # it may have gone on there
        ("on", SILENT, NONE, Place.UNKNOWN),
        ("on", SILENT, PAUSED, Place.UNKNOWN),
        ("on", PAUSED, NONE, Place.HERE),
        ("on", NONE, SILENT, Place.THERE),  # it is forgotten here when it has arrived
        ("on", NONE, OFF, Place.THERE),  # and has been switched off since
        ("on", OFF, SILENT, Place.UNKNOWN),
        ("on", OFF, NONE, Place.NOWHERE),
        ("on", OFF, PAUSED, Place.NOWHERE),  # half of it was left there
        ("on", NONE, NONE, Place.NOWHERE),
        ("paused", PAUSED, PAUSED, Place.HERE),
        ("paused", NONE, PAUSED, Place.THERE),
        ("paused", PAUSED, SILENT, Place.HERE),
    ],
)
def test_where_it_is(power: str, here: Sight, there: Sight, place: Place) -> None:
    assert place_of(power, here, there) is place
