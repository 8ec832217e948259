"""Resources that live under another one's path: port forwardings of a floating IP, rules of a QoS policy.

    /floatingips/{floatingip_id}/port_forwardings/{id}

They have no project, revision, tags or times of their own: whose they are is their parent's to say, and whoever may
not see the parent does not see them either.
"""

from collections.abc import Sequence
from typing import ClassVar
from uuid import uuid4

from hagane.api.http import Request, Response
from hagane.network.attr import Given
from hagane.network.base import NetResource
from hagane.network.permit import Target
from hagane.state.database import Reader, Row, Tx
from hagane.state.table import Sql


class Child(NetResource):
    """Base of such resources. `link` is the column with the parent's id, and the path's parameter."""

    link: ClassVar[str] = ""
    bulk: ClassVar[bool] = False

    def above(self) -> NetResource:
        """The parent's resource."""
        raise NotImplementedError

    def rule(self, verb: str) -> str:
        return f"{verb}_{self.above().name}_{self.name}"

    def stamp(self, row: Row) -> None:
        row["id"] = str(uuid4())
        row["tags"] = []

    async def parent(self, request: Request, reader: Reader) -> Row:
        """The row of the path's parent. Raises its NotFound."""
        return await self.above().find(request, reader, request.params[self.link])

    def visible(self, request: Request) -> list[Sql]:
        """All rows of the parent; of that its own visibility is asked."""
        return [Sql(f"{self.table.name}.{self.link} = :parent", {"parent": request.params[self.link]})]

    async def targets_of(self, request: Request, reader: Reader, rows: Sequence[Row]) -> list[Target]:
        targets = await super().targets_of(request, reader, rows)
        ids = list({row[self.link] for row in rows})
        owners = {row["id"]: row["project_id"] for row in await self.above().table.select(reader, {"id": ids})}
        for row, target in zip(rows, targets, strict=True):
            target["ext_parent:project_id"] = owners.get(row[self.link])
        return targets

    def may_list(self, request: Request) -> bool:
        """Who sees the parent has its project's rows listed, as far as the rule goes."""
        me = request.caller.project_id
        return request.allowed(self.rule("get"), {"project_id": me, "ext_parent:project_id": me})

    async def list(self, request: Request) -> Response:
        await self.parent(request, self.db)
        return await super().list(request)

    async def find(self, request: Request, reader: Reader, key: str) -> Row:
        await self.parent(request, reader)
        return await super().find(request, reader, key)

    async def make(self, request: Request, tx: Tx, row: Row, given: Given) -> Row:
        self._refuse_ever(request)
        parent = await self.parent(request, tx)
        return await super().make(
            request, tx, row | {self.link: parent["id"], "project_id": parent["project_id"]}, given
        )

    def _refuse_ever(self, request: Request) -> None:
        """Who could not even if the parent were its own hears that, and nothing of the parent. Raises Forbidden."""
        me = request.caller.project_id
        self.policy(request).enforce(self.rule("create"), request.caller.creds, {"ext_parent:project_id": me})

    async def store(self, tx: Tx, old: Row, changes: Row) -> Row:
        if changes:
            await self.table.update(tx, {"id": old["id"]}, changes)
        return old | changes

    def match(self, request: Request, row: Row) -> None:
        """There is no revision to insist on."""
