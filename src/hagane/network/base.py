"""What all resources of the network API have in common: wrapping, bulk creation, policy, visibility, tags, revisions.

A request's way: body ─▶ attributes checked ─▶ transaction [ policy ─▶ quota ─▶ `making` ─▶ row ] ─▶ answer.

Who may see what is a condition in SQL (`visible`), so lists ask the policy once and not per row: an administrator sees
all, others what belongs to their project and what is shared with it. A row that a caller may not see does not exist for
them: 404.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar
from uuid import uuid4

from hagane.api.http import Request, Response, empty, json_response
from hagane.api.service import Route
from hagane.api.text import natural
from hagane.api.turns import list_response
from hagane.errors import Precondition
from hagane.network import quota, tag
from hagane.network.attr import ROOT, Given, Special
from hagane.network.body import Bodies
from hagane.network.errors import error
from hagane.network.listing import Extent, filters
from hagane.network.present import Made
from hagane.state import clock
from hagane.state.database import Row, Tx


class NetResource(Bodies):
    """Base of the network API's resources. Subclasses say their attributes and hooks."""

    quota: ClassVar[str] = ""  # the name of its quota; empty: not counted
    special: ClassVar[Mapping[str, Special]] = {}  # filters that are more than a column's value
    bulk: ClassVar[bool] = True
    marked: ClassVar[bool] = False  # a list's marker must be there; else the list begins anew behind one that is not

    def __init_subclass__(cls, **kwargs: Any) -> None:
        if not cls.path and cls.plural:
            cls.path = f"{ROOT}/{cls.plural.replace('_', '-')}"
        super().__init_subclass__(**kwargs)

    def stamp(self, row: Row) -> None:
        """Identity and times of a new row."""
        if row.get("id") is None:
            row["id"] = str(uuid4())
        row["created_at"] = row["updated_at"] = clock.now()
        row["generation"] = 1
        row.setdefault("tags", [])

    def tag_rule(self, verb: str) -> str:
        """The policy rule of what is done with a resource's tags."""
        return f"{verb}_{self.name}:tags"

    # -- hooks -------------------------------------------------------------------------------------------------

    async def making(self, request: Request, tx: Tx, row: Row, given: Given) -> None:
        """Before a new row is stored: refuse it, complete it, take allocations, wake reconcilers."""

    async def made(self, request: Request, tx: Tx, row: Row) -> None:
        """After a new row is stored: what hangs on it."""

    async def changing(self, request: Request, tx: Tx, old: Row, changes: Row) -> None:
        """Before changes are stored; may add to them."""

    async def unmaking(self, request: Request, tx: Tx, row: Row) -> None:
        """Before a row is deleted."""

    # -- transactions ------------------------------------------------------------------------------------------

    async def make(self, request: Request, tx: Tx, row: Row, given: Given) -> Row:
        """Check, complete and store one new row."""
        row = dict(row)
        self.stamp(row)
        target = await self.target_of(request, tx, row)
        self.check(request, "create", target, row, given)
        if self.quota:
            await quota.charge(tx, row["project_id"], self.quota)
        await self.making(request, tx, row, given)
        await self.table.insert(tx, row)
        if row["tags"]:
            await tag.store(tx, self.plural, row["id"], row["tags"])
        await self.made(request, tx, row)
        return row

    async def change(self, request: Request, tx: Tx, old: Row, changes: Row) -> Row:
        """Check and store changes; returns the row as it is afterwards."""
        target = await self.target_of(request, tx, old | changes)
        self.check(request, "update", target, changes, frozenset(changes))
        self.match(request, old)
        await self.changing(request, tx, old, changes)
        return await self.store(tx, old, changes)

    async def store(self, tx: Tx, old: Row, changes: Row) -> Row:
        """Write changes of intent; nothing is written when nothing differs."""
        changes = {name: value for name, value in changes.items() if self.by_name[name].stored}
        if all(old.get(name) == value for name, value in changes.items()):
            return old
        changes["updated_at"] = clock.now()
        changes["generation"] = old["generation"] + 1
        await self.table.update(tx, {"id": old["id"]}, changes)
        return old | changes

    async def unmake(self, request: Request, tx: Tx, row: Row) -> None:
        """Delete a row and what hangs on it."""
        await self.unmaking(request, tx, row)
        await self.table.delete(tx, {"id": row["id"]})
        if row.get("tags"):
            await tag.forget(tx, row["id"])
        if self.quota:
            await quota.charge(tx, row["project_id"], self.quota, -1)

    def match(self, request: Request, row: Row) -> None:
        """The revision that the caller insists on (`If-Match: revision_number=3`). Raises Precondition."""
        wanted = [e for e in request.headers.get("if-match", "").replace('"', "").split(",")
                  if e.strip().startswith("revision_number=")]  # fmt: skip
        if not wanted:
            return
        if len(wanted) > 1:
            raise error("BadRequest", resource="if-match", reason="Multiple revision_number etags are not supported.")
        number = wanted[0].strip().removeprefix("revision_number=")
        revision = natural(number.removeprefix("-"))
        if revision is None:
            reason = "Revision number etag must be in the format of revision_number=<int>"
            raise error("BadRequest", resource="if-match", reason=reason)
        if number.startswith("-") or revision != row["generation"]:
            text = f"Constrained to {number}, but current revision is {row['generation']}"
            raise Precondition(text, code="RevisionNumberConstraintFailed")

    # -- handlers ----------------------------------------------------------------------------------------------

    async def list(self, request: Request) -> Response:
        where, conditions = filters(request, self)
        extent = Extent.of(request, self)
        conditions += self.visible(request)
        if (behind := await extent.condition(request, self.db, self)) is not None:
            conditions.append(behind)
        found: Sequence[Sequence[Any]] = ()
        if self.may_list(request):
            found = await self.table.select_tuples(
                self.db, where, conditions=conditions, order=extent.order(self), limit=extent.limit or None
            )
        if self.rule("get") in self.policy(request).changed:
            found = await self._allowed(request, found)
        if extent.reverse and extent.limit:
            found = list(reversed(found))
        answer: dict[str, Any] = {self.plural: await self.list_views(request, found)}
        if links := extent.links(request, [values[0] for values in found]):
            answer[f"{self.plural}_links"] = links
        return await list_response(answer, self.plural)

    async def _allowed(self, request: Request, found: Sequence[Sequence[Any]]) -> Sequence[Sequence[Any]]:
        """What the operator's own rule lets through; it may ask for anything, so each row is asked about."""
        if not found:
            return found
        targets = await self.targets_of(request, self.db, [self.table.decode(values) for values in found])
        return [values for values, t in zip(found, targets, strict=True) if request.allowed(self.rule("get"), t)]

    def may_list(self, request: Request) -> bool:
        """Whether the caller's roles let it read what is its own (and so, what is shared with it)."""
        if self.rule("get") in self.policy(request).changed:
            return True
        me = request.caller.project_id
        owners = dict.fromkeys(("project_id", "network:project_id", "security_group:project_id"), me)
        return request.allowed(self.rule("get"), owners | {"shared": True, "router:external": True})

    async def show(self, request: Request) -> Response:
        row = await self.find(request, self.db, request.params["id"])
        target = await self.target_of(request, self.db, row)
        if not request.allowed(self.rule("get"), target):
            raise error("HTTPNotFound")
        return json_response(200, {self.name: await self.view(request, self.db, row)})

    async def create(self, request: Request) -> Response:
        bodies, bulk = self.unwrap(await request.json(), bulk=self.bulk)
        parsed = [self.new_row(request, body) for body in bodies]

        async def work(tx: Tx) -> list[Made]:
            rows = [await self.make(request, tx, row, given) for row, given in parsed]
            return await self.views(request, tx, rows)

        views = await self.db.write(work)
        return json_response(201, {self.plural: views} if bulk else {self.name: views[0]})

    async def update(self, request: Request) -> Response:
        changes = self.changed_row(request, self.unwrap(await request.json(), bulk=False)[0][0])

        async def work(tx: Tx) -> Made:
            old = await self.find(request, tx, request.params["id"])
            row = await self.change(request, tx, old, dict(changes))
            return await self.view(request, tx, row)

        return json_response(200, {self.name: await self.db.write(work)})

    async def delete(self, request: Request) -> Response:
        async def work(tx: Tx) -> None:
            row = await self.find(request, tx, request.params["id"])
            self.check(request, "delete", await self.target_of(request, tx, row), row)
            self.match(request, row)
            await self.unmake(request, tx, row)

        await self.db.write(work)
        return empty(204)

    def action(self, verb: str, path: str, handler: Any, method: str = "PUT", status: int = 200) -> Route:
        """A route beside the default ones: `path` is relative to one resource."""
        return Route(method, f"{self.path}/{{id}}/{path}", handler, f"{self.name}:{verb}", rule=verb, status=status)
