"""/volume-transfers and the older /os-volume-transfer: a volume is offered with a key, and taken by who knows it.

    available ─offer─▶ awaiting-transfer ─accept (key)─▶ available, in another project
                             └──── withdraw ────▶ available

The key is shown once and kept as a salted hash.
"""

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from hagane.api.http import Request, Response, empty, json_response
from hagane.api.listing import Page
from hagane.api.service import Route
from hagane.api.types import Str, Type, Uuid
from hagane.cloud import Cloud
from hagane.errors import Invalid
from hagane.state import clock
from hagane.state.database import Reader, Row, Tx
from hagane.state.table import Column, Sql, Table
from hagane.volume import base, query, quota
from hagane.volume.base import at, bad_volume, body_of, both, is_admin, links, missing, need, next_links, sees, target
from hagane.volume.kinds import BOOLEAN, yes
from hagane.volume.row import SNAPSHOT, VOLUME
from hagane.volume.type_row import names_of

TRANSFER = Table(
    "volume_transfer",
    (
        Column("id", key=True), Column("volume_id"), Column("name"), Column("salt"), Column("crypt_hash"),
        Column("no_snapshots", "bool"), Column("source_project_id"), Column("destination_project_id"),
        Column("accepted", "bool"), Column("created_at"),
    ),
    ("volume_id", "source_project_id, created_at"),
)  # fmt: skip
_CREATE: dict[str, Type] = {"volume_id": Uuid(), "name": Str(255, nullable=True)}
_CREATE_55 = _CREATE | {"no_snapshots": BOOLEAN}
_ACCEPT = base.wrapped("accept", {"auth_key": Str(255, min=1)}, ("auth_key",))
_SAME = {name: name for name in ("id", "name", "created_at", "volume_id")}


class Transfers:
    """Both paths; the older one knows no microversions' additions."""

    def __init__(self, cloud: Cloud) -> None:
        self.db = cloud.db

    async def _find(self, request: Request, reader: Reader) -> Row:
        key = request.params["id"]
        row = await TRANSFER.get(reader, id=key)
        mine = row is not None and row["source_project_id"] == request.caller.project_id
        if row is None or row["accepted"] or not (mine or is_admin(request)):
            raise missing("Transfer", key)
        return row

    def _view(self, request: Request, row: Row, **more: Any) -> dict[str, Any]:
        found = {name: row[name] for name in ("id", "created_at", "name", "volume_id")} | more
        found["links"] = links(request, "os-volume-transfer", row["id"])
        if at(request, 55):
            found["no_snapshots"] = row["no_snapshots"]
        if at(request, 57):
            found |= {name: row[name] for name in ("destination_project_id", "source_project_id", "accepted")}
        return found

    def _summary(self, request: Request, row: Row) -> dict[str, Any]:
        own = links(request, "os-volume-transfer", row["id"])
        return {"id": row["id"], "volume_id": row["volume_id"], "name": row["name"], "links": own}

    async def index(self, request: Request) -> Response:
        return await self._list(request, detail=False)

    async def detail(self, request: Request) -> Response:
        return await self._list(request, detail=True)

    async def _list(self, request: Request, *, detail: bool) -> Response:
        need(request, "volume:get_all_transfers")
        limit, offset = query.limit_of(request), query.offset_of(request)
        sorts = query.sorts_of(request, _SAME) if at(request, 59) else [("created_at", False), ("id", False)]
        page = Page(limit + offset, request.args.get("marker") if at(request, 59) else None, sorts)
        conditions = [Sql("accepted = 0", {})]
        if not (is_admin(request) and yes(request.args.get("all_tenants"))):
            conditions.append(Sql("source_project_id = :mine", {"mine": request.caller.project_id}))
        for name in ("name", "volume_id", "id"):
            if name in request.args:
                conditions.append(Sql(f"{name} = :asked_{name}", {f"asked_{name}": request.args[name]}))
        rows = (await page.rows(self.db, TRANSFER, {}, conditions))[offset:] if limit else []
        show = self._view if detail else self._summary
        answer: dict[str, Any] = {"transfers": [show(request, row) for row in rows]}
        last = rows[-1]["id"] if rows else None
        if more := next_links(request, "os-volume-transfer", last, len(rows), limit):
            answer["transfers_links"] = more
        return json_response(200, answer)

    async def show(self, request: Request) -> Response:
        need(request, "volume:get_transfer")
        return json_response(200, {"transfer": self._view(request, await self._find(request, self.db))})

    async def create(self, request: Request) -> Response:
        fields = _CREATE_55 if at(request, 55) else _CREATE
        body = (await body_of(request, base.wrapped("transfer", fields, ("volume_id",))))["transfer"]
        salt, key = secrets.token_hex(4), secrets.token_hex(8)

        async def work(tx: Tx) -> Row:
            volume = await VOLUME.get(tx, id=body["volume_id"])
            if volume is None or not sees(request, volume):
                raise missing("Volume", body["volume_id"])
            need(request, "volume:create_transfer", target(volume))
            if volume["status"] != "available":
                raise bad_volume("status must be available")
            if volume["group_id"]:
                raise bad_volume(f"Volume {volume['id']} must not be part of a group.")
            if not body.get("no_snapshots"):
                for snapshot in await SNAPSHOT.select(tx, {"volume_id": volume["id"]}):
                    if snapshot["status"] != "available" or snapshot["group_snapshot_id"]:
                        text = f"Invalid snapshot: snapshot: {snapshot['id']} status must be available"
                        raise Invalid(text, code="InvalidSnapshot")
            name = body.get("name")
            row: Row = {
                "id": str(uuid4()), "volume_id": volume["id"], "name": name.strip() if name else name, "salt": salt,
                "crypt_hash": _hash(salt, key), "no_snapshots": bool(body.get("no_snapshots")), "accepted": False,
                "source_project_id": volume["project_id"], "destination_project_id": None, "created_at": clock.now(),
            }  # fmt: skip
            await TRANSFER.insert(tx, row)
            await VOLUME.update(tx, {"id": volume["id"]}, {"status": "awaiting-transfer", "updated_at": clock.now()})
            return row

        return json_response(202, {"transfer": self._view(request, await self.db.write(work), auth_key=key)})

    async def accept(self, request: Request) -> Response:
        key = (await body_of(request, _ACCEPT))["accept"]["auth_key"]
        need(request, "volume:accept_transfer")

        async def work(tx: Tx) -> Row:
            row = await TRANSFER.get(tx, id=request.params["id"], accepted=False)
            if row is None:
                raise missing("Transfer", request.params["id"])
            if not hmac.compare_digest(_hash(row["salt"], key), row["crypt_hash"]):
                text = f"Invalid auth key: Attempt to transfer {row['id']} with invalid auth key."
                raise Invalid(text, code="InvalidAuthKey")
            volume = await VOLUME.get(tx, id=row["volume_id"])
            if volume is None:
                raise missing("Volume", row["volume_id"])
            await _hand_over(tx, request, row, volume)
            return row

        return json_response(202, {"transfer": self._summary(request, await self.db.write(work))})

    async def delete(self, request: Request) -> Response:
        async def work(tx: Tx) -> None:
            row = await self._find(request, tx)
            volume = await VOLUME.get(tx, id=row["volume_id"])
            need(request, "volume:delete_transfer", target(volume) if volume else None)
            await TRANSFER.delete(tx, {"id": row["id"]})
            if volume and volume["status"] == "awaiting-transfer":
                changes = {"status": "available", "updated_at": clock.now()}
                await VOLUME.update(tx, {"id": volume["id"]}, changes)

        await self.db.write(work)
        return empty(202)

    def routes(self) -> Sequence[Route]:
        found: list[Route] = []
        for path, since in (("/os-volume-transfer", ""), ("/volume-transfers", "3.55")):
            name, one, more = path.strip("/").replace("-", "_"), path + "/{id}", {"since": since}
            create = {"rule": "volume:create_transfer", "status": 202} | more
            found += [
                *both("GET", path, self.index, f"{name}:list", rule="volume:get_all_transfers", **more),
                *both("GET", path + "/detail", self.detail, f"{name}:detail", rule="volume:get_all_transfers", **more),
                *both("POST", path, self.create, f"{name}:create", **create,
                      body=base.wrapped("transfer", _CREATE_55, ("volume_id",))),
                *both("GET", one, self.show, f"{name}:show", rule="volume:get_transfer", **more),
                *both("DELETE", one, self.delete, f"{name}:delete", rule="volume:delete_transfer", status=202, **more),
                *both("POST", one + "/accept", self.accept, f"{name}:accept", rule="volume:accept_transfer",
                      status=202, body=_ACCEPT, **more),
            ]  # fmt: skip
        return found


def _hash(salt: str, key: str) -> str:
    return hmac.new(salt.encode(), key.encode(), hashlib.sha256).hexdigest()


async def _hand_over(tx: Tx, request: Request, row: Row, volume: Row) -> None:
    """The volume, and its snapshots if they go with it, are the caller's; so is what they count. Raises TooLarge."""
    new, old = request.caller.project_id or "", volume["project_id"]
    snapshots = [] if row["no_snapshots"] else await SNAPSHOT.select(tx, {"volume_id": volume["id"]})
    sizes = sum(snapshot["size"] for snapshot in snapshots)
    name = (await names_of(tx, [volume["type_id"]])).get(volume["type_id"], "")
    counts = {"volumes": 1, "gigabytes": volume["size"] + sizes}
    counts |= {"snapshots": len(snapshots)} if snapshots else {}
    counts = quota.with_type(counts, name)
    await quota.take(tx, new, counts, "volumes", size=volume["size"])
    await quota.add(tx, old, {resource: -number for resource, number in counts.items()})
    owner = {"project_id": new, "user_id": request.caller.user_id}
    await VOLUME.update(tx, {"id": volume["id"]}, owner | {"status": "available", "updated_at": clock.now()})
    for snapshot in snapshots:
        await SNAPSHOT.update(tx, {"id": snapshot["id"]}, owner)
    await TRANSFER.update(tx, {"id": row["id"]}, {"accepted": True, "destination_project_id": new})
