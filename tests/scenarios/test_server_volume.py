"""Servers with volumes while each call to a Host or to the ways to volumes fails, or the process dies at it.

However it ends, no volume is left between two states, none is in two machines or connected for a Host that does not
have it, and nothing is left when the Server and the volumes are deleted.
"""

import asyncio
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from hagane.compute import device
from hagane.drivers.hypervisor.sim_knobs import Delays
from hagane.errors import DeviceFailed, HaganeError, Unavailable
from hagane.reconcile import engine, server
from hagane.state import work
from hagane.volume.attach import detach as take_away
from tests.scenarios.server_world import V21, World, world
from tests.scenarios.test_server_crash import Death, kill
from tests.scenarios.test_server_faults import (
    WATCHING,
    action,
    calls,
    delete,
    fail,
    migrate,
    migrate_live,
    migrated,
    shelve,
    stop,
)
from tests.scenarios.volume_fault import (
    WAYS,
    Act,
    Ways,
    attach,
    attach_two,
    attached,
    clear,
    detach,
    order,
    plug,
    rebuild,
    sane,
    status,
    storage,
    swap,
    swap_root,
    tap,
    volume,
)


async def create(w: World, server_id: str) -> None:
    """The Server was ordered by the preparation."""


SCENARIOS: dict[str, tuple[bool, list[Act], Act, str | None]] = {
    # name: whether it boots from a volume, what comes before, the scenario, the status when nothing fails
    "create": (True, [], create, "ACTIVE"),
    "attach": (False, [], attach, "ACTIVE"),
    "attach two": (False, [], attach_two, "ACTIVE"),
    "attach to a stopped one": (False, [stop], attach, "SHUTOFF"),
    "detach": (False, [attached], detach, "ACTIVE"),
    "swap": (False, [attached], swap, "ACTIVE"),
    "swap of the root": (True, [], swap_root, "ACTIVE"),
    "hard reboot": (True, [attached], action(reboot={"type": "HARD"}), "ACTIVE"),
    "rebuild": (True, [attached], rebuild, "ACTIVE"),
    "migrate": (True, [attached], migrate, "VERIFY_RESIZE"),
    "migrate while it runs": (False, [attached], migrate_live, "ACTIVE"),
    "migrate, reverted": (False, [attached, migrated], action(revertResize=None), "ACTIVE"),
    "shelve": (True, [attached], action(shelve=None), "SHELVED_OFFLOADED"),
    "unshelve": (True, [attached, shelve], action(unshelve=None), "ACTIVE"),
    "delete": (True, [attached], delete, None),
}

QUICK = ("create", "attach", "detach", "swap of the root", "migrate")
NAMES = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in SCENARIOS]


async def play(w: World, name: str, fault: Any = lambda: None) -> tuple[str, dict[str, Any] | None]:
    backed, before, act, _ = SCENARIOS[name]
    if name == "create":
        fault()
    server_id = await order(w, backed=backed)
    if name != "create":
        ready = await w.settled(server_id)
        assert ready and ready["status"] == "ACTIVE", ready
        for step in before:
            await step(w, server_id)
        fault()
    await act(w, server_id)
    return server_id, await w.settled(server_id)


async def operations(w: World, ways: Ways, name: str) -> list[str]:
    """The calls that a scenario makes when nothing fails."""
    counted: Counter[str] = Counter()
    server_id, shown = await play(w, name, lambda: counted.update(calls(w) + ways.calls))
    assert (shown["status"] if shown else None) == SCENARIOS[name][3], shown
    made = calls(w) + ways.calls - counted
    await end(w, ways, server_id)
    return [one for one in made if one not in WATCHING and one != "apply"]  # its steps are struck


async def end(w: World, ways: Ways, server_id: str) -> None:
    """What is there is sane; then delete it all, and prove that nothing is left."""
    for host in w.hosts.values():
        host.faults.clear()
    ways.strike = lambda call, moment: None
    if await w.show(server_id) is not None:
        await sane(w, server_id, ways)
        await delete(w, server_id)
        assert await w.settled(server_id) is None
    await clear(w)
    await w.pass_over()
    assert await w.leaks() == {}
    assert ways.open == set()


def once(ways: Ways, call: str, moment: str, error: BaseException) -> None:
    struck = False

    def strike(name: str, when: str) -> None:
        nonlocal struck
        if (name, when) == (call, moment) and not struck:
            struck = True
            raise error

    ways.strike = strike


def strike(w: World, ways: Ways, operation: str, error: HaganeError, *, after: bool = False, hosts: int = 3) -> None:
    if operation in WAYS:
        once(ways, operation, "after" if after else "before", error)
    else:
        fail(w, operation, error, after=after, hosts=hosts)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "FIRST_RETRY", 0.005)
    monkeypatch.setattr(engine, "POLL", 0.05)


@pytest.mark.parametrize("name", NAMES)
async def test_no_answer(name: str, tmp_path: Path) -> None:
    """What does not answer once, before or after it did the work, changes nothing about the end."""
    async with world(tmp_path) as w:
        ways = tap(w)
        for operation in await operations(w, ways, name):
            for after in (False, True):
                fault = partial(strike, w, ways, operation, Unavailable("no answer"), after=after)
                server_id, shown = await play(w, name, fault)
                assert (shown["status"] if shown else None) == SCENARIOS[name][3], (operation, after, shown)
                await end(w, ways, server_id)


@pytest.mark.parametrize("name", NAMES)
async def test_refused(name: str, tmp_path: Path) -> None:
    """A refusal ends the action, and the volumes are as they were before it."""
    async with world(tmp_path) as w:
        ways = tap(w)
        for operation in await operations(w, ways, name):
            most = 2 if name == "create" else 3  # a new Server goes to another Host
            server_id, shown = await play(w, name, partial(strike, w, ways, operation, DeviceFailed("no"), hosts=most))
            if shown and shown["status"] == "ERROR":  # an administrator looks after it
                again = await w.act(server_id, reboot={"type": "HARD"})
                assert again.status_code == 202, (operation, again.text)
                assert ((await w.settled(server_id)) or {})["status"] == "ACTIVE", operation
            await end(w, ways, server_id)


@pytest.mark.parametrize("name", NAMES)
async def test_death_at_every_step(name: str, tmp_path: Path) -> None:
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: None)
    async with world(tmp_path, lease=0.15) as w:
        ways, faults = tap(w), {host: driver.faults for host, driver in w.hosts.items()}
        for operation in await operations(w, ways, name):
            for after in (False, True):
                if operation in WAYS:
                    fault = partial(once, ways, operation, "after" if after else "before", Death())
                else:
                    fault = partial(kill, w, operation, after=after)
                server_id, shown = await play(w, name, fault)
                for host, driver in w.hosts.items():
                    driver.faults = faults[host]
                assert (shown["status"] if shown else None) == SCENARIOS[name][3], (operation, after, shown)
                await end(w, ways, server_id)


async def test_a_server_waits_for_its_volume_and_says_so(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        ways, patient = tap(w), True

        def slow(call: str) -> None:
            if patient and call == "Volume":
                raise Unavailable("The backend is slow.")

        storage(w).hook = slow
        server_id, deleted = await order(w, backed=True), await order(w, backed=True)

        async def waits() -> bool:
            rows = await w.db.fetch("SELECT reason FROM work WHERE kind = 'server'")
            return len(rows) == 2 and all(one["reason"].startswith("It waits for 1 volume(s)") for one in rows)

        await w.until(waits)
        events = await w.db.fetch("SELECT * FROM event WHERE step = 'block-device-mapping' AND finished_at IS NULL")
        assert {one["key"] for one in events} == {server_id, deleted}
        await delete(w, deleted)
        assert await w.settled(deleted) is None
        patient = False
        shown = await w.settled(server_id)
        assert shown and shown["status"] == "ACTIVE"
        await end(w, ways, server_id)


async def test_an_image_of_a_volume_is_not_waited_for_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backend that makes no snapshot now ends the action, the image goes, and the Server runs on."""
    async with world(tmp_path) as w:
        ways, server_id = tap(w), await order(w, backed=True)
        await w.settled(server_id)

        def away(call: str) -> None:
            if call == "Snapshot":
                raise Unavailable("The backend is away.")

        storage(w).hook = away
        monkeypatch.setattr(server, "ACTION_SECONDS", 0.2)
        answer = await w.act(server_id, createImage={"name": "copy"})
        shown = await w.settled(server_id)
        assert shown and shown["status"] == "ACTIVE"
        image = answer.json()["image_id"]
        assert (await w.member.get(f"/image/v2/images/{image}")).status_code == 404
        (event,) = await w.db.fetch("SELECT * FROM event WHERE action = 'createImage' AND step = ''")
        assert event["result"] == "Error" and event["message"].startswith("It waits for 1 volume snapshot(s)")
        storage(w).hook = lambda call: None
        (snapshot,) = await w.db.fetch("SELECT id FROM volume_snapshot")

        async def gone() -> bool:
            await w.member.delete(f"/volume/v3/snapshots/{snapshot['id']}")
            return not await w.db.fetch("SELECT id FROM volume_snapshot")

        await w.until(gone)
        await end(w, ways, server_id)


async def test_a_host_that_stays_away_takes_no_volume_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The volume is available again when the wait is over; and the Server, when its Host is back, is without it."""
    async with world(tmp_path) as w:
        ways, server_id = tap(w), await order(w, backed=False)
        assert await w.settled(server_id)
        host = w.hosts[(await w.row(server_id))["host"]]
        host.die()

        async def down() -> bool:
            await w.pass_over()
            return (await w.db.fetch_tuples("SELECT count(*) FROM host WHERE state = 'down'"))[0][0] == 1

        await w.until(down)
        monkeypatch.setattr(server, "ACTION_SECONDS", 0.2)
        key = await volume(w)
        await plug(w, server_id, key)

        async def free() -> bool:
            await w.db.write(lambda tx: work.wake(tx, "server", server_id))
            return (await status(w, key)) == "available"

        await w.until(free)

        async def endless() -> bool:
            await w.db.write(lambda tx: work.wake(tx, "server", server_id))
            rows = await w.db.fetch("SELECT * FROM work WHERE kind = 'server'")
            return any("is down" in row["reason"] and "given up" not in row["reason"] for row in rows) and all(
                row["deadline"] is None for row in rows
            )

        await w.until(endless)  # nothing is left that could be given up
        listed = await w.member.get(f"{V21}/servers/{server_id}/os-volume_attachments")
        assert listed.json() == {"volumeAttachments": []}
        host.revive()
        await end(w, ways, server_id)


async def test_a_guest_that_does_not_let_go(tmp_path: Path) -> None:
    """It is asked again, and its next start settles it; both actions are told as they ended."""
    async with world(tmp_path) as w:
        ways, server_id = tap(w), await order(w, backed=False)
        await w.settled(server_id)
        await attached(w, server_id)
        host = w.hosts[(await w.row(server_id))["host"]]
        host.deaf.add(server_id)
        await detach(w, server_id)
        asked = host.faults.calls["Detach"]

        async def again() -> bool:
            return host.faults.calls["Detach"] > asked + 1

        await w.until(again)
        (key,) = [one["id"] for one in await w.db.fetch("SELECT id FROM volume")]
        assert await status(w, key) == "detaching"
        assert (await w.act(server_id, reboot={"type": "HARD"})).status_code == 202
        await w.settled(server_id)
        assert await status(w, key) == "available"
        path = f"{V21}/servers/{server_id}/os-instance-actions"
        told = [(one["action"], one["message"]) for one in (await w.member.get(path)).json()["instanceActions"]]
        assert told[:3] == [("reboot", None), ("detach_volume", None), ("attach_volume", None)]
        await end(w, ways, server_id)


async def test_two_volumes_at_once_are_two_actions(tmp_path: Path) -> None:
    async with world(tmp_path, delays=Delays(*(0.02 for _ in Delays.__slots__))) as w:
        ways, server_id = tap(w), await order(w, backed=False)
        await w.settled(server_id)
        await attach_two(w, server_id)
        await w.settled(server_id)
        rows = await w.db.fetch("SELECT * FROM event WHERE action = 'attach_volume'")
        assert {(one["request_id"], one["result"]) for one in rows if not one["step"]} == {
            (request, "Success") for request in {one["request_id"] for one in rows}
        }
        assert len({one["request_id"] for one in rows}) == 2 and {one["result"] for one in rows} == {"Success"}
        await end(w, ways, server_id)


async def test_a_root_that_was_taken_away_by_force(tmp_path: Path) -> None:
    """The Server says so instead of starting without it; another volume is simply not there any more."""
    async with world(tmp_path) as w:
        ways, server_id = tap(w), await order(w, backed=True)
        await w.settled(server_id)
        await attached(w, server_id)
        row = await w.row(server_id)
        root, other = row["devices"]
        await w.db.write(lambda tx: take_away(tx, other["attachment_id"]))
        await w.act(server_id, reboot={"type": "HARD"})
        shown = await w.settled(server_id)
        assert shown and shown["status"] == "ACTIVE"
        assert [one["id"] for one in shown["os-extended-volumes:volumes_attached"]] == [root["volume_id"]]
        await w.db.write(lambda tx: take_away(tx, root["attachment_id"]))
        await w.act(server_id, reboot={"type": "HARD"})
        shown = await w.settled(server_id)
        assert shown and shown["status"] == "ERROR"
        assert shown["fault"]["message"] == f"Its root volume {root['volume_id']} was taken away from it."
        await delete(w, server_id)
        assert await w.settled(server_id) is None
        ways.open.clear()  # whoever took them away has parted them, too
        await clear(w)
        assert await w.leaks() == {}


async def _late(w: World, server_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is half-way is given up soon, and is settled then."""
    monkeypatch.setattr(server, "ACTION_SECONDS", 0.3)
    w.hosts[(await w.row(server_id))["host"]].deaf.add(server_id)


async def test_what_came_stays_when_a_guest_does_not_let_go_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A swap that is done is not undone, as the guest writes to the new volume; no more is an attach."""
    async with world(tmp_path) as w:
        ways, server_id = tap(w), await order(w, backed=True)
        await w.settled(server_id)
        await attached(w, server_id)
        before, before_version = device.root(await w.row(server_id)) or {}, (await w.row(server_id))["disk_version"]
        await _late(w, server_id, monkeypatch)
        await detach(w, server_id)
        await swap_root(w, server_id)
        await attach(w, server_id)
        shown = await w.settled(server_id)
        assert shown and shown["status"] == "ACTIVE"
        await sane(w, server_id, ways)
        row = await w.row(server_id)
        assert len(row["devices"]) == 3 and (device.root(row) or {})["volume_id"] != before["volume_id"]
        assert (await status(w, before["volume_id"]), row["disk_version"]) == ("available", before_version + 1)
        calls = w.hosts[row["host"]].faults.calls
        assert (calls["Swap"], calls["Attach"]) == (1, 2)
        rows = await w.db.fetch("SELECT action, result FROM event WHERE kind = 'server' AND step = ''")
        told = {one["action"]: one["result"] for one in rows}
        assert (told["detach_volume"], told["swap_volume"], told["attach_volume"]) == ("Error", "Success", "Success")
        w.hosts[row["host"]].deaf.clear()
        await end(w, ways, server_id)


async def test_one_of_two_volumes_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with world(tmp_path) as w:
        ways, server_id = tap(w), await order(w, backed=False)
        await w.settled(server_id)
        host = w.hosts[(await w.row(server_id))["host"]]
        host.faults.fail("apply", Unavailable("not now"), times=None)
        await attach_two(w, server_id)
        before, number = host.faults.before, 0

        def strike_second(operation: str, machine_id: str | None = None) -> None:
            nonlocal number
            number += operation == "Attach"
            if operation == "Attach" and number == 2:
                raise DeviceFailed("no")
            before(operation, machine_id)

        monkeypatch.setattr(host.faults, "before", strike_second)
        host.faults.clear()
        await w.settled(server_id)
        await sane(w, server_id, ways)
        assert sorted(one["status"] for one in await w.db.fetch("SELECT status FROM volume")) == ["available", "in-use"]
        assert number == 2
        await end(w, ways, server_id)


async def test_a_way_that_is_gone_is_not_taken_for_there(tmp_path: Path) -> None:
    """The old way is closed, the new one fails, and the Server is back where it was."""
    async with world(tmp_path) as w:
        ways, server_id = tap(w), await order(w, backed=False)
        await w.settled(server_id)
        await attached(w, server_id)
        made = ways.calls["connect"]

        def strike(call: str, moment: str) -> None:
            if call == "connect" and ways.calls["connect"] == made + 1:
                raise DeviceFailed("no")

        ways.strike = strike
        await migrate(w, server_id)
        await w.settled(server_id)
        assert ways.calls["connect"] == made + 2
        await end(w, ways, server_id)


@pytest.mark.parametrize("name", ["createImage", "confirmResize", "shelve"])
@pytest.mark.parametrize("act", [attach, detach])
async def test_a_device_on_its_way_is_not_forgotten(name: str, act: Act, tmp_path: Path) -> None:
    """A stopped Server becomes an image or goes to its shelf, a resized one is confirmed, before its Host was told."""
    async with world(tmp_path) as w:
        ways, server_id = tap(w), await order(w, backed=False)
        await w.settled(server_id)
        await attached(w, server_id)
        await (migrated if name == "confirmResize" else stop)(w, server_id)
        host = w.hosts[(await w.row(server_id))["host"]]
        host.faults.fail("apply", Unavailable("not now"), times=None)
        await act(w, server_id)
        answer = await w.act(server_id, **{name: {"name": "copy"} if name == "createImage" else None})
        assert answer.is_success, answer.text
        if name != "shelve":

            async def over() -> bool:
                return (await w.row(server_id))["task_state"] is None

            await w.until(over)
        host.faults.clear()
        await w.settled(server_id)
        row = await w.row(server_id)
        assert not any(one.get("new") or one.get("gone") for one in row["devices"]), row["devices"]
        kept = 2 if act is attach else 0
        assert [one["status"] for one in await w.db.fetch("SELECT status FROM volume")] == (
            ["in-use"] * kept or ["available"]
        )
        await end(w, ways, server_id)
