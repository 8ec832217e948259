"""Booting a Node from a volume: who does, with which of its Nics, and as whom. Rows and words of the bare-metal API.

    storage_interface cinder + volume target with boot_index 0 + no image_source  ─▶  the Node boots from that volume
    the first Nic that may boot (pxe_enabled) and carries no tenant's Port        ─▶  carries its Port for storage
    volume connector of type iqn, else a name made of the Node's id               ─▶  its name as an initiator

Pure; rows are read and written by san_target.py.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from hagane.baremetal.node_row import UNPLUGGED
from hagane.state.database import Row

INTERFACE = "cinder"
MARK = "boot_from_volume"
"""In driver_internal_info: the target that the machine is started from. The real service's key."""
CAPABLE = ("redfish-virtual-media", "ipxe", "http-ipxe")
"""Boot interfaces that can: some iPXE runs, which logs in to the volume's server."""
_IQN = "iqn.2026-01.org.hagane:node:"


def root(node: Mapping[str, Any], found: Sequence[Row]) -> Row | None:
    """The target that a deployment of this Node boots from; None: it writes an image to a disk. With an image it
    does so whatever targets there are, as in the real service."""
    if node["storage_interface"] != INTERFACE or (node["instance_info"] or {}).get("image_source"):
        return None
    return next((one for one in found if one["boot_index"] == 0), None)


def started(node: Mapping[str, Any]) -> bool:
    """Whether the Node is one that was deployed to boot from a volume."""
    return bool((node["driver_internal_info"] or {}).get(MARK))


def lack(node: Mapping[str, Any], found: Sequence[Row]) -> str:
    """Why a Node that has targets cannot be started from its volume, in words; "" if it can."""
    if node["storage_interface"] != INTERFACE or not found:
        return ""
    if missing := next((one for one in found if not one["volume_id"]), None):
        return f"volume_id missing from target {missing['id']}."
    boot = root(node, found)
    if boot is None:
        return ""
    if boot["volume_type"].lower() != "iscsi":
        return f"Volume type {boot['volume_type']} of target {boot['id']} is not supported; iscsi is."
    if node["deploy_interface"] == "fake":
        return f"The deploy interface of node {node['id']} is fake: it starts from nothing."
    if len(found) > 1:
        return f"Node {node['id']} has {len(found)} volume targets; a machine is given the one that it boots from only."
    if node["driver"] == "fake-hardware" and node["network_interface"] in UNPLUGGED:
        return ""
    if not capable(node):
        return f"Node {node['id']} has an iSCSI boot volume, but no iSCSI boot support (capability iscsi_boot)."
    if node["network_interface"] in UNPLUGGED:
        used = node["network_interface"]
        return f"Node {node['id']} has the network interface {used}: nothing would lead it to its volume."
    if node["boot_interface"] not in CAPABLE:
        return (f"The boot interface {node['boot_interface']} cannot boot from an iSCSI volume; those that can: "
                f"{', '.join(CAPABLE)}.")  # fmt: skip
    return ""


def capable(node: Mapping[str, Any]) -> bool:
    """`properties/capabilities` says iscsi_boot:true."""
    text = str((node["properties"] or {}).get("capabilities") or "")
    said = dict(part.strip().partition(":")[::2] for part in text.split(","))
    return said.get("iscsi_boot", "").strip().lower() in ("true", "1", "yes")


def initiator(node: Mapping[str, Any], known: Sequence[Row]) -> str:
    """The name by which the Node is let in to its volume."""
    said = next((one["connector_id"] for one in known if one["type"] == "iqn"), None)
    return str(said or f"{_IQN}{node['id']}")


def nic(nics: Sequence[Row], taken: Collection[str | None] = ()) -> Row | None:
    """The Nic that storage comes by: the first that boots, has a Link, and is not taken. `nics` in their order."""
    fit = [one for one in nics if one["pxe_enabled"] and not one["group_id"] and one["id"] not in taken]
    return next((one for one in fit if (one["link"] or {}).get("port_id")), fit[0] if fit else None)


def no_nic(node: Mapping[str, Any]) -> str:
    return (f"Node {node['name'] or node['id']} has no Nic left to reach its volume by: each that boots (pxe_enabled) "
            "carries a tenant's Port.")  # fmt: skip
