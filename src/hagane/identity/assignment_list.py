"""GET /role_assignments: who has which role where, as given or as it takes effect."""

from collections.abc import Iterable
from typing import Any

from hagane.api.http import Request, Response, json_response
from hagane.api.service import Route
from hagane.cloud import Cloud
from hagane.errors import Invalid
from hagane.identity.assignment import ASSIGNMENT, SYSTEM
from hagane.identity.assignment_expand import Entry, World, expand
from hagane.identity.base import V3, could_not_find, enforce, links
from hagane.identity.group import MEMBER, Group
from hagane.identity.project import Project
from hagane.identity.project_relatives import is_on
from hagane.identity.role import IMPLIED, Role
from hagane.identity.tree import above, below
from hagane.identity.user import User
from hagane.state.database import Row
from hagane.state.table import Table


class AssignmentList:
    """The list and its filters."""

    def __init__(self, cloud: Cloud) -> None:
        self.db = cloud.db

    def routes(self) -> list[Route]:
        names = ("user.id", "group.id", "role.id", "scope.project.id", "scope.domain.id", "scope.system",
                 "scope.OS-INHERIT:inherited_to", "effective", "include_names", "include_subtree")  # fmt: skip
        rule = "identity:list_role_assignments"
        return [Route("GET", f"{V3}/role_assignments", self.handle, "assignment:list", rule=rule, query=names)]

    async def handle(self, request: Request) -> Response:
        subtree = is_on(request, "include_subtree")
        await (self._enforce_tree(request) if subtree else self._enforce(request))
        wanted = _filters(request)
        projects = [wanted["project"]] if wanted["project"] else []
        if subtree:
            projects += await below(self.db, wanted["project"])
        if wanted["effective"]:
            entries = await self._effective(wanted, projects)
        else:
            entries = await self._given(wanted, projects)
        own = request.caller.domain_id
        if own:
            entries = await self._in_domain(entries, own)
        names = await self._names(entries) if is_on(request, "include_names") else None
        root = f"{request.base_url}{V3}"
        views = [_view(root, entry, names) for entry in entries]
        return json_response(200, {"role_assignments": views, "links": links(request)})

    async def _enforce(self, request: Request) -> None:
        domain = request.caller.domain_id
        enforce(request, "identity:list_role_assignments", {"target": {"domain_id": domain}} if domain else {})

    async def _enforce_tree(self, request: Request) -> None:
        key = request.args.get("scope.project.id")
        target: dict[str, Any] = {}
        if key:
            row = await Project.table.get(self.db, id=key)
            if row is None:
                raise could_not_find("project", key)
            target = {"target": {"project": row, "domain_id": row["domain_id"] or None}}
        enforce(request, "identity:list_role_assignments_for_tree", target)
        if not key:
            raise Invalid("scope.project.id must be specified if include_subtree is also specified")

    # -- as given ----------------------------------------------------------------------------------------------

    async def _given(self, wanted: dict[str, Any], projects: list[str]) -> list[Entry]:
        where: dict[str, Any] = {}
        if wanted["user"] or wanted["group"]:
            where |= {
                "actor_id": wanted["user"] or wanted["group"],
                "actor_kind": "user" if wanted["user"] else "group",
            }
        if wanted["role"]:
            where["role_id"] = wanted["role"]
        if projects:
            where |= {"kind": "project", "target_id": projects}
        elif wanted["domain"]:
            where |= {"kind": "domain", "target_id": wanted["domain"]}
        elif wanted["system"]:
            where["kind"] = "system"
        if wanted["inherited"] is not None:
            where["inherited"] = wanted["inherited"]
        return _entries(await ASSIGNMENT.select(self.db, where, order="kind, target_id, actor_id, role_id, inherited"))

    # -- as it takes effect ------------------------------------------------------------------------------------

    async def _effective(self, wanted: dict[str, Any], projects: list[str]) -> list[Entry]:
        where: dict[str, Any] = {}
        if wanted["user"]:
            groups = await MEMBER.select(self.db, {"user_id": wanted["user"]})
            where["actor_id"] = [wanted["user"], *(row["group_id"] for row in groups)]
        if wanted["domain"]:
            where |= {"kind": "domain", "target_id": wanted["domain"], "inherited": False}
        elif wanted["system"]:
            where["kind"] = "system"
        elif projects:
            if await Project.table.get(self.db, id=projects[0]) is None:
                raise could_not_find("project", projects[0])
            where["target_id"] = [*projects, *await above(self.db, projects[0])]
        order = "kind, target_id, actor_id, role_id, inherited"
        given = _entries(await ASSIGNMENT.select(self.db, where, order=order))
        if not wanted["system"]:
            given = [entry for entry in given if entry.kind != "system"]
        if wanted["inherited"] is not None:
            given = [entry for entry in given if entry.inherited == wanted["inherited"]]
        entries = expand(given, await self._world(given))
        return [entry for entry in entries if _fits(entry, wanted, projects)]

    async def _world(self, given: Iterable[Entry]) -> World:
        groups = {entry.actor_id for entry in given if entry.actor_kind == "group"}
        members: dict[str, list[str]] = {}
        for row in await MEMBER.select(self.db, {"group_id": list(groups)}, order="user_id"):
            members.setdefault(row["group_id"], []).append(row["user_id"])
        implied: dict[str, list[str]] = {}
        for row in await IMPLIED.select(self.db):
            implied.setdefault(row["prior_id"], []).append(row["implied_id"])
        places = {entry.target_id for entry in given if entry.inherited}
        roles = await Role.table.select(self.db)
        return World(
            members, {place: await below(self.db, place) for place in places}, implied,
            frozenset(row["id"] for row in roles if row["domain_id"]),
        )  # fmt: skip

    async def _in_domain(self, entries: list[Entry], domain_id: str) -> list[Entry]:
        ids = [entry.target_id for entry in entries if entry.kind == "project"]
        rows = await Project.table.select(self.db, {"id": ids, "domain_id": domain_id})
        known = {row["id"] for row in rows} | {domain_id}
        return [entry for entry in entries if entry.kind != "system" and entry.target_id in known]

    # -- names -------------------------------------------------------------------------------------------------

    async def _names(self, entries: list[Entry]) -> dict[str, Row]:
        """id -> row of everything that the entries name, and of the domains those are in."""
        wanted: dict[Table, set[str]] = {table: set() for table in (User.table, Group.table, Role.table, Project.table)}
        for entry in entries:
            wanted[User.table if entry.actor_kind == "user" else Group.table].add(entry.actor_id)
            wanted[Role.table].add(entry.role_id)
            if entry.kind != "system":
                wanted[Project.table].add(entry.target_id)
        rows: dict[str, Row] = {}
        for table, ids in wanted.items():
            rows |= {row["id"]: row for row in await table.select(self.db, {"id": list(ids)})}
        domains = {row["domain_id"] for row in rows.values() if row["domain_id"]} - rows.keys()
        return rows | {row["id"]: row for row in await Project.table.select(self.db, {"id": list(domains)})}


def _filters(request: Request) -> dict[str, Any]:
    """The filters of the query. Raises Invalid for those that exclude each other."""
    args = request.args
    inherited = args.get("scope.OS-INHERIT:inherited_to")
    wanted: dict[str, Any] = {
        "user": args.get("user.id"), "group": args.get("group.id"), "role": args.get("role.id"),
        "project": args.get("scope.project.id"), "domain": args.get("scope.domain.id"),
        "system": args.get("scope.system"), "effective": is_on(request, "effective"),
        "inherited": None if inherited is None else inherited == "projects",
    }  # fmt: skip
    for first, second, text in (
        ("domain", "project", "Specify a domain or project, not both"),
        ("domain", "system", "Specify system or domain, not both"),
        ("project", "system", "Specify system or project, not both"),
        ("user", "group", "Specify a user or group, not both"),
    ):
        if wanted[first] and wanted[second]:
            raise Invalid(text)
    if wanted["effective"] and wanted["group"]:
        raise Invalid("Combining effective and group filter will always result in an empty list.")
    if wanted["effective"] and wanted["inherited"] and wanted["domain"]:
        raise Invalid("Combining effective, domain and inherited filters will always result in an empty list.")
    return wanted


def _entries(rows: list[Row]) -> list[Entry]:
    return [Entry(**row) for row in rows]


def _fits(entry: Entry, wanted: dict[str, Any], projects: list[str]) -> bool:
    """Whether an expanded entry is one that was asked for."""
    if wanted["user"] and entry.actor_id != wanted["user"]:
        return False
    if wanted["role"] and entry.role_id != wanted["role"]:
        return False
    return not projects or (entry.kind == "project" and entry.target_id in projects)


def _view(root: str, entry: Entry, names: dict[str, Row] | None) -> dict[str, Any]:
    inherited = entry.inherited or entry.via_target is not None
    scope: dict[str, Any] = {"system": {"all": True}}
    if entry.kind != "system":
        scope = {entry.kind: _named(entry.target_id, names, domain=entry.kind == "project")}
    if inherited:
        scope["OS-INHERIT:inherited_to"] = "projects"
    found = {
        "scope": scope,
        entry.actor_kind: _named(entry.actor_id, names, domain=True),
        "role": _named(entry.role_id, names, domain=True),
        "links": {"assignment": root + _path(entry, inherited=inherited)},
    }
    if entry.via_group:
        found["links"]["membership"] = f"{root}/groups/{entry.via_group}/users/{entry.actor_id}"
    if entry.via_role:
        found["links"]["prior_role"] = f"{root}/prior_role/{entry.role_id}/implies/{entry.via_role}"
    return found


def _path(entry: Entry, *, inherited: bool) -> str:
    """The grant that an entry is or came from."""
    kind, target = entry.via_kind or entry.kind, entry.via_target or entry.target_id
    place = "/system" if target == SYSTEM else f"/{kind}s/{target}"
    actor = f"/groups/{entry.via_group}" if entry.via_group else f"/{entry.actor_kind}s/{entry.actor_id}"
    path = f"{place}{actor}/roles/{entry.via_role or entry.role_id}"
    return f"/OS-INHERIT{path}/inherited_to_projects" if inherited else path


def _named(key: str, names: dict[str, Row] | None, *, domain: bool) -> dict[str, Any]:
    if names is None:
        return {"id": key}
    row = names.get(key, {})
    found: dict[str, Any] = {"id": key, "name": row.get("name", "")}
    if domain and row.get("domain_id"):
        found["domain"] = {"id": row["domain_id"], "name": names.get(row["domain_id"], {}).get("name", "")}
    return found
