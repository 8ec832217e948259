"""What an inspection found, brought into the Node: properties, Nics that were unknown, and the Link of each by LLDP."""

import re
from typing import Any
from uuid import uuid4

from hagane.baremetal.lldp import link_of
from hagane.baremetal.nic import Nics
from hagane.baremetal.node_row import INVENTORY
from hagane.baremetal.rack import RACK, switches_of
from hagane.drivers.bmc.base import BmcSeen
from hagane.errors import DeviceFailed
from hagane.reconcile import node_rules
from hagane.reconcile.node_job import Job
from hagane.state import clock
from hagane.state.database import Row, Tx

MAC = re.compile(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}")


async def by_bmc(job: Job, seen: BmcSeen) -> None:
    """What the BMC alone knows."""
    who = seen.identity
    vendor = {"manufacturer": who.vendor, "product_name": who.model, "serial_number": who.serial} if who else {}
    nics = [{"mac_address": mac} for mac in who.macs] if who else []
    found = {
        "system_vendor": vendor, "boot": {"current_boot_mode": seen.boot_mode.value if seen.boot_mode else None},
        "interfaces": nics,
    }  # fmt: skip

    async def work(tx: Tx) -> None:
        await INVENTORY.delete(tx, {"node_id": job.id})
        await INVENTORY.insert(tx, {"node_id": job.id, "inventory": found, "plugin_data": {}})
        await _nics(tx, job.id, nics, {}, boots="")

    await job.tools.db.write(work)
    await node_rules.apply(job, found, {})


async def by_ramdisk(job: Job) -> None:
    """What the ramdisk sent (it is in the inventory already). Raises DeviceFailed when a Nic is another Node's."""
    stored = await INVENTORY.get(job.tools.db, node_id=job.id)
    inventory: dict[str, Any] = (stored or {}).get("inventory") or {}
    more: dict[str, Any] = (stored or {}).get("plugin_data") or {}
    if more.get("error"):
        raise DeviceFailed(f"The ramdisk could not inspect the machine: {more['error']}")
    lldp: dict[str, Any] = more.get("lldp_raw") or {}
    nics = inventory.get("interfaces") or []
    boots = str((inventory.get("boot") or {}).get("pxe_interface") or "").lower().replace("-", ":")
    boots = boots[3:] if len(boots) == 20 else boots  # BOOTIF begins with the kind of hardware
    count = await job.tools.db.write(lambda tx: _nics(tx, job.id, nics, lldp, boots=boots))
    job.changes["properties"] = {**(job.row["properties"] or {}), **properties(inventory)}
    mode = (inventory.get("boot") or {}).get("current_boot_mode")
    if mode in ("bios", "uefi"):
        job.changes["boot_mode"] = mode
    job.finish("inspect", f"{len(nics)} Nics, of which {count} were new")
    await node_rules.apply(job, inventory, more)


def properties(inventory: dict[str, Any]) -> dict[str, Any]:
    """CPUs, memory and disk in the words of the real service; what was not found is left out."""
    cpu, memory = inventory.get("cpu") or {}, inventory.get("memory") or {}
    disks = [int(disk.get("size") or 0) for disk in inventory.get("disks") or []]
    found = {"cpus": cpu.get("count"), "cpu_arch": cpu.get("architecture"), "memory_mb": memory.get("physical_mb")}
    if disks:
        # The root disk is the smallest one that is large enough; one GiB stays free for the partition table.
        fit = sorted(size for size in disks if size >= 4 << 30) or sorted(disks, reverse=True)
        found["local_gb"] = max(0, (fit[0] >> 30) - 1)
    return {name: value for name, value in found.items() if value}


async def _nics(tx: Tx, node_id: str, found: list[dict[str, Any]], lldp: dict[str, Any], *, boots: str) -> int:
    """Make the Nics that were unknown, and write each one's Link; returns how many were new."""
    new = 0
    links = {mac: link_of(nic.get("lldp") or lldp.get(str(nic.get("name"))) or []) for nic in found
             if MAC.fullmatch(mac := str(nic["mac_address"]).lower())}  # fmt: skip
    # What is left out is InfiniBand, or has no address at all: nothing that boots from an Ethernet.
    known = {row["address"]: row for row in await Nics.table.select(tx, {"address": list(links)})} if links else {}
    places = await _places(tx, links)
    for mac, link in links.items():
        place, row = places[mac], known.get(mac)
        if row is None:
            new += 1
            await Nics.table.insert(tx, _new(node_id, mac, link, pxe=not boots or mac == boots) | place)
        elif row["node_id"] != node_id:
            raise DeviceFailed(f"The Nic {mac} was found here, but it is enrolled as one of node {row['node_id']}.")
        else:
            changes: Row = {"link": (row["link"] or {}) | link, **place} if link else {}
            changes |= {"pxe_enabled": mac == boots} if boots else {}
            if changes:
                await Nics.table.update(tx, {"id": row["id"]}, changes | {"updated_at": clock.now()})
    return new


async def _places(tx: Tx, links: dict[str, Row]) -> dict[str, Row]:
    """By MAC: the physical network of the rack whose switch LLDP named."""
    switches = await switches_of(tx, list(links.values()))
    ids = sorted({switch["rack_id"] for switch in switches if switch})
    racks = {row["id"]: row["physical_network"] for row in await RACK.select(tx, {"id": ids})} if ids else {}
    return {mac: {"physical_network": racks[switch["rack_id"]]} if switch and switch["rack_id"] in racks else {}
            for mac, switch in zip(links, switches, strict=True)}  # fmt: skip


def _new(node_id: str, mac: str, link: Row, *, pxe: bool) -> Row:
    return {
        "id": str(uuid4()), "created_at": clock.now(), "address": mac, "extra": {}, "internal_info": {},
        "is_smartnic": False, "link": link, "node_id": node_id, "pxe_enabled": pxe,
        "available_for_dynamic_portgroup": True,
    }  # fmt: skip
