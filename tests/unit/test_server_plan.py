"""What is done next about a Server: the table of the pure function, and the choice of a Host."""

from typing import Any

import pytest

from hagane.drivers.hypervisor.base import Power, Seen
from hagane.placement.choose import Wanted, choose
from hagane.reconcile.server_plan import Apply, Blocked, Forget, Notice, Place, Remove, Settled, Snapshot, plan

UP: dict[str, Any] = {"name": "a", "state": "up", "forced_down": False, "reason": ""}
DOWN = UP | {"state": "down", "reason": "no route"}


def row(**more: Any) -> dict[str, Any]:
    """A Server that runs and about which nothing is being done."""
    return {
        "id": "s", "host": "a", "vm_state": "active", "task_state": None, "power_state": 1, "power": "on",
        "terminate": False, "generation": 3, "observed_generation": 3, "nics": [], "devices": [],
    } | more  # fmt: skip


def seen(power: Power = Power.ON, *nics: str) -> Seen:
    return Seen("s", power, 1, frozenset(nics))


NEW = {"vm_state": "building", "task_state": "scheduling", "observed_generation": 0}
GONE = Notice({"vm_state": "error", "power_state": 0})


@pytest.mark.parametrize(
    ("changes", "machine", "host", "step"),
    [
        ({}, seen(), UP, Settled()),
        (NEW | {"host": None}, None, None, Place()),
        (NEW | {"task_state": "spawning"}, None, UP, Apply()),
        (NEW | {"task_state": "spawning"}, None, DOWN, Blocked("Host a is down: no route")),
        ({"task_state": "rebooting", "generation": 4}, seen(), UP, Apply()),
        ({"generation": 4}, seen(), UP, Apply()),  # a NIC was attached: no task says so
        ({"task_state": "image_snapshot", "generation": 4}, seen(), UP, Snapshot()),
        ({"terminate": True, "task_state": "deleting"}, seen(), UP, Remove()),
        ({"terminate": True, "task_state": "deleting"}, None, DOWN, Forget()),
        (NEW | {"terminate": True, "host": None}, None, None, Forget()),
        ({}, seen(Power.OFF), UP, Notice({"power_state": 4, "vm_state": "stopped", "power": "off"})),
        ({}, seen(Power.CRASHED), UP, Notice({"power_state": 6, "vm_state": "stopped", "power": "off"})),
        ({}, seen(Power.PAUSED), UP, Notice({"power_state": 3, "vm_state": "paused"})),
        ({}, None, UP, GONE),
        ({"vm_state": "rescued"}, seen(), UP, Settled()),
        ({"vm_state": "shelved_offloaded", "host": None}, None, None, Settled()),
        ({"vm_state": "shelved_offloaded", "host": None, "task_state": "unshelving"}, None, None, Place()),
        ({"vm_state": "resized"}, seen(Power.OFF), UP, Notice({"power_state": 4})),
        ({"power": "suspended", "vm_state": "suspended", "power_state": 4}, seen(Power.SUSPENDED), UP, Settled()),
        ({}, seen(Power.SUSPENDED), UP, Notice({"power_state": 4, "vm_state": "suspended", "power": "suspended"})),
        (
            {"power": "suspended", "vm_state": "suspended", "power_state": 4},
            seen(),
            UP,
            Notice({"power_state": 1, "vm_state": "active", "power": "on"}),
        ),
        ({"vm_state": "stopped", "power": "off", "power_state": 4}, seen(Power.OFF), UP, Settled()),
        ({"vm_state": "stopped", "power": "off", "power_state": 4}, seen(Power.ON), UP, Apply()),  # the row holds
        ({"nics": [{"port_id": "p"}]}, seen(Power.ON, "p"), UP, Settled()),
        ({"nics": [{"port_id": "p"}]}, seen(), UP, Apply()),
        ({"nics": [{"port_id": "p", "gone": True}]}, seen(Power.ON, "p"), UP, Apply()),
        ({"vm_state": "error", "power_state": 1}, seen(Power.OFF), UP, Notice({"power_state": 4})),
        ({"vm_state": "error", "host": None, "power_state": 0}, None, None, Settled()),
        ({"power_state": 0}, seen(), UP, Notice({"power_state": 1})),  # the Host is back
    ],
)
def test_next_step(changes: dict[str, Any], machine: Seen | None, host: dict[str, Any] | None, step: object) -> None:
    assert plan(row(**changes), machine, host) == step


def host(name: str, **more: Any) -> dict[str, Any]:
    base = {"id": name, "name": name, "state": "up", "forced_down": False, "disabled": False, "disabled_reason": None,
            "zone": "nova", "facts": {"hostname": f"{name}.example"}, "reason": ""}  # fmt: skip
    return base | more


def room(used: int, capacity: int = 10) -> dict[str, dict[str, int]]:
    return {"VCPU": {"used": used, "capacity": capacity, "max_unit": 8, "total": 8}}


@pytest.mark.parametrize(
    ("wanted", "hosts", "refused"),
    [
        (Wanted({"VCPU": 1}), ["b", "a", "c"], {}),  # the emptiest first
        (
            Wanted({"VCPU": 6}),
            ["b"],
            {"a": "6 VCPU are wanted and 5 are free", "c": "6 VCPU are wanted and 1 are free"},
        ),
        (Wanted({"VCPU": 9}), [], dict.fromkeys("abc", "9 VCPU are wanted and it has 8 in all")),
        (Wanted({"VCPU": 1}, zone="z"), [], dict.fromkeys("abc", "it is in the zone nova, not z")),
        (Wanted({"VCPU": 1}, host="c.example"), ["c"], dict.fromkeys("ab", "another Host, c.example, was asked for")),
        (
            Wanted({"VCPU": 1}, near=frozenset("a")),
            ["a"],
            dict.fromkeys("bc", "the scheduler hints ask for another Host"),
        ),
        (
            Wanted({"VCPU": 1}, apart=frozenset("bc")),
            ["a"],
            dict.fromkeys("bc", "the scheduler hints ask not to share it"),
        ),
        (Wanted({"VCPU": 1}, avoid=frozenset("b")), ["a", "c"], {"b": "the server failed to build there before"}),
        (Wanted({"VCPU": 1}, burden={"b": 1}), ["a", "c", "b"], {}),
        (Wanted({"VCPU": 1}, burden={"c": -2}), ["c", "b", "a"], {}),
        (Wanted({"CUSTOM": 1}), [], dict.fromkeys("abc", "it has no CUSTOM")),
    ],
)
def test_choice(wanted: Wanted, hosts: list[str], refused: dict[str, str]) -> None:
    inventories: Any = {"a": room(5), "b": room(1), "c": room(9)}
    choice = choose([host(name) for name in "abc"], inventories, wanted)
    assert [one["name"] for one in choice.hosts] == hosts
    assert choice.refused == refused


def test_hosts_that_take_nothing() -> None:
    hosts = [host("a", state="down", reason="no route"), host("b", disabled=True, disabled_reason="fan"),
             host("c", forced_down=True)]  # fmt: skip
    inventories: Any = {name: room(0) for name in "abc"}
    choice = choose(hosts, inventories, Wanted({"VCPU": 1}))
    assert choice.why() == "a: it is down (no route); b: it is disabled (fan); c: it is down (no answer)"
    forced = choose(hosts, inventories, Wanted({"VCPU": 1}, host="b", forced=True))
    assert [one["name"] for one in forced.hosts] == ["b"]
    assert choose([], {}, Wanted({"VCPU": 1})).why() == "There is no Host at all."
