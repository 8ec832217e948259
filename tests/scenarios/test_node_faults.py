"""What goes wrong in a Node's life: each ends in the documented state, with the cause, a way out, and nothing leaked."""

import asyncio
from pathlib import Path

import pytest

from hagane.baremetal.node import NODE
from hagane.drivers.bmc.sim import Knobs
from hagane.errors import DeviceFailed, HaganeError, Unavailable
from hagane.operate.explain import explain, find
from hagane.state import clock, work
from hagane.state.database import Row
from tests.scenarios.node_world import World, world

BMC_CALLS = ("read", "PowerOn", "PowerOff", "SetBoot", "power")
COMMANDS = ("deploy.get_deploy_steps", "standby.prepare_image", "image.install_bootloader", "standby.sync")


async def _failed(w: World, node: str, state: str, *words: str) -> Row:
    """The state of failure, its cause, and that nothing stayed behind."""
    row = await w.at(node, state)
    for word in words:
        assert word in row["last_error"], row["last_error"]
    assert await w.leaks(node) == {}
    assert any(line["severity"] == "ERROR" for line in (await w.http.get(f"/nodes/{node}/history")).json()["history"])
    return row


async def _ready(w: World) -> str:
    node = await w.available()
    await w.instance(node)
    return node


async def _recovers(w: World, node: str) -> None:
    """The way out: everything is taken back, the Node is cleaned and deployed again."""
    w.machine(node).wrong.fail.clear()
    w.machine(node).wrong.mute = False
    await w.reach(node, "deleted", "available")
    await w.instance(node)
    await w.reach(node, "active", "active")


async def test_a_ramdisk_that_never_calls_back(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        node = await _ready(w)
        w.machine(node).wrong.mute = True
        w.times.callback["deploy"] = 0.2
        assert (await w.ask(node, "active")).status_code == 202
        await _failed(w, node, "deploy failed", "Timeout reached while waiting for callback", "has not called back")
        w.times.callback["deploy"] = 20.0
        await _recovers(w, node)


async def test_what_waits_does_not_fail_by_an_outage_of_ours(tmp_path: Path) -> None:
    """A process that was away for an hour gives everything that it finds waiting its whole time again."""
    async with world(tmp_path) as w:
        node = await _ready(w)
        w.machine(node).wrong.mute = True
        assert (await w.ask(node, "active")).status_code == 202
        await w.until(lambda: _waits(w, node, "callback"))
        seen = (await w.row(node))["seen"]
        long_ago = clock.after(-3600)
        changes = {"seen": seen | {"life": seen["life"] | {"since": long_ago}}}
        await w.db.write(lambda tx: NODE.update(tx, {"id": node}, changes))
        await w.db.write(lambda tx: work.wake(tx, "node", node))
        await asyncio.sleep(0.3)
        assert await _waits(w, node, "callback") and (await w.row(node))["seen"]["life"]["since"] == long_ago
        w.part.tools.began -= 3600
        await w.db.write(lambda tx: work.wake(tx, "node", node))
        await _failed(w, node, "deploy failed", "Timeout reached while waiting for callback")


async def _waits(w: World, node: str, phase: str) -> bool:
    return bool(((await w.row(node))["seen"].get("life") or {}).get("phase") == phase)


async def test_a_checksum_that_is_wrong(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        node = await _ready(w)
        said = "Image failed to verify against checksum. location: /dev/sda"
        w.machine(node).wrong.fail["standby.prepare_image"] = said
        assert (await w.ask(node, "active")).status_code == 202
        row = await _failed(w, node, "deploy failed", "checksum")
        step = next(step for step in row["seen"]["steps"] if step["step"] == "write-image")
        assert step["result"] == "Error" and "checksum" in step["message"]
        await _recovers(w, node)


@pytest.mark.parametrize("command", COMMANDS)
async def test_each_command_of_the_ramdisk_failing(tmp_path: Path, command: str) -> None:
    async with world(tmp_path) as w:
        node = await _ready(w)
        w.machine(node).wrong.fail[command] = "the device is on fire"
        assert (await w.ask(node, "active")).status_code == 202
        await _failed(w, node, "deploy failed", "on fire")
        await _recovers(w, node)


@pytest.mark.parametrize("call", BMC_CALLS)
async def test_each_call_of_the_bmc_without_an_answer_once(tmp_path: Path, call: str) -> None:
    """A BMC that is deaf for a moment is asked again: nothing fails."""
    async with world(tmp_path) as w:
        node = await _ready(w)
        w.machine(node).fail_once[call] = Unavailable("the BMC does not answer")
        await w.reach(node, "active", "active")
        w.machine(node).fail_once[call] = Unavailable("the BMC does not answer")
        await w.reach(node, "deleted", "available")
        assert await w.leaks(node) == {}


@pytest.mark.parametrize("call", ("PowerOn", "PowerOff", "SetBoot"))
async def test_each_call_of_the_bmc_refused_once(tmp_path: Path, call: str) -> None:
    async with world(tmp_path) as w:
        node = await _ready(w)
        w.machine(node).on = call == "PowerOff"
        w.machine(node).fail_once[call] = DeviceFailed("the BMC refuses")
        assert (await w.ask(node, "active")).status_code == 202
        await _failed(w, node, "deploy failed", "refuses")
        await _recovers(w, node)


async def test_a_wrong_bmc_password(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        node = await w.enrol()
        w.fleet.bmc(await w.row(node)).fail_always = DeviceFailed("the BMC refuses the user name or the password")
        await w.ask(node, "manage")
        row = await w.at(node, "enroll")
        assert "refuses the user name or the password" in row["last_error"]
        w.machine(node).fail_always = None
        await w.reach(node, "manage", "manageable")


async def test_a_bmc_that_is_lost_while_deploying(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.times.device = 0.2
        node = await _ready(w)
        w.machine(node).fail_always = Unavailable("no route to the BMC")
        assert (await w.ask(node, "active")).status_code == 202
        row = await w.at(node, "deploy failed")
        assert "no route to the BMC" in row["last_error"] and "could not be released" in row["last_error"]
        w.machine(node).fail_always = None
        await _recovers(w, node)


async def test_what_a_failed_cleaning_left_is_put_away_when_somebody_goes_on(tmp_path: Path) -> None:
    """Its BMC refused while it was to be switched off, and later nothing is cleaned: the ramdisk must not run on."""
    async with world(tmp_path) as w:
        node = await w.enrol()
        await w.reach(node, "manage", "manageable")
        w.machine(node).wrong.mute = True
        await w.reach(node, "provide", "clean wait")
        await w.until(lambda: _waits(w, node, "callback"))
        w.machine(node).fail_always = DeviceFailed("an answer that makes no sense")
        assert (await w.ask(node, "abort")).status_code == 202
        row = await w.at(node, "clean failed")
        await w.until(lambda: _told(w, node, "could not be released"))
        assert w.machine(node).on
        w.machine(node).fail_always = None
        await w.patch(node, automated_clean=False)
        await w.reach(node, "manage", "manageable")
        await w.reach(node, "provide", "available")
        await w.until(lambda: _settled(w, node))
        assert not w.machine(node).on, row


async def _told(w: World, node: str, words: str) -> bool:
    return words in ((await w.row(node))["last_error"] or "")


async def _settled(w: World, node: str) -> bool:
    seen = (await w.row(node))["seen"]
    return not seen.get("life") and not seen.get("left")


async def _in_the_middle(w: World, node: str, command: str) -> None:
    """A deployment that hangs in a command."""
    w.machine(node).wrong.hang.add(command)
    assert (await w.ask(node, "active")).status_code == 202

    async def there() -> bool:
        row = await w.row(node)
        return row["provision_state"] == "wait call-back" and bool((row["seen"].get("life") or {}).get("command"))

    await w.until(there)
    w.machine(node).wrong.hang.clear()


async def test_a_node_deleted_while_it_is_written(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        node = await _ready(w)
        await _in_the_middle(w, node, "standby.prepare_image")
        row = await w.reach(node, "deleted", "available")
        assert row["instance_info"] == {} and await w.leaks(node) == {}


async def test_power_lost_while_writing(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        node = await _ready(w)
        await _in_the_middle(w, node, "standby.prepare_image")
        w.machine(node).lose_power()
        await _failed(w, node, "deploy failed", "switched off while write_image was going on")
        await _recovers(w, node)


async def test_a_ramdisk_that_falls_silent(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.times.heartbeat = 0.3
        node = await _ready(w)
        await _in_the_middle(w, node, "standby.prepare_image")
        w.machine(node).wrong.dead = True
        await _failed(w, node, "deploy failed", "has said nothing for")
        w.machine(node).wrong.dead = False
        w.times.heartbeat = 20.0
        await _recovers(w, node)


async def test_power_lost_before_the_ramdisk_calls_back(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        node = await _ready(w)
        w.machine(node).wrong.mute = True
        w.times.settle = 0.05
        assert (await w.ask(node, "active")).status_code == 202
        await w.at(node, "wait call-back")
        w.machine(node).lose_power()
        await _failed(w, node, "deploy failed", "switched off before its ramdisk called back")


@pytest.mark.parametrize(
    ("verb", "waiting", "failed", "more"),
    [
        ("active", "wait call-back", "deploy failed", {}),
        ("provide", "clean wait", "clean failed", {}),
        ("inspect", "inspect wait", "inspect failed", {}),
        ("rescue", "rescue wait", "rescue failed", {"rescue_password": "x"}),
        ("service", "service wait", "service failed",
         {"service_steps": [{"interface": "deploy", "step": "burnin_cpu", "args": {}}]}),
    ],
)  # fmt: skip
async def test_abort_in_each_wait(tmp_path: Path, verb: str, waiting: str, failed: str, more: Row) -> None:
    async with world(tmp_path) as w:
        if verb in ("inspect", "provide"):
            node = await w.enrol()
            await w.reach(node, "manage", "manageable")
        else:
            node = await (_ready(w) if verb == "active" else w.active())
        w.machine(node).wrong.mute = True
        await w.reach(node, verb, waiting, **more)
        row = await w.reach(node, "abort", failed)
        assert "abort" in row["last_error"]
        assert await w.leaks(node) == {}


@pytest.mark.parametrize("verbs", [("manage",), ("manage", "provide")])
async def test_a_person_who_goes_on_before_the_ramdisk_is_put_away(tmp_path: Path, verbs: tuple[str, ...]) -> None:
    """A BMC that is slow to answer leaves time for it; nothing stays behind all the same."""
    async with world(tmp_path) as w:
        node = await w.enrol()
        await w.reach(node, "manage", "manageable")
        body = [{"op": "add", "path": "/automated_clean", "value": False}]
        assert (await w.http.patch(f"/nodes/{node}", json=body)).status_code == 200
        w.machine(node).wrong.mute = True
        await w.reach(node, "inspect", "inspect wait")
        w.machine(node).fail_once["PowerOff"] = Unavailable("the BMC does not answer")
        for verb in ("abort", *verbs):
            assert (await w.ask(node, verb)).status_code == 202
        row = await w.at(node, "available" if "provide" in verbs else "manageable")

        async def clean() -> bool:
            return await w.leaks(node) == {}

        await w.until(clean)
        assert row["last_error"] is None


async def test_who_deploys_again_right_after_an_abort_begins_anew(tmp_path: Path) -> None:
    """Not with the ramdisk of the aborted deployment, which is being put away."""
    async with world(tmp_path) as w:
        node = await _ready(w)
        w.machine(node).wrong.mute = True
        await w.reach(node, "active", "wait call-back")

        async def started() -> bool:
            return bool((await w.row(node))["seen"]["life"]["phase"] == "callback")

        await w.until(started)
        w.machine(node).wrong.mute = False
        starts = w.machine(node).starts
        w.machine(node).fail_once["PowerOff"] = Unavailable("the BMC does not answer")
        assert (await w.ask(node, "abort")).status_code == 202
        await w.reach(node, "active", "active")
        assert w.machine(node).starts == starts + 2  # a ramdisk of its own, then the disk


@pytest.mark.parametrize(
    ("verb", "failed", "more"),
    [
        ("provide", "clean failed", {}),
        ("inspect", "inspect failed", {}),
    ],
)
async def test_each_other_wait_ends_by_itself(tmp_path: Path, verb: str, failed: str, more: Row) -> None:
    async with world(tmp_path) as w:
        w.times.callback = dict.fromkeys(w.times.callback, 0.2)
        node = await w.enrol()
        await w.reach(node, "manage", "manageable")
        w.machine(node).wrong.mute = True
        assert (await w.ask(node, verb, **more)).status_code == 202
        await _failed(w, node, failed, "Timeout")


async def test_a_clean_step_that_fails_puts_the_node_aside(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        node = await w.enrol()
        await w.reach(node, "manage", "manageable")
        w.machine(node).wrong.fail["clean.execute_clean_step"] = "the disk has bad sectors"
        assert (await w.ask(node, "provide")).status_code == 202
        row = await _failed(w, node, "clean failed", "bad sectors")
        assert (row["maintenance"], row["fault"]) == (True, "clean failure")
        w.machine(node).wrong.fail.clear()
        await w.reach(node, "manage", "manageable")
        assert (await w.http.delete(f"/nodes/{node}/maintenance")).status_code == 202
        await w.reach(node, "provide", "available")


async def test_strangers(tmp_path: Path) -> None:
    """A heartbeat without, or with a wrong token, and a second ramdisk that claims a Node: nothing changes."""
    async with world(tmp_path) as w:
        node = await _ready(w)
        await _in_the_middle(w, node, "standby.prepare_image")
        before = await w.row(node)
        beat: Row = {"callback_url": before["driver_internal_info"]["agent_url"], "agent_version": "1"}
        for more in ({}, {"agent_token": "wrong"}, {"agent_token": "wrong", "callback_url": "http://evil.test:9999"}):
            answer = await w.http.post(f"/heartbeat/{node}", json=beat | more)
            assert answer.status_code == 400, answer.text
        answer = await w.http.post("/heartbeat/6f1c1f6e-0d5c-4a2f-9f3a-0d7f0a3b1c11", json=beat | {"agent_token": "x"})
        assert answer.status_code == 404
        second = await w.http.get(f"/lookup?node_uuid={node}")
        assert second.json()["config"]["agent_token"] == "******"
        after = await w.row(node)
        assert after["driver_internal_info"] == before["driver_internal_info"]
        await w.reach(node, "deleted", "available")


async def test_a_store_that_is_away_for_one_write_loses_nothing(tmp_path: Path) -> None:
    async with world(tmp_path, lease=0.5) as w:
        node = await _ready(w)
        write, left = w.db.write, 3

        async def broken(work: object) -> object:
            nonlocal left
            if left and w.machine(node).on:
                left -= 1
                raise Unavailable("the store does not answer")
            return await write(work)  # type: ignore[arg-type]

        w.db.write = broken  # type: ignore[method-assign,assignment]
        assert (await w.ask(node, "active")).status_code == 202
        await w.at(node, "active")
        assert left == 0 and issubclass(Unavailable, HaganeError)


async def test_explain_says_the_cause_the_steps_and_the_way_out(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.times.callback["deploy"] = 1.0
        node = await _ready(w)
        w.machine(node).wrong.mute = True
        assert (await w.ask(node, "active")).status_code == 202

        async def waits() -> bool:
            said = await explain(w.db, *await find(w.db, "node", node))
            told = any("dhcp" in fact for fact in said.facts) and any("node abort" in line for line in said.advice)
            return told and bool(said.waits and said.waits[0].until)

        await w.until(waits)
        await w.at(node, "deploy failed")
        said = await explain(w.db, *await find(w.db, "node", node))
        assert said.state == "deploy failed (to active)"
        assert any("Timeout reached while waiting for callback" in fact for fact in said.facts)
        assert [step["result"] for step in said.steps][-2:] == ["Error", "Success"]
        assert any("node undeploy" in advice for advice in said.advice)


async def test_explain_says_where_each_nic_is_if_anybody_knows(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        node = await w.enrol()
        known = {"switch_id": "52:54:00:00:00:99", "switch_info": "tor9", "port_id": "Ethernet1"}
        for number, link in (("00", {}), ("02", known)):
            body = {"node_uuid": node, "address": f"52:54:00:00:11:{number}", "local_link_connection": link}
            answer = await w.http.post("/ports", json=body)
            assert answer.status_code == 201, answer.text
        told = (await explain(w.db, *await find(w.db, "node", node))).facts
        assert "Nic 52:54:00:00:11:00 is on no known switch port." in told, told
        assert "Nic 52:54:00:00:11:02 is on port Ethernet1 of switch tor9." in told, told


async def test_what_nobody_foresaw_ends_at_the_deadline(tmp_path: Path) -> None:
    """An odd answer of a ramdisk: asked again until the deadline, and then said."""
    async with world(tmp_path) as w:
        node = await _ready(w)
        w.times.step["deploy"] = 0.3
        w.machine(node).wrong.steps = [{"interface": "deploy", "step": "x", "priority": "high"}]
        assert (await w.ask(node, "active")).status_code == 202
        await _failed(w, node, "deploy failed", "An unforeseen error (ValueError) in the phase steps")
        w.machine(node).wrong.steps = None
        w.times.step["deploy"] = 20.0
        await _recovers(w, node)


async def test_a_command_that_never_ends(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        node = await _ready(w)
        w.times.step["deploy"] = 0.3
        await _in_the_middle(w, node, "standby.prepare_image")
        await _failed(w, node, "deploy failed", "did not end within", "busy with write_image")
        w.times.step["deploy"] = 20.0
        await _recovers(w, node)


async def test_who_asks_is_told_at_once_that_a_bmc_is_silent(tmp_path: Path) -> None:
    """Long before the question to it counts as unanswered; and no longer once it has answered."""
    async with world(tmp_path) as w:
        w.times.silent = 0.05
        node = await _ready(w)
        w.machine(node).knobs = Knobs(delay=1.0)
        assert (await w.ask(node, "active")).status_code == 202

        async def told() -> bool:
            waits = (await explain(w.db, *await find(w.db, "node", node))).waits
            return any("Its BMC has not answered since" in wait.reason for wait in waits)

        await w.until(told)
        w.machine(node).knobs = Knobs()
        await w.at(node, "active")
        assert not await told()
