"""What a flavor asks of a bare-metal Node: its resource class, its traits, its capabilities. Pure functions.

resources:CUSTOM_BM_SMALL=1    a whole Node of the resource class "bm.small" (written in placement's alphabet)
trait:CUSTOM_X=required        a trait that the Node must have; =forbidden: must not have
capabilities:boot_mode=uefi    told to the Node with the deployment, as the real service does
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hagane.errors import Invalid

_RESOURCE = "resources:CUSTOM_"
_CAPABILITY = "capabilities:"


@dataclass(frozen=True, slots=True)
class NodeWish:
    """A Node of this class (in placement's words) with, and without, these traits."""

    resource_class: str
    required: frozenset[str] = frozenset()
    forbidden: frozenset[str] = frozenset()


def wish_of(flavor: Mapping[str, Any]) -> NodeWish | None:
    """What a flavor asks of a Node; None: it is one for Hosts."""
    specs: Mapping[str, str] = flavor.get("extra_specs") or {}
    classes = sorted(key.partition(":")[2] for key, value in specs.items() if key.startswith(_RESOURCE)
                     and str(value).strip() not in ("", "0"))  # fmt: skip
    if not classes:
        return None
    traits = {key.partition(":")[2]: value for key, value in specs.items() if key.startswith("trait:")}
    return NodeWish(
        classes[0],
        frozenset(name for name, value in traits.items() if value == "required"),
        frozenset(name for name, value in traits.items() if value == "forbidden"),
    )


def check(flavor: Mapping[str, Any]) -> None:
    """A flavor for Nodes asks for one whole Node. Raises Invalid."""
    asked = {key.partition(":")[2]: str(value).strip() for key, value in (flavor.get("extra_specs") or {}).items()
             if key.startswith(_RESOURCE)}  # fmt: skip
    wanted = {name: amount for name, amount in asked.items() if amount not in ("", "0")}
    if len(wanted) > 1 or any(amount != "1" for amount in wanted.values()):
        listed = ", ".join(f"{name}={amount}" for name, amount in sorted(wanted.items()))
        raise Invalid(f"A server is one whole bare-metal node: a flavor asks for one resource class, once, not for "
                      f"{listed}.")  # fmt: skip


def capabilities(flavor: Mapping[str, Any]) -> dict[str, str]:
    """What the Node is told to be able to do: the real service's `instance_info.capabilities`."""
    specs: Mapping[str, str] = flavor.get("extra_specs") or {}
    return {key.removeprefix(_CAPABILITY): value for key, value in specs.items() if key.startswith(_CAPABILITY)}
