"""Every call to a Host that a scenario makes fails once: with no answer, with an answer lost, or with a refusal.

Whatever fails, the Server ends settled and says the truth, and nothing is left when it is deleted.
"""

from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from hagane.errors import DeviceFailed, HaganeError, Unavailable
from hagane.reconcile import engine
from tests.scenarios.server_world import V21, World, world

Act = Callable[[World, str], Awaitable[Any]]
WATCHING = {"facts", "read", "disks", "connect", "sweep_images"}  # not part of any scenario: the Host's own pass


async def create(w: World, server_id: str) -> None:
    """The Server was ordered by the preparation."""


async def delete(w: World, server_id: str) -> None:
    assert (await w.member.delete(f"{V21}/servers/{server_id}")).status_code == 204


def action(**body: Any) -> Act:
    async def act(w: World, server_id: str) -> None:
        answer = await w.act(server_id, **body)
        assert answer.status_code == 202, answer.text

    return act


async def rebuild(w: World, server_id: str) -> None:
    answer = await w.act(server_id, rebuild={"imageRef": w.image_id})
    assert answer.status_code == 202, answer.text


async def attach(w: World, server_id: str) -> None:
    body = {"interfaceAttachment": {"net_id": w.network_id}}
    answer = await w.member.post(f"{V21}/servers/{server_id}/os-interface", json=body)
    assert answer.status_code == 200, answer.text


async def detach(w: World, server_id: str) -> None:
    listed = await w.member.get(f"{V21}/servers/{server_id}/os-interface")
    port = listed.json()["interfaceAttachments"][0]["port_id"]
    assert (await w.member.delete(f"{V21}/servers/{server_id}/os-interface/{port}")).status_code == 202


async def stop(w: World, server_id: str) -> None:
    await action(**{"os-stop": None})(w, server_id)
    await w.settled(server_id)


async def suspend(w: World, server_id: str) -> None:
    await action(suspend=None)(w, server_id)
    await w.settled(server_id)


async def shelve(w: World, server_id: str) -> None:
    await action(shelve=None)(w, server_id)
    await w.settled(server_id)


async def rescue(w: World, server_id: str) -> None:
    answer = await w.act(server_id, rescue={"rescue_image_ref": w.image_id})
    assert answer.status_code == 200, answer.text


async def rescued(w: World, server_id: str) -> None:
    await rescue(w, server_id)
    await w.settled(server_id)


async def bigger(w: World) -> None:
    flavor = {"name": "big", "ram": 1024, "vcpus": 2, "disk": 2, "id": "big"}
    answer = await w.admin.post(f"{V21}/flavors", json={"flavor": flavor})
    assert answer.status_code in (200, 409), answer.text


async def resize(w: World, server_id: str) -> None:
    await bigger(w)
    await action(resize={"flavorRef": "big"})(w, server_id)


async def migrate(w: World, server_id: str) -> None:
    answer = await w.admin.post(f"{V21}/servers/{server_id}/action", json={"migrate": None})
    assert answer.status_code == 202, answer.text


async def migrate_live(w: World, server_id: str) -> None:
    body = {"os-migrateLive": {"host": None, "block_migration": "auto"}}
    answer = await w.admin.post(f"{V21}/servers/{server_id}/action", json=body)
    assert answer.status_code == 202, answer.text


async def resized(w: World, server_id: str) -> None:
    await resize(w, server_id)
    await w.settled(server_id)


async def migrated(w: World, server_id: str) -> None:
    await migrate(w, server_id)
    await w.settled(server_id)


async def confirm(w: World, server_id: str) -> None:
    assert (await w.act(server_id, confirmResize=None)).status_code == 204


SCENARIOS: dict[str, tuple[list[Act], Act, str | None]] = {
    # name: what comes before, the scenario, the status when nothing fails
    "create": ([], create, "ACTIVE"),
    "delete": ([], delete, None),
    "stop": ([], action(**{"os-stop": None}), "SHUTOFF"),
    "start": ([stop], action(**{"os-start": None}), "ACTIVE"),
    "reboot": ([], action(reboot={"type": "SOFT"}), "ACTIVE"),
    "hard reboot": ([], action(reboot={"type": "HARD"}), "ACTIVE"),
    "pause": ([], action(pause=None), "PAUSED"),
    "suspend": ([], action(suspend=None), "SUSPENDED"),
    "resume": ([suspend], action(resume=None), "ACTIVE"),
    "reboot of a suspended one": ([suspend], action(reboot={"type": "HARD"}), "ACTIVE"),
    "resize": ([], resize, "VERIFY_RESIZE"),
    "resize, reverted": ([resized], action(revertResize=None), "ACTIVE"),
    "migrate": ([], migrate, "VERIFY_RESIZE"),
    "migrate, confirmed": ([migrated], confirm, "ACTIVE"),
    "migrate, reverted": ([migrated], action(revertResize=None), "ACTIVE"),
    "migrate while it runs": ([], migrate_live, "ACTIVE"),
    "shelve": ([], action(shelve=None), "SHELVED_OFFLOADED"),
    "unshelve": ([shelve], action(unshelve=None), "ACTIVE"),
    "delete of a shelved one": ([shelve], delete, None),
    "rescue": ([], rescue, "RESCUE"),
    "unrescue": ([rescued], action(unrescue=None), "ACTIVE"),
    "backup": ([], action(createBackup={"name": "copy", "backup_type": "daily", "rotation": 1}), "ACTIVE"),
    "rebuild": ([], rebuild, "ACTIVE"),
    "snapshot": ([], action(createImage={"name": "copy"}), "ACTIVE"),
    "attach": ([], attach, "ACTIVE"),
    "detach": ([], detach, "ACTIVE"),
}


async def play(w: World, name: str, fault: Callable[[], None] = lambda: None) -> tuple[str, dict[str, Any] | None]:
    """A Server of its own goes through a scenario, with a fault from its beginning on; how it ends."""
    before, act, _ = SCENARIOS[name]
    if name == "create":
        fault()
    server_id = (await w.create(config_drive=name == "create"))["id"]
    if name != "create":
        ready = await w.settled(server_id)
        assert ready and ready["status"] == "ACTIVE", ready
        for step in before:
            await step(w, server_id)
        fault()
    await act(w, server_id)
    return server_id, await w.settled(server_id)


def calls(w: World) -> Counter[str]:
    return sum((host.faults.calls for host in w.hosts.values()), Counter())


async def end(w: World, server_id: str) -> None:
    """Delete it, and prove that nothing is left."""
    for host in w.hosts.values():
        host.faults.clear()
    if await w.show(server_id) is not None:
        await delete(w, server_id)
        assert await w.settled(server_id) is None
    await w.pass_over()
    assert await w.leaks() == {}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again at once."""
    monkeypatch.setattr(engine, "FIRST_RETRY", 0.005)


@pytest.mark.parametrize("name", SCENARIOS)
async def test_no_answer(name: str, tmp_path: Path) -> None:
    """A Host that does not answer once, before or after it did the work, changes nothing about the end."""
    async with world(tmp_path) as w:
        for operation in await operations(w, name):
            for after in (False, True):
                fault = partial(fail, w, operation, Unavailable("no answer"), after=after)
                server_id, shown = await play(w, name, fault)
                assert status(shown) == SCENARIOS[name][2], (operation, after, shown)
                await end(w, server_id)


@pytest.mark.parametrize("name", SCENARIOS)
async def test_refused(name: str, tmp_path: Path) -> None:
    """A Host that refuses once ends the action; the Server says what it is and why, and can be deleted."""
    async with world(tmp_path) as w:
        for operation in await operations(w, name):
            most = 2 if name == "create" else 3  # a new Server goes to another Host
            fault = partial(fail, w, operation, DeviceFailed("the Host refuses"), hosts=most)
            server_id, shown = await play(w, name, fault)
            row = None if shown is None else await w.row(server_id)
            if name == "create":
                assert status(shown) == "ACTIVE", (operation, shown)
            elif row is not None and name != "migrate, confirmed":  # what is left there is swept later
                assert row["fault"]["message"] == "the Host refuses", (operation, row)
                events = await w.db.fetch("SELECT * FROM event WHERE key = :id AND result = 'Error'", {"id": server_id})
                assert events, operation
            if shown and shown["status"] != "ERROR":
                await honest(w, server_id, shown)
            await end(w, server_id)


POWER = {
    "ACTIVE": "on",
    "VERIFY_RESIZE": "on",
    "RESCUE": "on",
    "SHUTOFF": "off",
    "PAUSED": "paused",
    "SUSPENDED": "suspended",
}


async def honest(w: World, server_id: str, shown: dict[str, Any]) -> None:
    """What is shown is what the Host has; what a refusal left there is looked at once more, which takes a moment."""

    async def agrees() -> bool:
        row, now = await w.row(server_id), await w.show(server_id)
        if now is not None and now["status"] == "SHELVED_OFFLOADED":
            return row["host"] is None and row["power"] == "off"
        seen = (await w.hosts[row["host"]].read())[server_id]
        plugged = seen.nics == {nic["port_id"] for nic in row["nics"]} or seen.power in ("off", "suspended")
        return now is not None and (now["status"] == "ERROR" or (POWER[now["status"]] == seen.power and plugged))

    await w.until(agrees, 5)


async def operations(w: World, name: str) -> list[str]:
    """The calls that a scenario makes when nothing fails."""
    counted: Counter[str] = Counter()

    def begin() -> None:
        counted.update(calls(w))

    server_id, shown = await play(w, name, begin)
    assert status(shown) == SCENARIOS[name][2], shown
    made = calls(w) - counted
    await end(w, server_id)
    return [operation for operation in made if operation not in WATCHING]


def status(shown: dict[str, Any] | None) -> str | None:
    return None if shown is None else str(shown["status"])


def fail(w: World, operation: str, error: HaganeError, *, after: bool = False, hosts: int = 3) -> None:
    for host in list(w.hosts.values())[:hosts]:
        host.faults.fail(operation, error, after=after)


@pytest.mark.parametrize("owned", [True, False])
async def test_a_nic_that_leaves_while_its_server_goes_to_its_shelf(owned: bool, tmp_path: Path) -> None:
    """Its Host was not yet told of it when the Server was shelved: the port is gone, or free for another Server. One
    that is on its way in comes with the Server."""
    async with world(tmp_path) as w:
        ports = "/network/v2.0/ports"
        if owned:
            wish = {"uuid": w.network_id}
        else:
            made = await w.member.post(ports, json={"port": {"network_id": w.network_id}})
            wish = {"port": made.json()["port"]["id"]}
        server_id = (await w.create(networks=[wish]))["id"]
        await w.settled(server_id)
        await stop(w, server_id)
        port_id = (await w.row(server_id))["nics"][0]["port_id"]
        host = w.hosts[(await w.row(server_id))["host"]]
        host.faults.fail("apply", Unavailable("not now"), times=None)
        await attach(w, server_id)
        body = await w.member.delete(f"{V21}/servers/{server_id}/os-interface/{port_id}")
        assert body.status_code == 202
        await action(shelve=None)(w, server_id)
        host.faults.clear()
        shown = await w.settled(server_id)
        assert shown and shown["status"] == "SHELVED_OFFLOADED"
        nics = (await w.row(server_id))["nics"]
        assert [(one.get("new"), one.get("gone"), one["port_id"] != port_id) for one in nics] == [(None, None, True)]
        left = await w.member.get(f"{ports}/{port_id}")
        assert left.status_code == (404 if owned else 200)
        if not owned:
            port = left.json()["port"]
            assert (port["device_id"], port["device_owner"]) == ("", "")
            other = (await w.create(networks=[wish]))["id"]
            shown = await w.settled(other)
            assert shown and shown["status"] == "ACTIVE"
            await delete(w, other)
            await w.settled(other)
        await action(unshelve=None)(w, server_id)
        shown = await w.settled(server_id)
        assert shown and shown["status"] == "ACTIVE"
        listed = await w.member.get(f"{V21}/servers/{server_id}/os-interface")
        assert [one["port_id"] for one in listed.json()["interfaceAttachments"]] == [nics[0]["port_id"]]
        await end(w, server_id)
