"""Volumes as the API shows them, many at a time: types and attachments are one query each for a whole page."""

from typing import Any

from hagane.api.http import Request
from hagane.state.database import Reader, Row
from hagane.volume.attachment_row import ATTACHED, of_volumes
from hagane.volume.base import at, is_admin, links, target
from hagane.volume.type_row import names_of

_SHOWN_STATUS = {"managing": "creating", "error_managing": "error", "error_managing_deleting": "deleting"}


def summary(request: Request, row: Row) -> dict[str, Any]:
    return {"id": row["id"], "name": row["name"], "links": links(request, "volumes", row["id"])}


async def details(request: Request, reader: Reader, rows: list[Row], *, extended: bool = True) -> list[dict[str, Any]]:
    """`extended`: with what the extensions add to a shown volume, but not to one just made or changed."""
    types = await names_of(reader, (row["type_id"] for row in rows))
    attachments = await of_volumes(reader, [row["id"] for row in rows if row["attach_status"] == ATTACHED])
    found = []
    for row in rows:
        view = _plain(request, row, types.get(row["type_id"]), attachments.get(row["id"], []))
        _newer(request, view, row)
        if extended:
            _extended(request, view, row)
        found.append(view)
    return found


def _plain(request: Request, row: Row, type_name: str | None, attachments: list[Row]) -> dict[str, Any]:
    admin = is_admin(request)
    view = {
        "id": row["id"],
        "status": _SHOWN_STATUS.get(row["status"], row["status"]),
        "size": row["size"],
        "availability_zone": row["availability_zone"],
        "created_at": row["created_at"],
        "updated_at": row["updated_at"],
        "name": row["name"],
        "description": row["description"],
        "volume_type": type_name,
        "snapshot_id": row["snapshot_id"],
        "source_volid": row["source_volid"],
        "metadata": metadata(row),
        "links": links(request, "volumes", row["id"]),
        "user_id": row["user_id"],
        "bootable": "true" if row["bootable"] else "false",
        "encrypted": False,
        "replication_status": None,
        "consistencygroup_id": None,
        "multiattach": row["multiattach"],
        "attachments": [attached(request, entry) for entry in attachments if entry["attach_status"] == ATTACHED],
    }
    if admin:
        view["migration_status"] = row["migration_status"]
    return view


def attached(request: Request, row: Row) -> dict[str, Any]:
    """An attachment inside its volume. Only administrators and services learn the host."""
    return {
        "id": row["volume_id"],
        "attachment_id": row["id"],
        "volume_id": row["volume_id"],
        "server_id": row["instance_uuid"],
        "host_name": row["attached_host"] if is_admin(request) or "service" in request.caller.roles else None,
        "device": row["mountpoint"],
        "attached_at": row["attach_time"],
    }


def metadata(row: Row) -> dict[str, str]:
    """A volume's own metadata, and the two words about it that everybody may see."""
    hidden = row["admin_metadata"] or {}
    return (row["metadata"] or {}) | {name: hidden[name] for name in ("readonly", "attached_mode") if name in hidden}


def _newer(request: Request, view: dict[str, Any], row: Row) -> None:
    """What microversions added."""
    admin = is_admin(request)
    if at(request, 13):
        view["group_id"] = row["group_id"]
    if admin and at(request, 21):
        view["provider_id"] = None
    if at(request, 48):
        view["shared_targets"] = row["host"] is None or row["status"] == "creating"  # not known before
        view["service_uuid"] = None
    if admin and at(request, 61):
        view["cluster_name"] = None
    if at(request, 63):
        view["volume_type_id"] = row["type_id"]
    if at(request, 65):
        view["consumes_quota"] = True


def _extended(request: Request, view: dict[str, Any], row: Row) -> None:
    on = target(row)
    if request.allowed("volume_extension:volume_tenant_attribute", on):
        view["os-vol-tenant-attr:tenant_id"] = row["project_id"]
    if request.allowed("volume_extension:volume_host_attribute", on):
        view["os-vol-host-attr:host"] = row["host"]
    if request.allowed("volume_extension:volume_mig_status_attribute", on):
        view["os-vol-mig-status-attr:migstat"] = row["migration_status"]
        view["os-vol-mig-status-attr:name_id"] = None
    if row["image_metadata"] and request.allowed("volume_extension:volume_image_metadata:show", on):
        view["volume_image_metadata"] = row["image_metadata"]
