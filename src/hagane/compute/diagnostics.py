"""/servers/{id}/diagnostics: what a machine has, for administrators. What its Host is not asked for is null.

https://docs.openstack.org/api-ref/compute/#show-server-diagnostics
"""

from typing import Any

from hagane.api.http import Request, Response, json_response
from hagane.api.service import Route
from hagane.cloud import Cloud
from hagane.compute import device, nic
from hagane.compute.base import V21, api, at, need
from hagane.compute.row import VmState
from hagane.compute.server import find
from hagane.errors import Conflict
from hagane.placement.host import HOST
from hagane.state import clock
from hagane.state.database import Row

PATH = V21 + "/servers/{id}/diagnostics"
_STATES = {0: "pending", 1: "running", 3: "paused", 4: "shutdown", 6: "crashed", 7: "suspended"}
_NIC = ("rx_octets", "rx_errors", "rx_drop", "rx_packets", "rx_rate", "tx_octets", "tx_errors", "tx_drop", "tx_packets",
        "tx_rate")  # fmt: skip


_DISK = ("read_bytes", "read_requests", "write_bytes", "write_requests", "errors_count")


def routes(cloud: Cloud) -> list[Route]:
    async def show(request: Request) -> Response:
        row = await find(cloud.db, request)
        need(request, api("os-server-diagnostics"), row)
        if not row["host"] or row["vm_state"] not in (VmState.ACTIVE, VmState.PAUSED, VmState.SUSPENDED):
            raise Conflict(f"Cannot 'get_diagnostics' instance {row['id']} while it is in vm_state {row['vm_state']}",
                           code="InstanceInvalidState")  # fmt: skip
        ports = (await nic.ports_of(cloud.db, [row])).get(row["id"], [])
        if not at(request, 48):
            return json_response(200, _older(row, ports))
        host = await HOST.get(cloud.db, name=row["host"])
        return json_response(200, _view(row, ports, (host or {}).get("facts") or {}))

    return [Route("GET", PATH, show, "server:diagnostics", rule=api("os-server-diagnostics"))]


def _older(row: Row, ports: list[Row]) -> dict[str, Any]:
    """As libvirt's names were, from what is known of the machine."""
    return {"memory": row["flavor"]["ram"] * 1024, "vcpus": row["flavor"]["vcpus"], "nics": len(ports)}


def _view(row: Row, ports: list[Row], facts: dict[str, Any]) -> dict[str, Any]:
    cpus, disks = row["flavor"]["vcpus"], _disks(row)
    return {
        "state": _STATES.get(row["power_state"], "pending"), "driver": "ironic" if row["node_id"] else "libvirt",
        "hypervisor": facts.get("kind"), "hypervisor_os": None, "uptime": _uptime(row),
        "config_drive": bool(row["config_drive"]), "num_cpus": cpus, "num_nics": len(ports), "num_disks": disks,
        "cpu_details": [{"id": number, "time": None, "utilisation": None} for number in range(cpus)],
        "nic_details": [{"mac_address": port["mac_address"]} | dict.fromkeys(_NIC) for port in ports],
        "disk_details": [dict.fromkeys(_DISK) for _ in range(disks)],
        "memory_details": {"maximum": row["flavor"]["ram"], "used": None},
    }  # fmt: skip


def _disks(row: Row) -> int:
    """The root, the Host's blank ones, and volumes that are not on their way out."""
    others = [one for one in device.volumes(row) if not one.get("gone") and one is not device.root(row)]
    return 1 + len(device.ephemerals(row)) + bool(device.swap(row)) + len(others)


def _uptime(row: Row) -> int | None:
    """Seconds since its machine was made; null for one that does not run."""
    if row["vm_state"] != VmState.ACTIVE or not row["launched_at"]:
        return None
    return max(0, int((clock.utc(clock.now()) - clock.utc(row["launched_at"])).total_seconds()))
