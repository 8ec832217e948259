"""Keys of the EC2 kind: `/users/{user}/credentials/OS-EC2`, and what services ask when a request is signed with one.

    service ──POST /ec2tokens: key, signature, what was signed──▶ a token of the key's user, for the key's project

Such a token counts as delegated (base.py): it cannot make another token, nor manage credentials or trusts.
"""

import json
import time
from datetime import UTC
from typing import Any
from uuid import uuid4

import msgspec

from hagane.api.http import Request, Response, empty, json_response
from hagane.api.service import Route
from hagane.api.types import Obj, Str
from hagane.cloud import Cloud
from hagane.errors import Invalid, NotFound, Unauthenticated
from hagane.identity.base import V3, could_not_find, enforce, links, not_delegated
from hagane.identity.credential import BOUND, EC2, Credential, key_id
from hagane.identity.ec2_signature import BadSignature, right
from hagane.identity.fernet import EC2_METHOD
from hagane.identity.project import Project
from hagane.identity.ticket import Ticket, audit_id
from hagane.identity.token import MISSING, Tokens
from hagane.identity.token_load import Token, Worthless
from hagane.identity.user import User
from hagane.state import clock
from hagane.state.database import Reader, Row, Tx

LIFE = 15 * 60  # seconds for which a signature is good, as in the real service
_DELEGATED = "Delegated tokens cannot access credentials directly"
_BODY = Obj(fields={"tenant_id": Str(64)}, required=("tenant_id",), open=True)
_TEXTS = ("host", "verb", "path", "body_hash", "signature")


class Ec2:
    """The handlers."""

    def __init__(self, cloud: Cloud) -> None:
        self.db, self.tokens, self.credentials = cloud.db, cloud.use(Tokens), Credential(cloud)
        self._seconds = cloud.config.token_hours * 3600

    def routes(self) -> list[Route]:
        many = f"{V3}/users/{{user}}/credentials/OS-EC2"
        one = f"{many}/{{access}}"
        return [
            Route("GET", many, self.list, "ec2:list", rule="identity:ec2_list_credentials"),
            Route("POST", many, self.create, "ec2:create", rule="identity:ec2_create_credential", status=201,
                  body=_BODY),
            Route("GET", one, self.show, "ec2:show", rule="identity:ec2_get_credential"),
            Route("DELETE", one, self.delete, "ec2:delete", rule="identity:ec2_delete_credential", status=204),
            Route("POST", f"{V3}/ec2tokens", self.token, "ec2:token", rule="identity:ec2tokens_validate"),
        ]  # fmt: skip

    # -- keys --------------------------------------------------------------------------------------------------

    def _view(self, request: Request, row: Row) -> dict[str, Any]:
        blob = self._blob(row)
        own = f"{request.base_url}{V3}/users/{row['user_id']}/credentials/OS-EC2/{blob.get('access')}"
        view = {"user_id": row["user_id"], "tenant_id": row["project_id"], "links": {"self": own}}
        return view | {name: blob.get(name) for name in ("access", "secret", "trust_id")}

    def _blob(self, row: Row) -> dict[str, Any]:
        blob: dict[str, Any] = msgspec.json.decode(self.credentials.secrets.decrypt(row["encrypted_blob"]))
        return blob

    async def _user(self, request: Request, reader: Reader) -> str:
        key = request.params["user"]
        if await User.table.get(reader, id=key) is None:
            raise could_not_find("user", key)
        return key

    async def list(self, request: Request) -> Response:
        enforce(request, "identity:ec2_list_credentials", {"user_id": request.params["user"]})
        not_delegated(request.caller, _DELEGATED)
        user = await self._user(request, self.db)
        rows = await Credential.table.select(self.db, {"user_id": user, "type": EC2}, order="id")
        return json_response(200, {"credentials": [self._view(request, row) for row in rows], "links": links(request)})

    async def create(self, request: Request) -> Response:
        body, user = await request.json(), request.params["user"]
        enforce(request, "identity:ec2_create_credential", {"target": {"credential": {"user_id": user}}})
        project = _BODY.check("", body if body is not None else {})["tenant_id"]
        blob = {"access": uuid4().hex, "secret": uuid4().hex, "trust_id": None}
        row = {"id": key_id(str(blob["access"])), "type": EC2, "user_id": user, "project_id": project, "extra": {}}
        row["encrypted_blob"] = self.credentials.secrets.encrypt(json.dumps(blob))

        async def work(tx: Tx) -> None:
            await self._user(request, tx)
            if await Project.table.get(tx, id=project) is None:
                raise could_not_find("project", project)
            not_delegated(request.caller, _DELEGATED)
            await Credential.table.insert(tx, row)

        await self.db.write(work)
        return json_response(201, {"credential": self._view(request, row)})

    async def _find(self, request: Request, reader: Reader, verb: str) -> Row:
        """Who asks must own the key itself, whatever user the path names. Raises NotFound, then Forbidden."""
        key = key_id(request.params["access"])
        row = await Credential.table.get(reader, id=key)
        if row is None:
            raise could_not_find("credential", key)
        enforce(request, f"identity:ec2_{verb}_credential", {"target": {"credential": {"user_id": row["user_id"]}}})
        await self._user(request, reader)
        not_delegated(request.caller, _DELEGATED)
        return row

    async def show(self, request: Request) -> Response:
        return json_response(200, {"credential": self._view(request, await self._find(request, self.db, "get"))})

    async def delete(self, request: Request) -> Response:
        async def work(tx: Tx) -> None:
            row = await self._find(request, tx, "delete")
            await Credential.table.delete(tx, {"id": row["id"]})

        await self.db.write(work)
        return empty(204)

    # -- tokens ------------------------------------------------------------------------------------------------

    async def token(self, request: Request) -> Response:
        """A token for whoever signed a request, for the service that got the request."""
        enforce(request, "identity:ec2tokens_validate")
        given = _signed(await request.json())
        row = await Credential.table.get(self.db, id=key_id(given["access"]), type=EC2)
        if row is None:
            raise NotFound("EC2 access key not found.")
        blob = self._blob(row)
        try:
            if not right(str(blob.get("secret", "")), given):
                raise denied("wrong signature")
        except BadSignature as error:
            raise denied(str(error)) from error
        _in_time(given)
        if any(blob.get(name) is not None for name in BOUND):
            raise denied("the key is bound to something narrower that is not offered here")
        token = await self._issue(row)
        return Response(200, await self.tokens.answer(token), {"x-subject-token": token.text})

    async def _issue(self, row: Row) -> Token:
        now = time.time()
        ticket = Ticket(
            user_id=row["user_id"], methods=(EC2_METHOD,), issued_at=now, expires_at=float(int(now + self._seconds)),
            audit_ids=(audit_id(),), project_id=row["project_id"],
        )  # fmt: skip
        try:
            return await self.tokens.issue(ticket)
        except Worthless as error:
            raise denied(error.why) from error


def denied(detail: str) -> Unauthenticated:
    return Unauthenticated(MISSING, detail=detail)


def _signed(body: Any) -> dict[str, Any]:
    """What was signed, with every part of the type that it must have. Raises Invalid, Unauthenticated."""
    if not body or not isinstance(body, dict):
        raise Invalid("request must include a request body")
    given: Any = next((body[name] for name in ("credentials", "credential", "ec2Credentials") if body.get(name)), {})
    if not isinstance(given, dict) or not isinstance(given.get("access"), str):
        raise denied("there is no access key")
    found: dict[str, Any] = {"access": given["access"]}
    for name in ("params", "headers"):
        part = given.get(name)
        found[name] = {str(key): str(value) for key, value in part.items()} if isinstance(part, dict) else {}
    return found | {name: given[name] if isinstance(given.get(name), str) else "" for name in _TEXTS}


def _in_time(given: dict[str, Any]) -> None:
    """Refuse what was signed too long ago. A signature without a time is good for ever, as its maker meant it."""
    params, headers = given["params"], given["headers"]
    text = params.get("Timestamp") or headers.get("X-Amz-Date") or params.get("X-Amz-Date")
    if not text:
        return
    try:
        signed_at = clock.utc(text).replace(tzinfo=UTC).timestamp()
    except ValueError as error:
        raise denied("the time of the signature cannot be read") from error
    if time.time() > signed_at + LIFE:
        raise denied("the signature is too old")
