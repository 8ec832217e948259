"""A Server's row as its owner sees it, in every microversion. Closed: a key that a version does not know is not there.

Everything that is looked up (addresses, security groups, zones of Hosts) is looked up for a whole page at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hagane.api.http import Request
from hagane.compute import device, nic
from hagane.compute.base import api, at, bookmark, links
from hagane.compute.row import VmState, host_id, status_of
from hagane.placement.host import DEFAULT_ZONE, HOST, is_up
from hagane.state import clock
from hagane.state.database import Reader, Row

PROGRESS = frozenset({"ACTIVE", "BUILD", "REBUILD"})
ATTR = "OS-EXT-SRV-ATTR:"


@dataclass
class Around:
    """What a page of Servers needs beside its rows."""

    addresses: dict[str, dict[str, list[dict[str, Any]]]] = field(default_factory=dict)
    groups: dict[str, list[str]] = field(default_factory=dict)
    hosts: dict[str, Row] = field(default_factory=dict)


async def gather(reader: Reader, rows: Sequence[Row], *, groups: bool = True) -> Around:
    """Look up what the page needs: a fixed number of queries, whatever its length."""
    around = Around()
    if not rows:
        return around
    with_nics = [row for row in rows if row["nics"]]
    if with_nics:
        around.addresses = await nic.addresses(reader, with_nics)
        if groups:
            around.groups = await nic.group_names(reader, with_nics)
    names = {row["host"] for row in rows if row["host"]}
    if names:
        around.hosts = {host["name"]: host for host in await HOST.select(reader, {"name": sorted(names)})}
    return around


def brief(request: Request, row: Row) -> dict[str, Any]:
    return {"id": row["id"], "name": row["name"], "links": links(request, "servers", row["id"])}


class View:
    """Answers for one request: what the caller may see is asked once, not per Server."""

    def __init__(self, request: Request) -> None:
        self.request = request
        project = {"project_id": request.caller.project_id}
        self.extended = request.allowed(api("os-extended-server-attributes"), project)
        self.specs = at(request, 47) and request.allowed(api("servers:show:flavor-extra-specs"), project)
        self.host_status = at(request, 16) and request.allowed(api("servers:show:host_status"), project)

    def full(self, row: Row, around: Around, *, one: bool = True, rebuilt: bool = False) -> dict[str, Any]:
        """GET of one Server (`one`) or of one among many; and from 2.75 on PUT and rebuild."""
        request = self.request
        view = self.common(row, around, macs=True)
        host = around.hosts.get(row["host"])
        view["OS-EXT-AZ:availability_zone"] = zone_of(row, host)
        view["config_drive"] = "True" if row["config_drive"] else ""
        view["key_name"] = row["key_name"]
        view["OS-SRV-USG:launched_at"] = row["launched_at"]
        view["OS-SRV-USG:terminated_at"] = None
        if groups := self._groups(row, around):
            view["security_groups"] = groups
        if self.extended:
            view |= self._attributes(row, host, rebuilt=rebuilt)
        view["OS-EXT-STS:task_state"] = row["task_state"]
        view["OS-EXT-STS:vm_state"] = row["vm_state"]
        view["OS-EXT-STS:power_state"] = row["power_state"]
        view["os-extended-volumes:volumes_attached"] = self._volumes(row)
        if self.host_status:
            view["host_status"] = "UP" if row["node_id"] else _host_status(host)
        if one and at(request, 71):
            view["server_groups"] = [row["group_id"]] if row["group_id"] else []
        if at(request, 90) and not self.extended:
            view[ATTR + "hostname"] = row["hostname"]
        if at(request, 96):
            view["pinned_availability_zone"] = row["zone"]
        if at(request, 100):
            hints = row["hints"] or {}
            view["scheduler_hints"] = {key: one if isinstance(one, list) else [one] for key, one in hints.items()}
        return view

    def common(self, row: Row, around: Around, *, macs: bool) -> dict[str, Any]:
        """What every form of a Server has; PUT and rebuild have no more before 2.75."""
        request, status = self.request, status_of(row)
        view: dict[str, Any] = {
            "id": row["id"],
            "name": row["name"],
            "status": status,
            "tenant_id": row["project_id"],
            "user_id": row["user_id"],
            "metadata": row["metadata"],
            "hostId": host_id(row),
            "image": self._image(row),
            "flavor": self._flavor(row),
            "created": clock.iso_z(row["created_at"]),
            "updated": clock.iso_z(row["updated_at"]),
            "links": links(request, "servers", row["id"]),
            "addresses": _addresses(row, around, macs=macs),
            "accessIPv4": row["access_ipv4"] or "",
            "accessIPv6": row["access_ipv6"] or "",
            "OS-DCF:diskConfig": row["disk_config"],
        }
        if status in PROGRESS:
            view["progress"] = row["progress"] or 0
        if status == "ERROR" and row["fault"]:
            view["fault"] = self._fault(row["fault"])
        return view | self._later(row)

    def _later(self, row: Row) -> dict[str, Any]:
        """What was added to every form over time."""
        request = self.request
        view: dict[str, Any] = {}
        if at(request, 9):
            view["locked"] = bool(row["locked_by"])
        if at(request, 19):
            view["description"] = row["description"]
        if at(request, 26):
            view["tags"] = row["tags"]
        if at(request, 63):
            view["trusted_image_certificates"] = None
        if at(request, 73):
            view["locked_reason"] = row["locked_reason"]
        return view

    def _image(self, row: Row) -> Any:
        if not row["image_id"]:
            return ""
        view: dict[str, Any] = {"id": row["image_id"], "links": bookmark(self.request, "images", row["image_id"])}
        if at(self.request, 98):
            view["properties"] = row["image_properties"] or {}
        return view

    def _volumes(self, row: Row) -> list[dict[str, Any]]:
        found = [one for one in device.volumes(row) if one["volume_id"]]
        if not at(self.request, 3):
            return [{"id": one["volume_id"]} for one in found]
        return [{"id": one["volume_id"], "delete_on_termination": one["delete"]} for one in found]

    def _flavor(self, row: Row) -> dict[str, Any]:
        flavor = row["flavor"]
        if not at(self.request, 47):
            return {"id": flavor["id"], "links": bookmark(self.request, "flavors", flavor["id"])}
        view = {name: flavor[name] for name in ("vcpus", "ram", "disk", "ephemeral", "swap")}
        view["original_name"] = flavor["name"]
        if self.specs:
            view["extra_specs"] = flavor["extra_specs"]
        return view

    def _fault(self, fault: dict[str, Any]) -> dict[str, Any]:
        view = {"code": fault["code"], "created": clock.iso_z(fault["created"]), "message": fault["message"]}
        if fault["details"] and (self.request.caller.is_admin or fault["code"] != 500):
            view["details"] = fault["details"]
        return view

    def _groups(self, row: Row, around: Around) -> list[dict[str, str]]:
        names = around.groups.get(row["id"])
        if names is None and row["vm_state"] == VmState.BUILDING:
            names = row["security_groups"] or []
        return [{"name": name} for name in names or []]

    def _attributes(self, row: Row, host: Row | None, *, rebuilt: bool) -> dict[str, Any]:
        """The administrator's view of a Server."""
        facts = (host["facts"] if host else None) or {}
        view = {
            ATTR + "host": row["host"],
            ATTR + "instance_name": f"instance-{row['id'][:8]}",
            ATTR + "hypervisor_hostname": facts.get("hostname", row["node_id"] or row["host"]),
        }
        if at(self.request, 3):
            view |= {
                ATTR + "hostname": row["hostname"],
                ATTR + "kernel_id": "",
                ATTR + "launch_index": row["launch_index"],
                ATTR + "ramdisk_id": "",
                ATTR + "reservation_id": row["reservation_id"],
                ATTR + "root_device_name": device.root_name(row),
            }
            if not rebuilt:
                view[ATTR + "user_data"] = row["user_data"]
        return view


def zone_of(row: Row, host: Row | None) -> str:
    """The zone where a Server is, or is wanted. Nodes are all in the default one."""
    if row["node_id"]:
        return DEFAULT_ZONE
    return (host["zone"] or DEFAULT_ZONE) if host else row["zone"] or ""


def _host_status(host: Row | None) -> str:
    """UP, MAINTENANCE (disabled), DOWN; nothing without a Host."""
    if host is None:
        return ""
    if not is_up(host):
        return "DOWN"
    return "MAINTENANCE" if host["disabled"] else "UP"


def _addresses(row: Row, around: Around, *, macs: bool) -> dict[str, list[dict[str, Any]]]:
    """network name -> addresses; hidden while the Server is built, as the real service does."""
    if row["vm_state"] == VmState.BUILDING:
        return {}
    found = around.addresses.get(row["id"], {})
    if macs:
        return found
    return {name: [{"version": a["version"], "addr": a["addr"]} for a in those] for name, those in found.items()}
