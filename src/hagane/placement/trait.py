"""Traits: what a Host can do, in the words of os-traits. They follow from what it is; nobody sets them.

Resource classes: what a Host has. Three, fixed; and each bare-metal Node is one of a class of its operator's.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from hagane.state.database import Row

CLASSES = ("VCPU", "MEMORY_MB", "DISK_GB")
_ALWAYS = ("COMPUTE_IMAGE_TYPE_QCOW2", "COMPUTE_IMAGE_TYPE_RAW", "COMPUTE_NET_ATTACH_INTERFACE", "COMPUTE_NODE")
DISABLED = "COMPUTE_STATUS_DISABLED"
TRAITS = (*_ALWAYS, DISABLED)


@dataclass(frozen=True)
class Vocabulary:
    """The names that mean something here: the fixed ones, and those of what there is."""

    classes: tuple[str, ...] = CLASSES
    traits: tuple[str, ...] = TRAITS

    @classmethod
    def of(cls, hosts: Iterable[Row], inventories: Mapping[str, Iterable[str]]) -> "Vocabulary":
        classes = dict.fromkeys([*CLASSES, *(name for inventory in inventories.values() for name in inventory)])
        traits = dict.fromkeys([*TRAITS, *(trait for host in hosts for trait in host.get("traits", ()))])
        return cls(tuple(classes), tuple(traits))


def traits_of(host: Row) -> list[str]:
    if "traits" in host:  # it says itself: a bare-metal Node
        return list(host["traits"])
    return [*_ALWAYS, DISABLED] if host["disabled"] else list(_ALWAYS)
