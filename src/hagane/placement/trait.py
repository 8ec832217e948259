"""Traits: what a Host can do, in the words of os-traits. They follow from what it is; nobody sets them.

Resource classes: what a Host has. Three, fixed.
"""

from hagane.state.database import Row

CLASSES = ("VCPU", "MEMORY_MB", "DISK_GB")
_ALWAYS = ("COMPUTE_IMAGE_TYPE_QCOW2", "COMPUTE_IMAGE_TYPE_RAW", "COMPUTE_NET_ATTACH_INTERFACE", "COMPUTE_NODE")
DISABLED = "COMPUTE_STATUS_DISABLED"
TRAITS = (*_ALWAYS, DISABLED)


def traits_of(host: Row) -> list[str]:
    return [*_ALWAYS, DISABLED] if host["disabled"] else list(_ALWAYS)
