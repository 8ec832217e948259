"""Giving and taking roles: one set of handlers for users and groups, on projects, domains and the system.

    /{projects|domains}/{target}/{users|groups}/{actor}/roles[/{role}]          on the target
    /OS-INHERIT/...the same.../roles[/{role}]/inherited_to_projects             on all projects below it
    /system/{users|groups}/{actor}/roles[/{role}]                               on the system

Existence comes before the policy here, as in the real service, since its rules ask about all three things.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from hagane.api.http import Request, Response, empty, json_response
from hagane.api.listing import Page
from hagane.api.service import Route
from hagane.cloud import Cloud
from hagane.errors import Forbidden, Invalid, NotFound
from hagane.identity.assignment import ASSIGNMENT, SYSTEM
from hagane.identity.base import CHANGED, V3, IdentityResource, could_not_find, enforce, put
from hagane.identity.domain import Domain
from hagane.identity.group import Group
from hagane.identity.project import Project
from hagane.identity.role import Role
from hagane.identity.user import User
from hagane.state.database import Reader, Row, Tx


@dataclass(frozen=True)
class Place:
    """One family of paths: what the role is on, who has it, and whether it is inherited."""

    kind: str  # project, domain or system
    actor: str  # user or group
    inherited: bool

    @property
    def path(self) -> str:
        if self.kind == "system":
            return f"{V3}/system/{self.actor}s/{{actor}}/roles"
        prefix = f"{V3}/OS-INHERIT" if self.inherited else V3
        return f"{prefix}/{self.kind}s/{{target}}/{self.actor}s/{{actor}}/roles"

    @property
    def end(self) -> str:
        return "/inherited_to_projects" if self.inherited else ""

    def rule(self, verb: str) -> str:
        return f"identity:{verb}" + (f"_system_grant{'s' * (verb == 'list')}_for_{self.actor}" if self.kind == "system"
                                     else f"_grant{'s' * (verb == 'list')}")  # fmt: skip


PLACES = tuple(
    Place(kind, actor, inherited)
    for kind in ("project", "domain", "system")
    for actor in ("user", "group")
    for inherited in ((False,) if kind == "system" else (False, True))
)


class Grants:
    """The handlers of all places."""

    def __init__(self, cloud: Cloud) -> None:
        self.db = cloud.db
        self.roles = Role(cloud)
        self.of: dict[str, IdentityResource] = {
            "project": Project(cloud), "domain": Domain(cloud), "user": User(cloud), "group": Group(cloud),
        }  # fmt: skip

    def routes(self) -> list[Route]:
        found = []
        for place in PLACES:
            name = f"grant:{place.kind}:{place.actor}" + (":inherited" if place.inherited else "")
            one = f"{place.path}/{{role}}{place.end}"
            if place.kind != "project" or not place.inherited:  # the real service has no such list
                many = place.path + place.end
                found.append(Route("GET", many, self._at(place, self.list), f"{name}:list", rule=place.rule("list")))
            found += [
                Route("PUT", one, self._at(place, self.give), f"{name}:give", rule=place.rule("create"), status=204),
                Route("GET", one, self._at(place, self.check), f"{name}:check", rule=place.rule("check"), status=204),
                Route("DELETE", one, self._at(place, self.take), f"{name}:take", rule=place.rule("revoke"), status=204),
            ]
        return found

    def _at(
        self, place: Place, handler: Callable[[Request, Place], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        async def bound(request: Request) -> Response:
            return await handler(request, place)

        return bound

    async def _grant(
        self, request: Request, reader: Reader, place: Place, verb: str, *, role: bool = True
    ) -> tuple[Row, Row | None]:
        """The assignment that a path names, and its role. Raises NotFound, then Forbidden."""
        known: dict[str, Any] = {}
        actor_id = request.params["actor"]
        role_row = await self._row(reader, self.roles, request.params["role"], known) if role else None
        # The role of somebody who is gone can still be taken away.
        await self._row(reader, self.of[place.actor], actor_id, known, must=verb != "revoke")
        target_id = SYSTEM
        if place.kind != "system":
            target_id = request.params["target"]
            await self._row(reader, self.of[place.kind], target_id, known)
        enforce(request, place.rule(verb), {f"{place.actor}_id": actor_id, "target": known})
        row = {"actor_id": actor_id, "kind": place.kind, "target_id": target_id, "inherited": place.inherited}
        return row | ({"role_id": role_row["id"]} if role_row else {}), role_row

    async def _row(
        self, reader: Reader, resource: IdentityResource, key: str, known: dict[str, Any], *, must: bool = True
    ) -> Row | None:
        row = await resource.table.get(reader, id=key, **resource.within)
        if row is not None:
            known[resource.name] = resource.shown(row)
        elif must:
            raise could_not_find(resource.name, key)
        return row

    async def list(self, request: Request, place: Place) -> Response:
        row, _ = await self._grant(request, self.db, place, "list", role=False)
        held = [found["role_id"] for found in await ASSIGNMENT.select(self.db, row)]
        roles = await Role.table.select(self.db, {"id": held}, order="name")
        views = await self.roles.present(request, roles)
        return json_response(200, self.roles.list_answer(request, views, Page(None, None, [])))

    async def give(self, request: Request, place: Place) -> Response:
        async def work(tx: Tx) -> None:
            row, role = await self._grant(request, tx, place, "create")
            await self._fits(tx, place, row, role)
            if await ASSIGNMENT.get(tx, **row) is None:
                await ASSIGNMENT.insert(tx, row | {"actor_kind": place.actor})
                await self._tell(tx, place, row)

        await put(self.db, work)
        return empty(204)

    async def _fits(self, tx: Tx, place: Place, row: Row, role: Row | None) -> None:
        """A role of a domain can be given only in that domain. Raises Invalid, Forbidden."""
        if role is None or not role["domain_id"]:
            return
        if place.kind == "system":
            raise Invalid(
                f"Role {role['id']} is a domain-specific role. Unable to use a domain-specific role in a system"
                " assignment."
            )
        if place.kind == "project":
            project = await Project.table.get(tx, id=row["target_id"])
            if project and project["domain_id"] != role["domain_id"]:
                raise Forbidden(
                    f"Project {row['target_id']} must be in the same domain as the role {role['id']} being assigned."
                )

    async def check(self, request: Request, place: Place) -> Response:
        row, _ = await self._grant(request, self.db, place, "check")
        if await ASSIGNMENT.get(self.db, **row) is None:
            raise self._missing(row)
        return empty(204)

    async def take(self, request: Request, place: Place) -> Response:
        async def work(tx: Tx) -> None:
            row, _ = await self._grant(request, tx, place, "revoke")
            if not await ASSIGNMENT.delete(tx, row):
                raise self._missing(row)
            await self._tell(tx, place, row)

        await self.db.write(work)
        return empty(204)

    async def _tell(self, tx: Tx, place: Place, row: Row) -> None:
        """Cached tokens of the actor are out of date; of a group, those of its members."""
        if place.actor == "user":
            tx.notify(f"{CHANGED}:{row['actor_id']}")
        else:
            tx.notify(CHANGED)

    def _missing(self, row: Row) -> NotFound:
        return NotFound(
            f"Could not find role assignment with role: {row['role_id']}, user or group: {row['actor_id']}, project,"
            f" domain, or system: {row['target_id']}."
        )
