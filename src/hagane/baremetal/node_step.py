"""Which steps a Node takes, and in which order: pure functions over what the ramdisk, templates and requests name.

Steps of deploying and automated cleaning have priorities: the highest first, 0 is left out. A deploy template or a
request may change an offered step's priority and arguments, or add one. Manual cleaning and servicing take what the
request names, in its order.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from hagane.errors import Invalid

Step = dict[str, Any]
RESERVED = ("hold", "wait", "power_on", "power_off", "reboot")
"""Steps that no interface has: the cloud itself takes them."""

ORDER = {name: place for place, name in enumerate(
    ("power", "management", "deploy", "firmware", "bios", "raid", "network", "vendor", "inspect"))}  # fmt: skip
"""Of steps of one priority."""

WRITE = {"interface": "deploy", "step": "write_image", "priority": 80, "args": {}}
PREPARE = {"interface": "deploy", "step": "prepare_instance_boot", "priority": 60, "args": {}}
CORE: tuple[Step, ...] = (WRITE, PREPARE)
"""What every deployment does: the image, and what its disk needs to start by itself."""

BIOS: tuple[Step, ...] = (
    {"interface": "bios", "step": "apply_configuration", "priority": 0, "args": {}},
    {"interface": "bios", "step": "factory_reset", "priority": 0, "args": {}},
)
"""What the BMC does by itself, where a Node's `bios_interface` has settings (reconcile/node_bios.py)."""

ERASE = ("erase_devices", "erase_devices_metadata", "erase_devices_express")


def offered(found: Mapping[str, Iterable[Mapping[str, Any]]]) -> list[Step]:
    """The ramdisk's steps; of one that several hardware managers have, the one that comes first in priority."""
    best: dict[tuple[str, str], Step] = {}
    for steps in found.values():
        for entry in steps:
            step = dict(entry)
            key = (str(step.get("interface")), str(step.get("step")))
            if key not in best or _priority(step) > _priority(best[key]):
                best[key] = step
    return list(best.values())


def of_bmc(bios_interface: str | None) -> list[Step]:
    """The steps that need no ramdisk."""
    return [] if (bios_interface or "no-bios") == "no-bios" else [dict(step) for step in BIOS]


def is_bmcs(step: Step, bios_interface: str | None) -> bool:
    """Whether a step is one of those."""
    return _key(step) in {_key(one) for one in of_bmc(bios_interface)}


def deploying(ramdisk: list[Step], templates: Iterable[Step], asked: Iterable[Step]) -> list[Step]:
    """The steps of a deployment. Raises Invalid for one that nobody has.

    A ramdisk offers `write_image` too, with priority 0: ours shadows it, as in the real service.
    """
    known = {_key(step): dict(step) for step in (*ramdisk, *CORE)}
    for step in (*templates, *asked):
        if step["step"] not in RESERVED and _key(step) not in known:
            raise Invalid(f"There is no deploy step {step['step']!r} of the interface {step['interface']!r}: neither "
                          "the ramdisk nor a driver of this Node has it.")  # fmt: skip
        before = known.get(_key(step), {})
        known[_key(step)] = before | dict(step) | {"args": (before.get("args") or {}) | (step.get("args") or {})}
    return ordered(known.values())


def cleaning(ramdisk: list[Step], override: Mapping[str, int]) -> list[Step]:
    """The steps of automated cleaning; `override`: "interface.step" -> the priority that the operator wants it to have.
    Raises Invalid when none of them erases anything."""
    steps = ordered(
        step | {"priority": override.get(f"{step['interface']}.{step['step']}", _priority(step))} for step in ramdisk
    )
    if not any(step["step"] in ERASE for step in steps):
        raise Invalid("The ramdisk offers no step that erases the disks, so the Node cannot be given to another "
                      "tenant.")  # fmt: skip
    return steps


def manual(asked: list[Step], ramdisk: list[Step], kind: str) -> list[Step]:
    """The steps of a request, completed by what the ramdisk says of them. Raises Invalid for one that nobody has."""
    known = {_key(step): step for step in ramdisk}
    for step in asked:
        if step["step"] not in RESERVED and _key(step) not in known:
            raise Invalid(f"There is no {kind} step {step['step']!r} of the interface {step['interface']!r}: neither "
                          "the ramdisk nor a driver of this Node has it.")  # fmt: skip
    return [{**known.get(_key(step), {}), **step} for step in asked]


def ordered(steps: Iterable[Step]) -> list[Step]:
    chosen = [dict(step) for step in steps if _priority(step) > 0]
    return sorted(chosen, key=lambda step: (-_priority(step), ORDER.get(str(step.get("interface")), 99)))


def _key(step: Mapping[str, Any]) -> tuple[str, str]:
    return str(step["interface"]), str(step["step"])


def _priority(step: Mapping[str, Any]) -> int:
    return int(step.get("priority") or 0)
