"""Consumers of OAuth 1.0: programs that a user may let act with some of their roles, without their password.

    consumer ──signs──▶ request token ──a user authorizes it for roles──▶ verifier ──signs──▶ access token ──▶ tokens

The way is oauth.py's. https://docs.openstack.org/api-ref/identity/v3-ext/#os-oauth1-api
"""

from typing import Any
from uuid import uuid4

from hagane.api.http import Request
from hagane.api.resource import Attr
from hagane.api.types import BadValue, Custom, Str
from hagane.cloud import Cloud
from hagane.errors import NotFound
from hagane.identity.base import V3, IdentityResource
from hagane.identity.oauth_store import REQUEST_TOKEN, remove_access_tokens
from hagane.state.database import Reader, Row, Tx
from hagane.state.secret import Secrets


class Consumer(IdentityResource):
    """A consumer. Its secret is ours to make, is kept encrypted, and is answered once."""

    name, plural = "consumer", "consumers"
    path = f"{V3}/OS-OAUTH1/consumers"
    table_name = "identity_consumer"
    flags = ()
    attrs = (
        Attr("id", Str(), key=True),
        Attr("description", Str(nullable=True), write="cu"),
        Attr("secret", Str(), stored=False, shown=False, sort=False),
        Attr("encrypted_secret", Str(), shown=False, sort=False),
        Attr("extra", Custom(), default=dict, shown=False),
    )

    def __init__(self, cloud: Cloud) -> None:
        super().__init__(cloud)
        self._secrets = cloud.use(Secrets)

    def not_found(self, key: str) -> NotFound:
        return NotFound("Consumer not found")

    async def creating(self, request: Request, tx: Tx, row: Row) -> None:
        await super().creating(request, tx, row)
        row["encrypted_secret"] = self._secrets.encrypt(uuid4().hex)

    async def present(self, request: Request, rows: list[Row], reader: Reader | None = None) -> list[Any]:
        views = await super().present(request, rows, reader)
        if request.route.name == "consumer:create":
            for view, row in zip(views, rows, strict=True):
                view["secret"] = self._secrets.decrypt(row["encrypted_secret"])
        return views

    def parse_update(self, request: Request, body: dict[str, Any]) -> Row:
        if "secret" in body:
            raise BadValue("secret", body["secret"], "it cannot be changed")
        return super().parse_update(request, body)

    async def deleting(self, request: Request, tx: Tx, row: Row) -> None:
        await REQUEST_TOKEN.delete(tx, {"consumer_id": row["id"]})
        await remove_access_tokens(tx, "consumer_id", row["id"])
