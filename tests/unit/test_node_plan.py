"""The table state → step of a Node, and what the BMC is told."""

from typing import Any

import pytest

from hagane.baremetal.node_state import EDGES, LOCKED
from hagane.drivers.bmc.base import BmcDesired, BmcSeen, Boot, BootDevice, BootMode, Power
from hagane.reconcile import node_plan


def row(state: str, **more: Any) -> dict[str, Any]:
    fake = {f"{name}_interface": "fake" for name in ("deploy", "inspect", "rescue")}
    base = {"provision_state": state, "target_provision_state": None, "wanted": {}, "seen": {}, "power_state": None,
            "boot_mode": None, "automated_clean": None}  # fmt: skip
    return fake | base | more


@pytest.mark.parametrize("state", sorted(EDGES))
def test_every_state_at_work_has_a_step_and_no_other_has(state: str) -> None:
    step = node_plan.step(row(state))
    assert (step is not None) == (state in LOCKED)
    if step is not None:
        assert step.event in EDGES[state]


@pytest.mark.parametrize("state", ["deploying", "cleaning", "inspecting", "rescuing", "servicing"])
def test_without_a_driver_a_step_fails_with_the_reason(state: str) -> None:
    real = {"deploy_interface": "direct", "inspect_interface": "agent", "rescue_interface": "agent"}
    step = node_plan.step(row(state, **real))
    assert step is not None and step.event == "fail" and "There is no" in step.refused
    assert "fail" in EDGES[state]


def test_cleaning_is_left_out_only_where_it_is_switched_off() -> None:
    step = node_plan.step(row("cleaning", deploy_interface="direct", automated_clean=False))
    assert step is not None and step.event == "done"
    manual = node_plan.step(row("cleaning", target_provision_state="manageable"))
    assert manual is not None and manual.event == "manage"


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
    assert "secure boot" in node_plan.unknown(row("manageable", wanted={"secure_boot": True}))
    assert node_plan.unknown(row("manageable", wanted={"boot_mode": "uefi"})) == ""
