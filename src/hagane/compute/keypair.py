"""Keypairs: a user's public keys, which Servers get at their first boot. They belong to users, not to projects."""

import asyncio
import re
from typing import Any

from hagane.api.http import Request, Response, empty, json_response
from hagane.api.listing import Page
from hagane.api.service import Route
from hagane.api.types import BadValue, Enum, Obj, Str
from hagane.cloud import Cloud
from hagane.compute import keymaker, query, quota
from hagane.compute.base import MOST, V21, api, at, need, object_of
from hagane.compute.kinds import NAME
from hagane.errors import Conflict, Invalid, NotFound, QuotaExceeded
from hagane.state import clock
from hagane.state.database import Duplicate, Reader, Row, Tx
from hagane.state.table import Column, Sql, Table

KEYPAIR = Table(
    "keypair",
    (
        Column("user_id", key=True),
        Column("name", key=True),
        Column("number", "int"),
        Column("type"),
        Column("fingerprint"),
        Column("public_key"),
        Column("created_at"),
    ),
    ("number",),
)
PATH = V21 + "/os-keypairs"


def _body_type(request: Request) -> Obj:
    fields: dict[str, Any] = {"name": NAME, "public_key": Str(None)}
    required = ["name"]
    if at(request, 2):
        fields["type"] = Enum(values=("ssh", "x509"))
    if at(request, 10):
        fields["user_id"] = Str(None)
    if at(request, 92):
        required.append("public_key")
    return Obj(fields=fields, required=required)


def _check_name(request: Request, name: str) -> None:
    signs = r"[_\-\@\. a-zA-Z0-9]+" if at(request, 92) else r"[_\- a-zA-Z0-9]+"
    if not re.fullmatch(signs, name):
        raise BadValue("name", name, f"{name!r} does not match '^{signs}$'")


def _owner(request: Request) -> str:
    return request.args.get("user_id", request.caller.user_id) if at(request, 10) else request.caller.user_id


def _view(row: Row, names: tuple[str, ...], request: Request) -> dict[str, Any]:
    view = {name: row[name] for name in names}
    return view | ({"type": row["type"]} if at(request, 2) else {})


BRIEF = ("name", "public_key", "fingerprint")


class Keypairs:
    """The handlers."""

    def __init__(self, cloud: Cloud) -> None:
        self.db = cloud.db

    async def index(self, request: Request) -> Response:
        user = _owner(request)
        need(request, api("os-keypairs:index"), {"user_id": user})
        if not at(request, 35):
            rows = await KEYPAIR.select(self.db, {"user_id": user}, order="name")
            return json_response(200, {"keypairs": [{"keypair": _view(row, BRIEF, request)} for row in rows]})
        rows, limit = await self._page(request, user)
        answer: dict[str, Any] = {"keypairs": [{"keypair": _view(row, BRIEF, request)} for row in rows]}
        if rows and len(rows) == limit:
            answer["keypairs_links"] = [{"rel": "next", "href": request.page_url(marker=rows[-1]["name"])}]
        return json_response(200, answer)

    async def _page(self, request: Request, user: str) -> tuple[list[Row], int]:
        page = Page.of(request, _Sorts, most=MOST, default="name")  # type: ignore[arg-type]
        conditions = []
        if page.marker is not None:
            if await KEYPAIR.get(self.db, user_id=user, name=page.marker) is None:
                raise Invalid(f"marker [{page.marker}] not found")
            conditions.append(Sql("keypair.name > :behind", {"behind": page.marker}))
        limit = query.limit(request)
        rows = await KEYPAIR.select(self.db, {"user_id": user}, conditions=conditions, order="name", limit=limit)
        return rows, limit

    async def show(self, request: Request) -> Response:
        user = _owner(request)
        need(request, api("os-keypairs:show"), {"user_id": user})
        row = await find(self.db, user, request.params["name"])
        view = _view(row, (*BRIEF, "user_id", "created_at"), request)
        view |= {"id": row["number"], "deleted": False, "deleted_at": None, "updated_at": None}
        return json_response(200, {"keypair": view})

    async def create(self, request: Request) -> Response:
        body = _body_type(request).check("keypair", object_of(await request.json(), "keypair"))
        _check_name(request, body["name"])
        user, kind = body.get("user_id") or request.caller.user_id, body.get("type", "ssh")
        need(request, api("os-keypairs:create"), {"user_id": user})
        private = None
        if "public_key" in body:
            public = body["public_key"].strip()
        else:
            private, public = await asyncio.to_thread(keymaker.make, kind, user)
        row: Row = {"user_id": user, "name": body["name"], "type": kind, "public_key": public}
        row |= {"fingerprint": keymaker.fingerprint(public, kind), "created_at": clock.now()}
        await self.db.write(lambda tx: self._store(request, tx, row))
        view = ({"private_key": private} if private else {}) | _view(row, (*BRIEF, "user_id"), request)
        return json_response(201 if at(request, 2) else 200, {"keypair": view})

    async def _store(self, request: Request, tx: Tx, row: Row) -> None:
        limit = await quota.limit_of(tx, request.caller.project_id or "", "key_pairs")
        if 0 <= limit <= await KEYPAIR.count(tx, {"user_id": row["user_id"]}):
            raise QuotaExceeded("Quota exceeded, too many key pairs.")
        numbers = await tx.fetch_tuples("SELECT max(number) FROM keypair")
        row["number"] = (numbers[0][0] or 0) + 1
        try:
            await KEYPAIR.insert(tx, row)
        except Duplicate as error:
            raise Conflict(f"Key pair '{row['name']}' already exists.") from error

    async def delete(self, request: Request) -> Response:
        user, name = _owner(request), request.params["name"]
        need(request, api("os-keypairs:delete"), {"user_id": user})

        async def work(tx: Tx) -> None:
            if not await KEYPAIR.delete(tx, {"user_id": user, "name": name}):
                raise _missing(user, name)

        await self.db.write(work)
        return empty(204 if at(request, 2) else 202)

    def routes(self) -> list[Route]:
        rule = "os-keypairs"
        return [
            Route("GET", PATH, self.index, "keypair:list", rule=api(f"{rule}:index")),
            Route("POST", PATH, self.create, "keypair:create", rule=api(f"{rule}:create")),
            Route("GET", PATH + "/{name}", self.show, "keypair:show", rule=api(f"{rule}:show")),
            Route("DELETE", PATH + "/{name}", self.delete, "keypair:delete", rule=api(f"{rule}:delete"), status=202),
        ]


class _Sorts:
    table = KEYPAIR
    by_label: dict[str, Any] = {}


def _missing(user: str, name: str) -> NotFound:
    return NotFound(f"Keypair {name} not found for user {user}", code="KeypairNotFound")


async def find(reader: Reader, user_id: str, name: str) -> Row:
    """A user's keypair. Raises NotFound."""
    row = await KEYPAIR.get(reader, user_id=user_id, name=name)
    if row is None:
        raise _missing(user_id, name)
    return row
