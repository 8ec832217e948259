"""The table state → step of a Node, and what the BMC is told."""

from typing import Any

import pytest

from hagane.baremetal.node_state import EDGES, LOCKED, WAITING
from hagane.drivers.bmc.base import BmcDesired, BmcSeen, Boot, BootDevice, BootMode, Parts, Power
from hagane.reconcile import node_plan
from hagane.reconcile.node_phase import PHASES


def row(state: str, **more: Any) -> dict[str, Any]:
    fake = {f"{name}_interface": "fake" for name in ("deploy", "inspect", "rescue")}
    base = {"driver": "redfish", "provision_state": state, "target_provision_state": None, "wanted": {}, "seen": {}, "power_state": None,
            "boot_mode": None, "automated_clean": None, "maintenance": False, "driver_internal_info": {}}  # fmt: skip
    return fake | base | more


@pytest.mark.parametrize("interface", ["fake", "direct", "agent"])
@pytest.mark.parametrize("state", sorted(EDGES))
def test_every_state_at_work_has_a_phase_and_no_other_has(state: str, interface: str) -> None:
    used = {f"{name}_interface": interface for name in ("deploy", "inspect", "rescue")}
    step = node_plan.step(row(state, **used))
    assert (step is not None) == (state in LOCKED or state in WAITING.values())
    if step is not None:
        assert step.phase == "" or step.phase in PHASES
        assert step.event == "" or step.event in EDGES[state]


@pytest.mark.parametrize("state", sorted(LOCKED))
@pytest.mark.parametrize("interface", ["fake", "direct"])
def test_from_phase_to_phase_to_an_end_that_the_state_machine_has(state: str, interface: str) -> None:
    now = row(state, **{f"{name}_interface": interface for name in ("deploy", "inspect", "rescue")})
    for phase in (*node_plan.path(now), ""):
        if event := node_plan.turn(now, phase):
            now = now | {"provision_state": EDGES[now["provision_state"]][event]}
        assert node_plan.turn(now, phase) == ""
    assert node_plan.done(now) in EDGES[now["provision_state"]]


def test_what_was_begun_in_a_state_of_failure_is_released() -> None:
    step = node_plan.step(row("deploy failed", seen={"life": {"kind": "deploy", "phase": "callback"}}))
    assert step is not None and step.kind == "release"
    assert node_plan.step(row("deploy failed")) is None


def test_who_begins_again_at_once_does_not_go_on_with_the_ramdisk_of_the_failure() -> None:
    life = {"kind": "deploy", "phase": "steps", "ramdisk": True}
    going_on = node_plan.step(row("deploying", deploy_interface="direct", seen={"life": life}))
    assert going_on is not None and (going_on.kind, going_on.phase) == ("deploy", "steps")
    again = node_plan.step(row("deploying", deploy_interface="direct", seen={"life": life | {"failed": True}}))
    assert again is not None and again.kind == "release"


def test_in_maintenance_nothing_that_is_waited_for_goes_on() -> None:
    assert node_plan.step(row("wait call-back", maintenance=True)) is None
    assert node_plan.step(row("deleting", maintenance=True)) is not None


def test_cleaning_is_left_out_only_where_it_is_switched_off() -> None:
    assert node_plan.path(row("cleaning", deploy_interface="direct", automated_clean=False)) == ()
    assert "steps" in node_plan.path(row("cleaning", deploy_interface="direct"))
    manual = row("cleaning", target_provision_state="manageable", automated_clean=False, deploy_interface="direct")
    assert "steps" in node_plan.path(manual) and node_plan.done(manual) == "manage"


@pytest.mark.parametrize(
    ("target", "desired"),
    [
        ("power on", [BmcDesired(Power.ON)]),
        ("power off", [BmcDesired(Power.OFF)]),
        ("rebooting", [BmcDesired(Power.ON, resets=1)]),
        ("soft power off", [BmcDesired(Power.OFF, soft=True, soft_seconds=9)]),
        ("soft rebooting", [BmcDesired(Power.OFF, soft=True, soft_seconds=9), BmcDesired(Power.ON)]),
    ],
)
def test_power(target: str, desired: list[BmcDesired]) -> None:
    assert node_plan.desired(row("active", wanted={"power": {"target": target, "timeout": 9}})) == desired


def test_boot_device_and_mode_come_before_power() -> None:
    wanted = {"boot_device": {"boot_device": "pxe", "persistent": False}, "boot_mode": "uefi",
              "power": {"target": "power on", "timeout": None}}  # fmt: skip
    first, second = node_plan.desired(row("manageable", wanted=wanted))
    assert first == BmcDesired(boot=Boot(BootDevice.PXE), arms=1, boot_mode=BootMode.UEFI)
    assert second == BmcDesired(Power.ON)


def test_seeing_the_same_twice_changes_nothing() -> None:
    seen = BmcSeen(Power.ON, Boot(BootDevice.DISK, persistent=True), BootMode.UEFI)
    before = row("active")
    changes = node_plan.seen(before, seen)
    assert changes["power_state"] == "power on"
    assert changes["seen"]["boot_device"] == {"boot_device": "disk", "persistent": True}
    assert node_plan.seen(before | changes, seen) == {}


def test_what_no_driver_can_do_is_said() -> None:
    wanted = {"boot_device": {"boot_device": "wanboot", "persistent": False}}
    assert "wanboot" in node_plan.unknown(row("manageable", wanted=wanted))
    assert node_plan.unknown(row("manageable", wanted={"boot_mode": "uefi"})) == ""


def test_firmware_keeps_the_version_that_was_seen_first() -> None:
    first = row("manageable") | node_plan.shown(row("manageable"), Parts(firmware={"BMC": "1"}), "t1")
    then = node_plan.shown(first, Parts(firmware={"BMC": "2"}, bios={"Boot": "x"}), "t2")["seen"]
    assert then["firmware"] == [{"component": "bmc", "initial_version": "1", "current_version": "2",
                                 "last_version_flashed": "2", "created_at": "t1", "updated_at": "t2"}]  # fmt: skip
    assert then["bios"] == [{"name": "Boot", "value": "x", "created_at": "t2", "updated_at": None}]
