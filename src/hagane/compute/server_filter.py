"""Filters, order and extent of Server lists, executed by the store.

Names and the like are matched as regular expressions, as the real service does; see pattern.py for which.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from hagane.api.http import Request
from hagane.api.listing import Page
from hagane.compute import nic, query
from hagane.compute.base import api, at, need
from hagane.compute.pattern import condition
from hagane.compute.query import FALSE, TRUE, refused, whole
from hagane.compute.row import SERVER, special_tasks, states_of
from hagane.errors import Forbidden, Invalid
from hagane.state.table import Sql

_EVERYBODY = {"reservation_id", "name", "status", "image", "flavor", "ip", "changes-since", "all_tenants"}
_LATER = [
    (5, {"ip6"}), (26, {"tags", "tags-any", "not-tags", "not-tags-any"}), (66, {"changes-before"}), (73, {"locked"}),
    (83, {"availability_zone", "config_drive", "key_name", "created_at", "launched_at", "terminated_at",
          "power_state", "task_state", "vm_state", "progress", "user_id"}), (90, {"hostname"}),
]  # fmt: skip
_PAGING = {"limit", "marker", "sort_key", "sort_dir"}
_EQUAL = {"image": "image_id", "image_ref": "image_id", "flavor": "flavor_id", "host": "host", "node": "host",
          "user_id": "user_id", "uuid": "id", "reservation_id": "reservation_id", "vm_state": "vm_state",
          "task_state": "task_state", "key_name": "key_name", "availability_zone": "zone"}  # fmt: skip
_MATCH = {"name": "name", "display_name": "name", "description": "description", "display_description": "description",
          "hostname": "hostname", "access_ip_v4": "access_ipv4", "access_ip_v6": "access_ipv6",
          "created_at": "created_at", "launched_at": "launched_at"}  # fmt: skip
_NUMBER = {"power_state": "power_state", "launch_index": "launch_index", "progress": "progress"}
_JOINED = {"block_device_mapping", "services", "metadata", "system_metadata", "info_cache", "security_groups",
           "pci_devices"}  # fmt: skip
_KNOWN = _EVERYBODY.union(*(names for _, names in _LATER), _EQUAL, _MATCH, _NUMBER, _PAGING) | {
    "project_id", "tenant_id", "kernel_id", "ramdisk_id", "locked_by", "root_device_name", "auto_disk_config",
    "soft_deleted", "deleted",
}  # fmt: skip
_SORT = {
    "access_ip_v4": "access_ipv4", "access_ip_v6": "access_ipv6", "auto_disk_config": "disk_config",
    "availability_zone": "zone", "config_drive": "config_drive", "created_at": "created_at",
    "display_description": "description", "display_name": "name", "host": "host", "hostname": "hostname",
    "image_ref": "image_id", "instance_type_id": "flavor_id", "key_name": "key_name", "launch_index": "launch_index",
    "launched_at": "launched_at", "locked_by": "locked_by", "locked": "locked_by", "node": "host",
    "power_state": "power_state", "progress": "progress", "project_id": "project_id", "task_state": "task_state",
    "updated_at": "updated_at", "user_id": "user_id", "uuid": "id", "vm_state": "vm_state",
}  # fmt: skip
_SORT_IGNORED = {
    "architecture", "cell_name", "cleaned", "default_ephemeral_device", "default_swap_device", "deleted", "deleted_at",
    "disable_terminate", "ephemeral_gb", "ephemeral_key_uuid", "id", "key_data", "launched_on", "memory_mb",
    "os_type", "reservation_id", "root_gb", "shutdown_terminate", "user_data", "vcpus", "vm_mode", "kernel_id",
    "ramdisk_id", "root_device_name", "terminated_at",
}  # fmt: skip

Where = dict[str, Any]


def _allowed(request: Request) -> dict[str, str]:
    """The filters that this caller may use; others are ignored, or from 2.75 on refused when nobody knows them."""
    args = {name: text for name, text in request.query if name not in _PAGING}
    for name in args:
        if at(request, 75) and name not in _KNOWN and name not in _JOINED:
            raise Invalid(f"Additional properties are not allowed ('{name}' was unexpected)")
        if name in _JOINED or name.startswith("_"):
            raise Invalid(f"Invalid filter field: {name}.")
    if request.allowed(api("servers:allow_all_filters"), {}):
        return args
    known = _EVERYBODY.union(*(names for since, names in _LATER if at(request, since)))
    return {name: text for name, text in args.items() if name in known}


def conditions(request: Request, verb: str) -> tuple[Where, list[Sql]]:
    """What rows a list shows. Raises Invalid, Forbidden."""
    args = _allowed(request)
    where, more = _scope(request, args, verb), list[Sql]()
    for name, text in args.items():
        if name in _EQUAL and _EQUAL[name] not in where:
            where[_EQUAL[name]] = text
        elif name in _MATCH:
            more.append(condition(SERVER.name, _MATCH[name], text, request.cloud.db.dialect))
        elif name in _NUMBER:
            where[_NUMBER[name]] = _number(name, text)
        elif name in _SPECIAL:
            more.append(_SPECIAL[name](request, text))
    statuses = [text for name, text in request.query if name == "status"]
    if statuses:
        more.append(_status(request, statuses))
    _times(request, args, more)
    return where, [c for c in more if c.text]


def _scope(request: Request, args: dict[str, str], verb: str) -> Where:
    """The caller's own project, unless an administrator asks for all."""
    word = args.get("all_tenants")
    if word is not None and word != "" and word.lower() not in TRUE | FALSE:
        raise Invalid("Invalid value for all_tenants")
    if word is None or (word and word.lower() not in TRUE):
        return {"project_id": request.caller.project_id}
    need(request, api(f"servers:{verb}:get_all_tenants"))
    project = args.get("project_id") or args.get("tenant_id")
    return {"project_id": project} if project else {}


def _number(name: str, text: str) -> int:
    value = whole(text)
    if value is None:
        raise refused(name, text, "is not a number")
    return value


def _status(request: Request, statuses: list[str]) -> Sql:
    """Any of the statuses; an unknown one is nothing, or from 2.38 on an error."""
    pairs = [pair for status in statuses for pair in states_of(status)]
    if any(status.upper() == "DELETED" for status in statuses) and not pairs:
        if not request.caller.is_admin:
            raise Forbidden("Only administrators may list deleted instances")
        return Sql("1 = 0")  # a deleted Server leaves no row
    if not pairs:
        if at(request, 38):
            raise Invalid("Invalid status value")
        return Sql("1 = 0")
    texts, params = [], {}
    for number, (vm_state, task) in enumerate(pairs):
        params[f"vm_{number}"] = str(vm_state)
        text = f"server.vm_state = :vm_{number}"
        if task:
            params[f"task_{number}"] = task
            text += f" AND server.task_state = :task_{number}"
        elif others := special_tasks(vm_state):
            listed = ", ".join(f"'{other}'" for other in others)
            text += f" AND (server.task_state IS NULL OR server.task_state NOT IN ({listed}))"
        texts.append(f"({text})")
    return Sql(" OR ".join(texts), params)


def _times(request: Request, args: dict[str, str], more: list[Sql]) -> None:
    since, before = query.between(request)
    if since and "changes-since" in args:
        more.append(Sql("server.updated_at >= :changes_since", {"changes_since": since}))
    if before and "changes-before" in args:
        more.append(Sql("server.updated_at <= :changes_before", {"changes_before": before}))


def _tags(name: str) -> str:
    column = "server.tags"
    return f"(replace({column}, :tag_{name}, '') != {column} OR replace({column}, :tag1_{name}, '') != {column})"


def _by_tags(prefix: str, joiner: str, *, negate: bool) -> Callable[[Request, str], Sql]:
    """Tags are a JSON list in the row. A tag holds no comma, so `,"tag"` and `["tag"` are found in no other place."""

    def make(request: Request, text: str) -> Sql:
        params: dict[str, Any] = {}
        texts = []
        for number, tag in enumerate(text.split(",")):
            name, coded = f"{prefix}{number}", msgspec.json.encode(tag).decode()
            params |= {f"tag_{name}": "[" + coded, f"tag1_{name}": "," + coded}
            texts.append(_tags(name))
        joined = f" {joiner} ".join(texts)
        return Sql(f"NOT ({joined})" if negate else joined, params)

    return make


def _locked(request: Request, text: str) -> Sql:
    if text.lower() not in TRUE | FALSE:
        raise Invalid(f"Unrecognized value '{text}', acceptable values are: '0', '1', 'f', 'false', 'n', 'no', 'off', "
                      "'on', 't', 'true', 'y', 'yes'")  # fmt: skip
    return Sql(f"server.locked_by IS {'NOT ' if text.lower() in TRUE else ''}NULL")


def _drive(request: Request, text: str) -> Sql:
    return Sql("server.config_drive = :drive", {"drive": int(text.lower() in TRUE)})


def _deleted(request: Request, text: str) -> Sql:
    return Sql("1 = 0" if text.lower() in TRUE else "")


def _ip(version: int) -> Callable[[Request, str], Sql]:
    def make(request: Request, text: str) -> Sql:
        return nic.with_address(text, version, request.cloud.db.dialect)

    return make


_SPECIAL: dict[str, Callable[[Request, str], Sql]] = {
    "tags": _by_tags("a", "AND", negate=False), "tags-any": _by_tags("b", "OR", negate=False),
    "not-tags": _by_tags("c", "AND", negate=True), "not-tags-any": _by_tags("d", "OR", negate=True),
    "locked": _locked, "config_drive": _drive, "deleted": _deleted, "soft_deleted": _deleted,
    "ip": _ip(4), "ip6": _ip(6),
}  # fmt: skip


def page(request: Request) -> Page:
    """Order and extent: newest first by default. Raises Invalid, Forbidden."""
    limit = query.limit(request)
    keys = [value for name, value in request.query if name == "sort_key"]
    ways = [value for name, value in request.query if name == "sort_dir"]
    sorts: list[tuple[str, bool]] = []
    for number, key in enumerate(keys or ["created_at"]):
        way = ways[number] if number < len(ways) else "desc"
        if key in _SORT_IGNORED:
            continue
        if key not in _SORT:
            raise Invalid(
                f"Invalid input for query parameters sort_key. Value: {key}. {key!r} is not one of {sorted(_SORT)}"
            )
        if key in ("host", "node") and not request.caller.is_admin:
            raise Forbidden(f"Only administrators can sort servers by {key}")
        if way not in ("asc", "desc"):
            raise Invalid(f"Unknown sort direction, must be 'desc' or 'asc': {way}")
        sorts.append((_SORT[key], way == "desc"))
    for column in ("created_at", "id"):
        if column not in [name for name, _ in sorts]:
            sorts.append((column, True))
    return Page(limit, request.args.get("marker") or None, sorts)
