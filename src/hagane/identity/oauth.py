"""From a consumer to an access token, in three steps (RFC 5849, section 2).

    POST /OS-OAUTH1/request_token    signed by the consumer                      → request token and its secret
    PUT  /OS-OAUTH1/authorize/{id}   by a user, with roles of theirs there       → verifier
    POST /OS-OAUTH1/access_token     signed by the consumer and request token    → access token and its secret

A request token is for one project and is used once. Who signs with an access token logs in by it (login_method.py).
"""

import secrets
import string
from hmac import compare_digest
from uuid import uuid4

from hagane.api.http import Request, Response, json_response
from hagane.api.service import Route
from hagane.api.types import BadValue, ListOf, Obj, Str
from hagane.cloud import Cloud
from hagane.errors import NotFound, Unauthenticated
from hagane.identity.assignment import role_ids_of
from hagane.identity.base import V3, could_not_find, enforce, expected, not_delegated
from hagane.identity.consumer import Consumer
from hagane.identity.oauth_signature import FORM, Signed, right, signed
from hagane.identity.oauth_store import ACCESS_TOKEN, REQUEST_TOKEN, Replayed, use_nonce
from hagane.identity.project import Project
from hagane.identity.role_pick import role_id
from hagane.state import clock
from hagane.state.database import Reader, Row, Tx
from hagane.state.secret import Secrets

REQUEST_LIFE, ACCESS_LIFE = 28_800, 86_400  # seconds, as in the real service
PROJECT_HEADER = "requested-project-id"
_VERIFIER = "".join(c for c in string.ascii_letters + string.digits if c not in "jiIl1oO0")
"""Characters that a person can tell apart."""
_ROLES = Obj(
    fields={"roles": ListOf(item=Obj(fields={"id": Str(64, min=1), "name": Str(255, min=1)}), max=1000)}, open=True
)


class Oauth:
    """The handlers."""

    def __init__(self, cloud: Cloud) -> None:
        self.db, self._secrets = cloud.db, cloud.use(Secrets)

    def routes(self) -> list[Route]:
        top = f"{V3}/OS-OAUTH1"
        return [
            Route("POST", f"{top}/request_token", self.request_token, "oauth:request_token", auth=False, status=201),
            Route("POST", f"{top}/access_token", self.access_token, "oauth:access_token", auth=False, status=201),
            Route("PUT", f"{top}/authorize/{{id}}", self.authorize, "oauth:authorize", body=_ROLES,
                  rule="identity:authorize_request_token"),
        ]  # fmt: skip

    # -- the consumer asks -------------------------------------------------------------------------------------

    async def request_token(self, request: Request) -> Response:
        given = signed(request)
        project = request.headers.get(PROJECT_HEADER)
        if not project:
            raise expected("Requested-Project-Id", "request")
        if not given.callback:
            raise expected("oauth_callback", "request")
        consumer = await self._asked(request, given)
        if not right(request, given, self._secrets.decrypt(consumer["encrypted_secret"]), ""):
            raise Unauthenticated("Invalid signature")
        secret = uuid4().hex
        row = {"id": uuid4().hex, "encrypted_secret": self._secrets.encrypt(secret), "project_id": project,
               "consumer_id": given.consumer, "expires_at": clock.after(REQUEST_LIFE)}  # fmt: skip

        async def work(tx: Tx) -> None:
            await self._asked(request, given, tx)
            await REQUEST_TOKEN.insert(tx, row)
            await once(tx, given)

        await self.db.write(work)
        return _answer(row, secret)

    async def _asked(self, request: Request, given: Signed, reader: Reader | None = None) -> Row:
        """The consumer; the project that it wants must exist. Raises NotFound."""
        reader, project = reader or self.db, request.headers[PROJECT_HEADER]
        if await Project.table.get(reader, id=project) is None:
            raise could_not_find("project", project)
        consumer = await Consumer.table.get(reader, id=given.consumer)
        if consumer is None:
            raise NotFound("Consumer not found")
        return consumer

    # -- a user agrees -----------------------------------------------------------------------------------------

    async def authorize(self, request: Request) -> Response:
        enforce(request, "identity:authorize_request_token")
        body = await request.json()
        wanted = _ROLES.check("", body if body is not None else {}).get("roles", [])
        for role in wanted:
            if len(role) != 1:
                raise BadValue("roles", wanted, f"{role!r} is not valid under any of the given schemas")
        not_delegated(request.caller, "Cannot authorize a request token with a token issued via delegation")
        verifier = "".join(secrets.choice(_VERIFIER) for _ in range(8))
        key, user = request.params["id"], request.caller.user_id

        async def work(tx: Tx) -> None:
            row = await _open(tx, key)
            ids = [await role_id(tx, role) for role in wanted]
            if not set(ids) <= await role_ids_of(tx, user, row["project_id"]):
                raise Unauthenticated("authorizing user does not have role required")
            known = {"encrypted_verifier": self._secrets.encrypt(verifier), "user_id": user, "role_ids": ids}
            await REQUEST_TOKEN.update(tx, {"id": key}, known)

        await self.db.write(work)
        return json_response(200, {"token": {"oauth_verifier": verifier}})

    # -- the consumer takes ------------------------------------------------------------------------------------

    async def access_token(self, request: Request) -> Response:
        given = signed(request)
        for name in ("token", "verifier"):
            if not getattr(given, name):
                raise expected(f"oauth_{name}", "request")
        row = await _open(self.db, given.token)
        await self._prove(request, given, row)
        secret = uuid4().hex
        made = {name: row[name] for name in ("user_id", "role_ids", "project_id", "consumer_id")}
        made |= {"id": uuid4().hex, "encrypted_secret": self._secrets.encrypt(secret),
                 "expires_at": clock.after(ACCESS_LIFE)}  # fmt: skip

        async def work(tx: Tx) -> None:
            # It is used up by this, and only as it was when the signature was checked.
            if not await REQUEST_TOKEN.delete(tx, {"id": row["id"], "encrypted_verifier": row["encrypted_verifier"]}):
                raise NotFound("Request token not found")
            await ACCESS_TOKEN.insert(tx, made)
            await once(tx, given)

        await self.db.write(work)
        return _answer(made, secret)

    async def _prove(self, request: Request, given: Signed, row: Row) -> None:
        """Raises Unauthenticated unless the consumer, its request token and the user's verifier belong together."""
        consumer = await Consumer.table.get(self.db, id=given.consumer)
        if consumer is None:
            raise Unauthenticated("Provided consumer does not exist.")
        if row["consumer_id"] != given.consumer:
            raise Unauthenticated("Provided consumer key does not match stored consumer key.")
        mine = [self._secrets.decrypt(of["encrypted_secret"]) for of in (consumer, row)]
        if not right(request, given, *mine):
            raise Unauthenticated("Invalid signature")
        if row["encrypted_verifier"] is None:
            raise Unauthenticated("Request Token does not have an authorizing user id.")
        verifier = self._secrets.decrypt(row["encrypted_verifier"])
        if not compare_digest(verifier.encode(), given.verifier.encode()):
            raise Unauthenticated("Provided verifier does not match stored verifier")


async def once(tx: Tx, given: Signed) -> None:
    """Take a signed request only once. Raises Unauthenticated."""
    try:
        await use_nonce(tx, given.consumer, given.token, given.timestamp, given.nonce)
    except Replayed as error:
        raise Unauthenticated("The request has been used already") from error


async def _open(reader: Reader, key: str) -> Row:
    """A request token that is in time. Raises NotFound, Unauthenticated."""
    row = await REQUEST_TOKEN.get(reader, id=key)
    if row is None:
        raise NotFound("Request token not found")
    if row["expires_at"] <= clock.now():
        raise Unauthenticated("Request token is expired")
    return row


def _answer(row: Row, secret: str) -> Response:
    text = f"oauth_token={row['id']}&oauth_token_secret={secret}&oauth_expires_at={row['expires_at']}Z"
    return Response(201, text.encode(), media_type=FORM)
