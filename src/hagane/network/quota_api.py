"""Quotas: the limits of a project, what they would be by default, and how much of each is used."""

from collections.abc import Callable
from typing import Any

from hagane.api.http import Request, Response, empty, json_response
from hagane.api.policy import Policy
from hagane.api.service import Route
from hagane.cloud import Cloud
from hagane.network import quota
from hagane.network.attr import ROOT
from hagane.network.errors import bad_request, error
from hagane.network.value import Whole
from hagane.state.database import Tx

_LIMIT = Whole()


class Quotas:
    """/quotas: not a resource with ids of its own, but one object per project."""

    def __init__(self, cloud: Cloud, policy: Policy) -> None:
        self._db, self._policy = cloud.db, policy

    def routes(self) -> list[Route]:
        root = f"{ROOT}/quotas"
        one = root + "/{id}"
        known: list[tuple[str, str, Callable[[Request], Any], str, int]] = [
            ("GET", root, self.index, "get_quota", 200),
            ("GET", f"{root}/tenant", self.tenant, "", 200),
            ("GET", f"{root}/project", self.project, "", 200),
            ("GET", one, self.show, "get_quota", 200),
            ("GET", one + "/default", self.default, "get_quota", 200),
            ("GET", one + "/default.json", self.default, "get_quota", 200),
            ("GET", one + "/details", self.details, "get_quota", 200),
            ("GET", one + "/details.json", self.details, "get_quota", 200),
            ("PUT", one, self.update, "update_quota", 200),
            ("DELETE", one, self.reset, "delete_quota", 204),
        ]
        return [
            Route(method, path, handler, f"quota:{handler.__name__}", rule=rule, status=status)
            for method, path, handler, rule, status in known
        ]

    def _may(self, request: Request, rule: str) -> None:
        self._policy.enforce(rule, request.caller.creds, {"project_id": request.caller.project_id})

    def _may_read(self, request: Request) -> str:
        """The project of the path: one's own, or any for administrators."""
        project = request.params["id"]
        if project != request.caller.project_id:
            self._may(request, "get_quota")
        return project

    async def index(self, request: Request) -> Response:
        """The projects that have limits of their own."""
        self._may(request, "get_quota")
        sql = f"SELECT DISTINCT project_id FROM network_quota WHERE {quota.SET.text} ORDER BY project_id"
        projects = [row[0] for row in await self._db.fetch_tuples(sql)]
        found = [{"project_id": p, "tenant_id": p} | await self._limits(p) for p in projects]
        return json_response(200, {"quotas": found})

    async def _limits(self, project: str) -> dict[str, Any]:
        return {name: limit for name, (limit, _) in (await quota.rows(self._db, project)).items()}

    async def tenant(self, request: Request) -> Response:
        return json_response(200, {"tenant": {"tenant_id": self._own(request)}})

    async def project(self, request: Request) -> Response:
        return json_response(200, {"project": {"project_id": self._own(request)}})

    def _own(self, request: Request) -> str:
        if not request.caller.project_id:
            raise error("QuotaMissingTenant")
        return request.caller.project_id

    async def show(self, request: Request) -> Response:
        return json_response(200, {"quota": await self._limits(self._may_read(request))})

    async def default(self, request: Request) -> Response:
        self._may_read(request)
        return json_response(200, {"quota": await quota.defaults(self._db)})

    async def details(self, request: Request) -> Response:
        rows = await quota.rows(self._db, self._may_read(request))
        shown = {name: {"limit": limit, "used": used, "reserved": 0} for name, (limit, used) in rows.items()}
        return json_response(200, {"quota": shown})

    async def update(self, request: Request) -> Response:
        self._may(request, "update_quota")
        body = await request.json()
        if not isinstance(body, dict) or not isinstance(body.get("quota"), dict):
            raise bad_request("Unable to find 'quota' in request body" if body else "Resource body required")
        wanted = dict(body["quota"])
        force = wanted.pop("force", None) is True
        wanted.pop("check_limit", None)
        for name in ("tenant_id", "project_id"):
            wanted.pop(name, None)
        limits = _checked(wanted)
        project = request.params["id"]

        async def act(tx: Tx) -> None:
            rows = await quota.rows(tx, project)
            for name, limit in limits.items():
                used = rows[name][1]
                if not force and 0 <= limit < used:
                    raise bad_request(
                        f"Quota limit {limit} for {name} must be greater than or equal to already used {used}"
                    )
                await quota.set_limit(tx, project, name, limit)

        await self._db.write(act)
        return json_response(200, {"quota": await self._limits(project)})

    async def reset(self, request: Request) -> Response:
        self._may(request, "delete_quota")
        project = request.params["id"]

        async def act(tx: Tx) -> None:
            if not await quota.QUOTA.count(tx, {"project_id": project, "hard": quota.SET}):
                raise error("TenantQuotaNotFound", project_id=project)
            await quota.QUOTA.update(tx, {"project_id": project}, {"hard": None})

        await self._db.write(act)
        return empty(204)


def _checked(wanted: dict[str, Any]) -> dict[str, int]:
    """Limits of known resources: -1 (none) or a number. Raises HTTPBadRequest."""
    limits = {}
    for name, value in wanted.items():
        if name not in quota.DEFAULTS:
            raise bad_request(f"Unrecognized attribute(s) '{name}'")
        number = int(_LIMIT.check(name, value))
        if number < -1:
            raise bad_request(f"Invalid input for {name}. Reason: '{number}' is too small - must be at least '-1'.")
        if number > 2**31 - 1:
            raise bad_request(
                f"Invalid input for {name}. Reason: '{number}' is too large - must be no larger than '{2**31 - 1}'."
            )
        limits[name] = number
    return limits
