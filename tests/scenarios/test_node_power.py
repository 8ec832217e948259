"""Power that nobody asked for: a machine switched by hand, a BMC that is lost and comes back."""

from pathlib import Path

from hagane.baremetal.node import NODE
from hagane.drivers.bmc.base import Bmc
from hagane.errors import Unavailable
from hagane.operate.findings import findings
from hagane.reconcile.node_power import FAULT, SLICES, TRIES, interval
from hagane.state.database import Row
from tests.scenarios.node_world import World, world


async def _look(w: World) -> None:
    """As if a whole interval had passed."""
    w.part.power._silent.clear()
    for number in range(SLICES):
        await w.part.power.look(number)


async def test_a_machine_switched_off_by_hand_is_switched_on_again(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        node = await w.active()
        w.machine(node).lose_power()
        await _look(w)
        assert w.machine(node).on
        assert (await w.row(node))["power_state"] == "power on"
        assert any("brought back into state power on" in line for line in await w.history(node))


async def test_or_it_is_recorded_where_the_settings_say_so(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.part.power._config.restore_power = False
        node = await w.active()
        w.machine(node).lose_power()
        await _look(w)
        assert not w.machine(node).on
        assert (await w.row(node))["power_state"] == "power off"
        assert "The machine was found in state power off." in await w.history(node)


async def test_a_machine_that_goes_off_again_and_again_is_put_aside(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        node = await w.active()
        for _ in range(TRIES + 1):
            w.machine(node).lose_power()
            await _look(w)
        row = await w.row(node)
        assert (row["maintenance"], row["fault"], row["power_state"]) == (True, FAULT, "power off")
        assert "again and again" in row["maintenance_reason"]


async def test_a_lost_bmc_is_a_fault_until_it_answers_again(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        node = await w.active()
        w.machine(node).fail_always = Unavailable("no route to the BMC")
        for _ in range(TRIES - 1):
            await _look(w)
        assert (await w.row(node))["maintenance"] is False
        await _look(w)
        row = await w.row(node)
        assert (row["maintenance"], row["fault"], row["power_state"]) == (True, FAULT, "error")
        assert "no route to the BMC" in row["maintenance_reason"]
        w.machine(node).fail_always = None
        await _look(w)
        row = await w.row(node)
        assert (row["maintenance"], row["fault"], row["power_state"]) == (False, None, "power on")
        assert any("answers again" in line for line in await w.history(node))


async def test_of_a_node_that_is_gone_nothing_is_kept(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        node, other = await w.active(), await w.active()
        for one in (node, other):
            w.machine(one).fail_always = Unavailable("no route to the BMC")
        await _look(w)
        await w.db.write(lambda tx: NODE.delete(tx, {"id": node}))
        for number in range(SLICES):
            await w.part.power.look(number)
        assert w.part.power._wrong.keys() == w.part.power._silent.keys() == {other}


async def test_a_ramdisk_that_is_being_put_away_is_not_switched_on_again(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        node = await w.active()
        row = await w.row(node)
        failed = {"provision_state": "deploy failed", "seen": row["seen"] | {"life": {"kind": "deploy"}}}
        await w.db.write(lambda tx: NODE.update(tx, {"id": node}, failed))
        w.machine(node).lose_power()
        await _look(w)
        assert not w.machine(node).on


async def test_an_odd_bmc_keeps_no_other_node_from_being_looked_at(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        odd, other = await w.active(), await w.active()
        real = w.part.tools.bmcs.of

        def of(row: Row) -> Bmc:
            return real(row) if row["id"] == other else real({**row, "driver": 1 / 0})

        w.part.tools.bmcs.of = of  # type: ignore[method-assign]
        w.machine(other).lose_power()
        for _ in range(TRIES):
            await _look(w)
        assert (await w.row(odd))["fault"] == FAULT and "ZeroDivisionError" in (await w.row(odd))["maintenance_reason"]
        assert w.machine(other).on and (await w.row(other))["fault"] is None
        said = [one.what for one in await findings(w.cloud)]
        assert [text for text in said if text.startswith("Node ")] == [
            f"Node {odd} is active, {FAULT}: {(await w.row(odd))['last_error']}"
        ]


async def test_maintenance_by_a_person_is_left_alone(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        node = await w.active()
        assert (await w.http.put(f"/nodes/{node}/maintenance", json={"reason": "mine"})).status_code == 202
        w.machine(node).lose_power()
        await _look(w)
        assert not w.machine(node).on
        row = await w.row(node)
        assert (row["maintenance_reason"], row["power_state"]) == ("mine", "power on")


async def test_power_that_is_asked_for_is_not_undone(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        node = await w.active()
        row: Row = {}
        answer = await w.http.put(f"/nodes/{node}/states/power", json={"target": "power off"})
        assert answer.status_code == 202

        async def off() -> bool:
            nonlocal row
            row = await w.row(node)
            return row["power_state"] == "power off" and not row["wanted"]

        await w.until(off)
        await _look(w)
        assert not w.machine(node).on and row["target_power_state"] is None


async def test_the_slices_hold_every_node_once(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        nodes = [await w.enrol() for _ in range(40)]
        for node in nodes:
            await w.reach(node, "manage", "manageable")
        before = w.fleet.asked
        await _look(w)
        assert w.fleet.asked - before == len(nodes)


def test_few_nodes_are_looked_at_more_often() -> None:
    assert [interval(60.0, count) for count in (0, 1, 20, 30, 1000)] == [15.0, 15.0, 32.0, 48.0, 60.0]


async def test_a_silent_bmc_holds_up_nobody_and_is_asked_again_after_the_whole_interval(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        silent, other = await w.active(), await w.active()
        w.machine(silent).fail_always = Unavailable("no route to the BMC")
        await _look(w)
        later = w.part.power._silent[silent]
        w.machine(other).lose_power()
        for number in range(SLICES):
            await w.part.power.look(number)
        assert w.part.power._silent == {silent: later} and w.machine(other).on
