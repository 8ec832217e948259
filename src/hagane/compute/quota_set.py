"""Quotas over HTTP: /os-quota-sets, /os-quota-class-sets and /limits. The numbers are quota.py's."""

from typing import Any

from hagane.api.http import Request, Response, empty, json_response
from hagane.api.service import Route
from hagane.api.types import Obj, Type
from hagane.cloud import Cloud
from hagane.compute.base import V21, api, at, need
from hagane.compute.keypair import KEYPAIR
from hagane.compute.kinds import BOOLEAN, Count
from hagane.compute.quota import CLASS, DEFAULTS, LIMIT, limits_of, usage_of
from hagane.compute.server_group import GROUP
from hagane.errors import Forbidden, Invalid
from hagane.state.database import Reader, Tx

PATH, CLASSES, LIMITS = V21 + "/os-quota-sets/{id}", V21 + "/os-quota-class-sets/{id}", V21 + "/limits"
_NETWORK = ("fixed_ips", "floating_ips", "security_groups", "security_group_rules")
_FILES = ("injected_files", "injected_file_content_bytes", "injected_file_path_bytes")
_GROUPS = ("server_groups", "server_group_members")
_ABSOLUTE = {
    "ram": ["maxTotalRAMSize"], "instances": ["maxTotalInstances"], "cores": ["maxTotalCores"],
    "key_pairs": ["maxTotalKeypairs"], "floating_ips": ["maxTotalFloatingIps"],
    "metadata_items": ["maxServerMeta", "maxImageMeta"], "injected_files": ["maxPersonality"],
    "injected_file_content_bytes": ["maxPersonalitySize"], "security_groups": ["maxSecurityGroups"],
    "security_group_rules": ["maxSecurityGroupRules"], "server_groups": ["maxServerGroups"],
    "server_group_members": ["maxServerGroupMembers"],
}  # fmt: skip
_USED = {"ram": "totalRAMUsed", "cores": "totalCoresUsed", "instances": "totalInstancesUsed",
         "floating_ips": "totalFloatingIpsUsed", "security_groups": "totalSecurityGroupsUsed",
         "server_groups": "totalServerGroupsUsed"}  # fmt: skip


def shown(request: Request) -> list[str]:
    """The resources that a microversion knows."""
    hidden: set[str] = set()
    if at(request, 36):
        hidden.update(_NETWORK)
    if at(request, 57):
        hidden.update(_FILES)
    return [name for name in DEFAULTS if name not in hidden]


def shown_of_class(request: Request) -> list[str]:
    """As `shown`, for classes, which changed later: groups came and the network's went with 2.50."""
    hidden = set(_NETWORK) if at(request, 50) else set(_GROUPS)
    if at(request, 57):
        hidden.update(_FILES)
    return [name for name in DEFAULTS if name not in hidden]


def _limit(version_names: list[str]) -> dict[str, Type]:
    return {name: Count(min=-1) for name in version_names}


async def used_of(reader: Reader, project_id: str, user_id: str) -> dict[str, int]:
    """What a project has of everything that is counted here."""
    used = dict.fromkeys(DEFAULTS, 0) | await usage_of(reader, project_id)
    used["server_groups"] = await GROUP.count(reader, {"project_id": project_id})
    used["key_pairs"] = await KEYPAIR.count(reader, {"user_id": user_id}) if user_id else 0
    return used


class QuotaSets:
    """/os-quota-sets/{project}."""

    def __init__(self, cloud: Cloud) -> None:
        self.db = cloud.db

    async def show(self, request: Request) -> Response:
        project = request.params["id"]
        need(request, api("os-quota-sets:show"), {"project_id": project})
        limits = await limits_of(self.db, project, request.args.get("user_id", ""))
        return json_response(200, {"quota_set": {"id": project} | _pick(request, limits)})

    async def detail(self, request: Request) -> Response:
        project, user = request.params["id"], request.args.get("user_id", "")
        need(request, api("os-quota-sets:detail"), {"project_id": project})
        limits, used = await limits_of(self.db, project, user), await used_of(self.db, project, user)
        views = {name: {"limit": limits[name], "in_use": used[name], "reserved": 0} for name in shown(request)}
        return json_response(200, {"quota_set": {"id": project} | views})

    async def defaults(self, request: Request) -> Response:
        project = request.params["id"]
        need(request, api("os-quota-sets:defaults"), {"project_id": project})
        limits = await limits_of(self.db, CLASS)
        return json_response(200, {"quota_set": {"id": project} | _pick(request, limits)})

    async def update(self, request: Request) -> Response:
        project, user = request.params["id"], request.args.get("user_id", "")
        need(request, api("os-quota-sets:update"), {"project_id": project})
        kind = Obj(fields=_limit(shown(request)) | {"force": BOOLEAN, "tenant_id": Type(nullable=True)})
        body = Obj(fields={"quota_set": kind}, required=("quota_set",)).check("", await request.json())["quota_set"]
        force = bool(body.pop("force", False))
        body.pop("tenant_id", None)

        async def write(tx: Tx) -> dict[str, int]:
            used = await used_of(tx, project, user)
            for name, value in body.items():
                if not force and 0 <= value < used[name]:
                    raise Invalid(f"Quota limit {value} for {name} must be greater than or equal to already used and "
                                  f"reserved {used[name]}.")  # fmt: skip
                await _store(tx, project, user, name, value)
            return await limits_of(tx, project, user)

        return json_response(200, {"quota_set": _pick(request, await self.db.write(write))})

    async def delete(self, request: Request) -> Response:
        project, user = request.params["id"], request.args.get("user_id")
        need(request, api("os-quota-sets:delete"), {"project_id": project})
        where: dict[str, Any] = {"project_id": project} | ({"user_id": user} if user else {})
        await self.db.write(lambda tx: LIMIT.delete(tx, where))
        return empty(202)

    async def show_class(self, request: Request) -> Response:
        need(request, api("os-quota-class-sets:show"), {})
        limits = await self._class(request)
        view = {name: limits[name] for name in shown_of_class(request)}
        return json_response(200, {"quota_class_set": {"id": request.params["id"]} | view})

    async def _class(self, request: Request) -> dict[str, int]:
        """Only the class `default` means anything; any other has what the service ships."""
        return await limits_of(self.db, CLASS) if request.params["id"] == "default" else dict(DEFAULTS)

    async def update_class(self, request: Request) -> Response:
        need(request, api("os-quota-class-sets:update"), {})
        if request.params["id"] != "default":
            raise Forbidden("Only the quota class 'default' can be changed.")
        kind = Obj(fields=_limit(shown_of_class(request)))
        body = Obj(fields={"quota_class_set": kind}, required=("quota_class_set",)).check("", await request.json())

        async def write(tx: Tx) -> None:
            for name, value in body["quota_class_set"].items():
                await _store(tx, CLASS, "", name, value)

        await self.db.write(write)
        limits = await self._class(request)
        view = {name: limits[name] for name in shown_of_class(request)}
        return json_response(200, {"quota_class_set": view})

    async def limits(self, request: Request) -> Response:
        need(request, api("limits"), {})
        project = request.caller.project_id or ""
        if "tenant_id" in request.args:
            project = request.args["tenant_id"]
            need(request, api("limits:other_project"), {})
        limits, used = await limits_of(self.db, project), await used_of(self.db, project, "")
        absolute: dict[str, int] = {}
        for name in shown(request):
            for label in _ABSOLUTE.get(name, ()):
                if label != "maxImageMeta" or not at(request, 39):
                    absolute[label] = limits[name]
            if name in _USED:
                absolute[_USED[name]] = used[name]
        return json_response(200, {"limits": {"rate": [], "absolute": absolute}})

    def routes(self) -> list[Route]:
        rule = "os-quota-sets"
        return [
            Route("GET", PATH, self.show, "quota_set:show", rule=api(f"{rule}:show")),
            Route("GET", PATH + "/detail", self.detail, "quota_set:detail", rule=api(f"{rule}:detail")),
            Route("GET", PATH + "/defaults", self.defaults, "quota_set:defaults", rule=api(f"{rule}:defaults")),
            Route("PUT", PATH, self.update, "quota_set:update", rule=api(f"{rule}:update")),
            Route("DELETE", PATH, self.delete, "quota_set:delete", rule=api(f"{rule}:delete"), status=202),
            Route("GET", CLASSES, self.show_class, "quota_class:show", rule=api("os-quota-class-sets:show")),
            Route("PUT", CLASSES, self.update_class, "quota_class:update", rule=api("os-quota-class-sets:update")),
            Route("GET", LIMITS, self.limits, "limits:list", rule=api("limits")),
        ]


def _pick(request: Request, limits: dict[str, int]) -> dict[str, int]:
    return {name: limits[name] for name in shown(request)}


async def _store(tx: Tx, project: str, user: str, name: str, value: int) -> None:
    key = {"project_id": project, "user_id": user, "resource": name}
    if not await LIMIT.update(tx, key, {"hard_limit": value}):
        await LIMIT.insert(tx, key | {"hard_limit": value})
