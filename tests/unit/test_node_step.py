"""Which steps a Node takes, and in which order."""

from typing import Any

import pytest

from hagane.baremetal import node_step
from hagane.errors import Invalid


def _step(name: str, priority: int = 0, interface: str = "deploy", **args: Any) -> dict[str, Any]:
    return {"interface": interface, "step": name, "priority": priority, "args": args}


def _names(steps: list[dict[str, Any]]) -> list[str]:
    return [step["step"] for step in steps]


def test_a_ramdisk_does_not_take_the_image_away() -> None:
    """The agent offers `write_image` with priority 0; a deployment without an image would leave an empty disk."""
    steps = node_step.deploying([_step("write_image"), _step("erase_devices_metadata")], [], [])
    assert _names(steps) == ["write_image", "prepare_instance_boot"]


def test_templates_and_requests_add_and_reorder() -> None:
    ramdisk = [_step("write_image"), _step("apply_bios", 0, "bios"), _step("erase_devices_metadata")]
    asked = [_step("erase_devices_metadata", 95), _step("apply_bios", 90, "bios", settings=[1])]
    steps = node_step.deploying(ramdisk, asked[:1], asked[1:])
    assert _names(steps) == ["erase_devices_metadata", "apply_bios", "write_image", "prepare_instance_boot"]
    assert steps[1]["args"] == {"settings": [1]}


def test_a_step_that_nobody_has_is_refused() -> None:
    with pytest.raises(Invalid, match="no deploy step 'polish'"):
        node_step.deploying([], [_step("polish", 10)], [])


def test_cleaning_without_erasing_is_refused() -> None:
    with pytest.raises(Invalid, match="cannot be given to another"):
        node_step.cleaning([_step("update_firmware", 50, "management")])
