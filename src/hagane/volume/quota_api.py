"""/os-quota-sets, /os-quota-class-sets and /limits: the numbers of quota.py over HTTP."""

from collections.abc import Sequence
from typing import Any

from hagane.api.http import Request, Response, empty, json_response
from hagane.api.service import Route
from hagane.api.types import BadValue, Custom, Obj
from hagane.cloud import Cloud
from hagane.errors import Invalid
from hagane.state.database import Reader, Tx
from hagane.volume import quota
from hagane.volume.base import at, body_of, both, invalid, is_admin, need, own
from hagane.volume.kinds import yes
from hagane.volume.quota import CLASS, DEFAULTS, LIMIT
from hagane.volume.type_row import TYPE

_RULE = "volume_extension:quotas:"
_ABSOLUTE = {"volumes": "maxTotalVolumes", "gigabytes": "maxTotalVolumeGigabytes", "snapshots": "maxTotalSnapshots",
             "backups": "maxTotalBackups", "backup_gigabytes": "maxTotalBackupGigabytes"}  # fmt: skip
_USED = {"volumes": "totalVolumesUsed", "gigabytes": "totalGigabytesUsed", "snapshots": "totalSnapshotsUsed",
         "backups": "totalBackupsUsed", "backup_gigabytes": "totalBackupGigabytesUsed"}  # fmt: skip


def _number(field: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise BadValue(field, value, f"{value!r} is not of type 'integer', 'string'")
    name, text = field.rpartition(".")[2], str(value).removeprefix("-")
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise Invalid(f"{name} must be an integer", code="BadLimit")
    number = int(value)
    if number < -1:
        raise Invalid(f"{name} must be >= -1", code="BadLimit")
    if number > 2147483647:
        raise Invalid(f"{name} must be <= 2147483647", code="BadLimit")
    return number


def _set(field: str, value: Any) -> dict[str, int]:
    if not isinstance(value, dict):
        raise BadValue(field, value, f"{value!r} is not of type 'object'")
    return {name: _number(f"{field}.{name}", number) for name, number in value.items() if name != "tenant_id"}


_SET = Custom(rule=_set, json_schema={"type": "object", "additionalProperties": {"type": ["integer", "string"]}})
_BODY = Obj(fields={"quota_set": _SET}, required=("quota_set",))
_CLASS_BODY = Obj(fields={"quota_class_set": _SET}, required=("quota_class_set",))


async def _types(reader: Reader) -> list[str]:
    return [row["name"] for row in await TYPE.select(reader, columns=("name",), order="name")]


class Quotas:
    """All three."""

    def __init__(self, cloud: Cloud) -> None:
        self.db = cloud.db

    async def _known(self, reader: Reader, body: dict[str, int], noun: str) -> None:
        """Raises Invalid for a resource that nobody counts."""
        known = await quota.limits_of(reader, CLASS, await _types(reader))
        bad = [name for name in body if name not in known]
        if bad:
            raise invalid(f"Bad key(s) in {noun} set: {', '.join(bad)}")

    async def show(self, request: Request) -> Response:
        project = request.params["id"]
        need(request, _RULE + "show", {"project_id": project})
        limits = await quota.limits_of(self.db, project, await _types(self.db))
        if not yes(request.args.get("usage"), "usage"):
            return json_response(200, {"quota_set": limits | {"id": project}})
        used = await quota.usage_of(self.db, project)
        views: dict[str, Any] = {
            name: {"limit": limit, "in_use": used.get(name, 0), "reserved": 0} for name, limit in limits.items()
        }
        return json_response(200, {"quota_set": views | {"id": project}})

    async def defaults(self, request: Request) -> Response:
        project = request.params["id"]
        need(request, _RULE + "show", {"project_id": project})
        limits = await quota.limits_of(self.db, CLASS, await _types(self.db))
        return json_response(200, {"quota_set": limits | {"id": project}})

    async def update(self, request: Request) -> Response:
        body, project = (await body_of(request, _BODY))["quota_set"], request.params["id"]
        need(request, _RULE + "update", {"project_id": project})

        async def work(tx: Tx) -> dict[str, int]:
            await self._known(tx, body, "quota")
            used = await quota.usage_of(tx, project)
            for name, limit in body.items():
                if name != "per_volume_gigabytes" and limit != -1 and limit < used.get(name, 0):
                    raise Invalid(f"Quota {name} limit must be equal or greater than existing resources. Current usage"
                                  f" is {used[name]} and the requested limit is {limit}.", code="InUse")  # fmt: skip
            await _store(tx, project, body)
            return await quota.limits_of(tx, project, await _types(tx))

        return json_response(200, {"quota_set": await self.db.write(work)})

    async def delete(self, request: Request) -> Response:
        project = request.params["id"]
        need(request, _RULE + "delete", {"project_id": project})
        await self.db.write(lambda tx: LIMIT.delete(tx, {"project_id": project}))
        return empty(200)

    async def _class(self, reader: Reader, name: str) -> dict[str, int]:
        """Only the class `default` is anybody's; another has its own numbers, for whoever reads them."""
        found = dict(DEFAULTS) | {f"{res}_{kind}": -1 for kind in await _types(reader) for res in quota.PER_TYPE}
        rows = await LIMIT.select(reader, {"project_id": f"class:{name}"})
        return found | {row["resource"]: row["hard_limit"] for row in rows}

    async def show_class(self, request: Request) -> Response:
        need(request, "volume_extension:quota_classes:get")
        name = request.params["id"]
        return json_response(200, {"quota_class_set": await self._class(self.db, name) | {"id": name}})

    async def update_class(self, request: Request) -> Response:
        body, name = (await body_of(request, _CLASS_BODY))["quota_class_set"], request.params["id"]
        need(request, "volume_extension:quota_classes:update")

        async def work(tx: Tx) -> dict[str, int]:
            await self._known(tx, body, "quota class")
            await _store(tx, f"class:{name}", body)
            return await self._class(tx, name)

        return json_response(200, {"quota_class_set": await self.db.write(work)})

    async def limits(self, request: Request) -> Response:
        project = request.caller.project_id or ""
        if is_admin(request) and at(request, 39):
            project = request.args.get("project_id", request.args.get("tenant_id", project))
        limits = await quota.limits_of(self.db, project)
        absolute = {label: limits[name] for name, label in _ABSOLUTE.items()}
        if request.allowed("limits_extension:used_limits", own(request)):
            used = await quota.usage_of(self.db, project)
            absolute |= {label: used.get(name, 0) for name, label in _USED.items()}
        return json_response(200, {"limits": {"rate": [], "absolute": absolute}})

    def routes(self) -> Sequence[Route]:
        one, classes, rule = "/os-quota-sets/{id}", "/os-quota-class-sets/{id}", "volume_extension:quota_classes:"
        return [
            *both("GET", one, self.show, "volume_quota:show", rule=_RULE + "show"),
            *both("GET", one + "/defaults", self.defaults, "volume_quota:defaults", rule=_RULE + "show"),
            *both("PUT", one, self.update, "volume_quota:update", rule=_RULE + "update", body=_BODY),
            *both("DELETE", one, self.delete, "volume_quota:delete", rule=_RULE + "delete"),
            *both("GET", classes, self.show_class, "volume_quota_class:show", rule=rule + "get"),
            *both("PUT", classes, self.update_class, "volume_quota_class:update", rule=rule + "update",
                  body=_CLASS_BODY),
            *both("GET", "/limits", self.limits, "volume_limits:list"),
        ]  # fmt: skip


async def _store(tx: Tx, project: str, body: dict[str, int]) -> None:
    for name, limit in body.items():
        key = {"project_id": project, "resource": name}
        if not await LIMIT.update(tx, key, {"hard_limit": limit}):
            await LIMIT.insert(tx, key | {"hard_limit": limit})
