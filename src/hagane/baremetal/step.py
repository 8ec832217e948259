"""Steps of deploying, cleaning and servicing, as requests, deploy templates and runbooks name them."""

from collections.abc import Sequence
from typing import Any

from hagane.errors import Invalid

INTERFACES = ("vendor", "power", "management", "firmware", "bios", "raid", "deploy", "network", "inspect")
EXTRA = ("execute_on_child_nodes", "limit_child_node_execution")


def check_steps(name: str, steps: Any, *, needs: Sequence[str], schema: bool = False) -> list[dict[str, Any]]:
    """The steps, if each names an interface and a step and has nothing unknown. Raises Invalid."""

    def bad(reason: str) -> Invalid:
        return Invalid(f"Schema error for {name}: {reason}" if schema else f"Invalid {name}: {steps}. Error: {reason}")

    if not isinstance(steps, list):
        raise bad(f"{steps!r} is not of type 'array'")
    if not steps:
        raise bad("[] should be non-empty")
    allowed = {"interface", "step", "args", "priority", "order", *EXTRA}
    if "priority" in needs:
        allowed -= {"order", *EXTRA}
    seen: set[tuple[Any, Any]] = set()
    for step in steps:
        reason = _wrong(step, needs, allowed)
        if reason:
            raise bad(reason)
        key = (step["interface"], step["step"])
        if key in seen and "priority" in needs:
            raise Invalid(f"Duplicate deploy steps for {name}. Deploy step: interface {key[0]}, step {key[1]}.")
        seen.add(key)
    return steps


def _wrong(step: Any, needs: Sequence[str], allowed: set[str]) -> str:
    if not isinstance(step, dict):
        return f"{step!r} is not of type 'object'"
    for name in needs:
        if name not in step:
            return f"{name!r} is a required property"
    if unknown := [name for name in step if name not in allowed]:
        listed = ", ".join(repr(name) for name in unknown)
        return f"Additional properties are not allowed ({listed} {'was' if len(unknown) == 1 else 'were'} unexpected)"
    if step["interface"] not in INTERFACES:
        return f"{step['interface']!r} is not one of {list(INTERFACES)}"
    if not isinstance(step["step"], str) or not step["step"]:
        return f"{step['step']!r} is not of type 'string'" if step["step"] != "" else "'' should be non-empty"
    if not isinstance(step.get("args", {}), dict):
        return f"{step['args']!r} is not of type 'object'"
    for name in ("priority", "order"):
        value = step.get(name, 0)
        if isinstance(value, bool) or not str(value).isdigit():
            return f"{value!r} is not valid under any of the given schemas"
    return ""
