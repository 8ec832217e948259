"""Security groups under the compute API (until 2.35): /os-security-groups and /os-security-group-rules.

A group has only rules for what comes in here, and ports of -1 mean all of a protocol. Which groups a Server has is told
in all microversions.

https://docs.openstack.org/api-ref/compute/#security-groups-os-security-groups-deprecated
"""

from ipaddress import ip_network
from typing import Any

from hagane.api.http import Request, Response, empty, json_response
from hagane.api.service import Route
from hagane.api.types import is_uuid
from hagane.cloud import Cloud
from hagane.compute import query
from hagane.compute.base import V21, api, need, object_of
from hagane.compute.proxy import LAST, NETWORK, ask, ports_of
from hagane.compute.server import find
from hagane.errors import Invalid

GROUPS, RULES = V21 + "/os-security-groups", V21 + "/os-security-group-rules"
_THEIRS = f"{NETWORK}/security-groups"
ANYWHERE = {4: "0.0.0.0/0", 6: "::/0"}


class SecurityGroups:
    """The handlers."""

    def __init__(self, cloud: Cloud) -> None:
        self.db = cloud.db

    async def index(self, request: Request) -> Response:
        need(request, api("os-security-groups:get"))
        every = request.args.get("all_tenants") and request.allowed("context_is_admin", {})
        mine = {} if every else {"project_id": request.caller.project_id or ""}
        found = (await ask(request, "GET", _THEIRS, **mine))["security_groups"]
        found.sort(key=lambda group: (group["project_id"], group["name"]))
        shown = query.window(request, found)
        return json_response(200, {"security_groups": await self._views(request, shown, found if every else None)})

    async def show(self, request: Request) -> Response:
        need(request, api("os-security-groups:show"))
        return await self._one(request, await ask(request, "GET", _path(request)))

    async def create(self, request: Request) -> Response:
        need(request, api("os-security-groups:create"))
        return await self._one(request, await ask(request, "POST", _THEIRS, await _body(request)))

    async def update(self, request: Request) -> Response:
        need(request, api("os-security-groups:update"))
        return await self._one(request, await ask(request, "PUT", _path(request), await _body(request)))

    async def delete(self, request: Request) -> Response:
        need(request, api("os-security-groups:delete"))
        await ask(request, "DELETE", _path(request))
        return empty(202)

    async def of_server(self, request: Request) -> Response:
        """The groups of a Server's Ports, each once."""
        row = await find(self.db, request)
        need(request, api("os-security-groups:list"), row)
        ports = await ports_of(request, row)
        ids = {group for port in ports for group in port["security_groups"]}
        found = (await ask(request, "GET", _THEIRS))["security_groups"] if ids else []
        mine = [group for group in found if group["id"] in ids]
        return json_response(200, {"security_groups": await self._views(request, mine, found)})

    async def _one(self, request: Request, answer: Any) -> Response:
        views = await self._views(request, [answer["security_group"]])
        return json_response(200, {"security_group": views[0]})

    async def _views(
        self, request: Request, groups: list[dict[str, Any]], known: list[dict[str, Any]] | None = None
    ) -> list[dict[str, Any]]:
        """`known`: all groups that the caller may see, where they were asked for already."""
        remote = {rule["remote_group_id"] for group in groups for rule in group["security_group_rules"]} - {None}
        if remote and known is None:
            known = (await ask(request, "GET", _THEIRS))["security_groups"]
        there = {group["id"]: group for group in known or ()}
        return [_view(group, there) for group in groups]

    async def create_rule(self, request: Request) -> Response:
        need(request, api("os-security-groups:rule:create"))
        wanted = object_of(await request.json(), "security_group_rule")
        made = (await ask(request, "POST", f"{NETWORK}/security-group-rules", _theirs(wanted)))["security_group_rule"]
        there = {}
        if made["remote_group_id"]:
            group = (await ask(request, "GET", f"{_THEIRS}/{made['remote_group_id']}"))["security_group"]
            there = {group["id"]: group}
        return json_response(200, {"security_group_rule": _rule(made, there)})

    async def delete_rule(self, request: Request) -> Response:
        need(request, api("os-security-groups:rule:delete"))
        await ask(request, "DELETE", f"{NETWORK}/security-group-rules/{_id(request.params['id'])}")
        return empty(202)

    def routes(self) -> list[Route]:
        one, rule = GROUPS + "/{id}", "os-security-groups"
        return [
            Route("GET", GROUPS, self.index, "security_group:list", rule=api(f"{rule}:get"), until=LAST),
            Route("POST", GROUPS, self.create, "security_group:create", rule=api(f"{rule}:create"), until=LAST),
            Route("GET", one, self.show, "security_group:show", rule=api(f"{rule}:show"), until=LAST),
            Route("PUT", one, self.update, "security_group:update", rule=api(f"{rule}:update"), until=LAST),
            Route("DELETE", one, self.delete, "security_group:delete", rule=api(f"{rule}:delete"), status=202,
                  until=LAST),
            Route("POST", RULES, self.create_rule, "security_group_rule:create", rule=api(f"{rule}:rule:create"),
                  until=LAST),
            Route("DELETE", RULES + "/{id}", self.delete_rule, "security_group_rule:delete",
                  rule=api(f"{rule}:rule:delete"), status=202, until=LAST),
            Route("GET", V21 + "/servers/{id}/os-security-groups", self.of_server, "server:security_groups",
                  rule=api(f"{rule}:list")),
        ]  # fmt: skip


def _path(request: Request) -> str:
    return f"{_THEIRS}/{_id(request.params['id'])}"


def _id(value: Any) -> str:
    if not isinstance(value, str) or not is_uuid(value):
        raise Invalid(f"Security group id {value} is not a uuid", code="BadId")
    return value


async def _body(request: Request) -> dict[str, Any]:
    """Name and description, both of which must be there."""
    given = object_of(await request.json(), "security_group")
    wanted = {}
    for name in ("name", "description"):
        if not isinstance(given.get(name), str):
            raise Invalid(f"Security group {name} is not a string or unicode")
        wanted[name] = given[name]
        if len(wanted[name].strip()) > 255:
            raise Invalid(f"Security group {name} should not be greater than 255 characters.")
    if not wanted["name"].strip():
        raise Invalid("Security group name cannot be empty.")
    return {"security_group": wanted}


def _theirs(wanted: dict[str, Any]) -> dict[str, Any]:
    """A rule in the network API's words. Raises Invalid."""
    protocol = wanted.get("ip_protocol")
    rule = {"direction": "ingress", "security_group_id": _id(wanted.get("parent_group_id")),
            "protocol": protocol.lower() if isinstance(protocol, str) else protocol}  # fmt: skip
    for name, theirs in (("from_port", "port_range_min"), ("to_port", "port_range_max")):
        value = wanted.get(name)
        number = value if value is None or isinstance(value, int) else _number(value)
        rule[theirs] = None if number == -1 else number
    if wanted.get("group_id") is not None:
        return {"security_group_rule": rule | {"remote_group_id": _id(wanted["group_id"]), "ethertype": "IPv4"}}
    prefix = wanted.get("cidr") or ANYWHERE[4]
    version = _version(prefix)
    return {"security_group_rule": rule | {"remote_ip_prefix": prefix, "ethertype": f"IPv{version}"}}


def _number(value: Any) -> int:
    try:
        return int(str(value))
    except ValueError as error:
        raise Invalid("Input could not be converted to int.") from error


def _version(prefix: Any) -> int:
    try:
        return ip_network(prefix, strict=False).version
    except ValueError as error:
        raise Invalid(f"Invalid cidr {prefix}") from error


def _view(group: dict[str, Any], there: dict[str, Any]) -> dict[str, Any]:
    rules = [
        _rule(rule, there)
        for rule in group["security_group_rules"]
        if rule["direction"] == "ingress" and (not rule["remote_group_id"] or rule["remote_group_id"] in there)
    ]
    return {"id": group["id"], "name": group["name"], "description": group["description"],
            "tenant_id": group["project_id"], "rules": rules}  # fmt: skip


def _rule(rule: dict[str, Any], there: dict[str, Any]) -> dict[str, Any]:
    low, high = rule["port_range_min"], rule["port_range_max"]
    if rule["protocol"] and low is None and high is None:
        low, high = (1, 65535) if rule["protocol"].upper() in ("TCP", "UDP") else (-1, -1)
    view = {"id": rule["id"], "parent_group_id": rule["security_group_id"], "ip_protocol": rule["protocol"],
            "from_port": low, "to_port": high, "group": {}, "ip_range": {}}  # fmt: skip
    if rule["remote_group_id"]:
        group = there[rule["remote_group_id"]]
        return view | {"group": {"name": group["name"], "tenant_id": group["project_id"]}}
    version = 6 if rule["ethertype"] == "IPv6" else 4
    return view | {"ip_range": {"cidr": rule["remote_ip_prefix"] or ANYWHERE[version]}}
