"""Things of the Identity API that are made with PUT, under an id that the caller chooses."""

from collections.abc import Sequence
from typing import Any

from hagane.api.http import Request, Response
from hagane.api.service import Route
from hagane.api.types import Str
from hagane.errors import Conflict
from hagane.identity.base import IdentityResource, enforce
from hagane.state.database import Row

KEY = Str(64, min=1)


class Named(IdentityResource):
    """Base of such resources. They keep no attribute that they do not know; who may not make them hears that first."""

    verbs = frozenset({"list", "show", "update", "delete"})

    def routes(self) -> Sequence[Route]:
        put = Route("PUT", f"{self.path}/{{id}}", self.create, f"{self.name}:create", rule=self.rule("create"),
                    status=201, body=self.body_type("c"))  # fmt: skip
        return [*super().routes(), put]

    async def create(self, request: Request) -> Response:
        enforce(request, self.rule("create"))
        return await super().create(request)

    async def update(self, request: Request) -> Response:
        enforce(request, self.rule("update"))
        return await super().update(request)

    def parse_create(self, request: Request, body: dict[str, Any]) -> Row:
        key = KEY.check("id", request.params["id"])
        return super().parse_create(request, body) | {"id": key}

    def conflict(self, row: Row) -> Conflict:
        text = f"Conflict occurred attempting to store {self.name} - Duplicate entry found with ID {row['id']}."
        return Conflict(text)
