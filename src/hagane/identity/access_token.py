"""Access tokens of OAuth 1.0 that users have given to consumers (oauth.py): what is out there, and an end to it."""

from typing import Any

from hagane.api.http import Request, Response, empty, json_response
from hagane.api.service import Route
from hagane.cloud import Cloud
from hagane.errors import NotFound
from hagane.identity.base import V3, could_not_find, enforce, links, not_delegated
from hagane.identity.oauth_store import ACCESS_TOKEN, remove_access_tokens
from hagane.identity.role import Role
from hagane.state.database import Reader, Row, Tx


class AccessTokens:
    """The handlers of /users/{user}/OS-OAUTH1/access_tokens. A user's path shows that user's tokens alone."""

    def __init__(self, cloud: Cloud) -> None:
        self.db, self._roles = cloud.db, Role(cloud)

    def routes(self) -> list[Route]:
        many = f"{V3}/users/{{user}}/OS-OAUTH1/access_tokens"
        one = f"{many}/{{token}}"
        rows = (
            ("GET", many, self.list, "list_access_tokens", 200),
            ("GET", one, self.show, "get_access_token", 200),
            ("DELETE", one, self.delete, "delete_access_token", 204),
            ("GET", f"{one}/roles", self.roles, "list_access_token_roles", 200),
            ("GET", f"{one}/roles/{{role}}", self.role, "get_access_token_role", 200),
        )
        return [
            Route(method, path, handler, f"access_token:{rule}", rule=f"identity:{rule}", status=status)
            for method, path, handler, rule, status in rows
        ]

    def _enforce(self, request: Request) -> None:
        enforce(request, request.route.rule, {"user_id": request.params["user"]})
        not_delegated(request.caller, "Cannot manage OAuth access tokens with a token issued via delegation")

    async def _find(self, request: Request, reader: Reader) -> Row:
        """Raises Forbidden, then NotFound."""
        self._enforce(request)
        row = await ACCESS_TOKEN.get(reader, id=request.params["token"], user_id=request.params["user"])
        if row is None:
            raise NotFound("Access token not found")
        return row

    async def list(self, request: Request) -> Response:
        self._enforce(request)
        rows = await ACCESS_TOKEN.select(self.db, {"user_id": request.params["user"]}, order="expires_at, id")
        return json_response(200, {"access_tokens": [_view(request, row) for row in rows], "links": links(request)})

    async def show(self, request: Request) -> Response:
        return json_response(200, {"access_token": _view(request, await self._find(request, self.db))})

    async def delete(self, request: Request) -> Response:
        async def work(tx: Tx) -> None:
            await remove_access_tokens(tx, "id", (await self._find(request, tx))["id"])

        await self.db.write(work)
        return empty(204)

    async def roles(self, request: Request) -> Response:
        row = await self._find(request, self.db)
        rows = await Role.table.select(self.db, {"id": row["role_ids"]}, order="name")
        views = await self._roles.present(request, rows)
        return json_response(200, {"roles": views, "links": links(request)})

    async def role(self, request: Request) -> Response:
        key, row = request.params["role"], await self._find(request, self.db)
        found = await Role.table.get(self.db, id=key) if key in row["role_ids"] else None
        if found is None:
            raise could_not_find("role", key)
        return json_response(200, {"role": (await self._roles.present(request, [found]))[0]})


def _view(request: Request, row: Row) -> dict[str, Any]:
    own = f"{request.base_url}{V3}/users/{row['user_id']}/OS-OAUTH1/access_tokens/{row['id']}"
    view = {name: row[name] for name in ("id", "consumer_id", "project_id")}
    more = {"authorizing_user_id": row["user_id"], "expires_at": row["expires_at"] + "Z"}
    return view | more | {"links": {"self": own, "roles": f"{own}/roles"}}
