"""Who else may say who somebody is: identity providers, and the protocols by which they say it.

    identity provider ── remote ids (its issuers) ── protocol ── mapping (mapping.py) ──▶ user, groups, projects here

All of these are named by those who make them, with PUT, and take no attribute that they do not know. Users of an
identity provider live in its domain; one that names none is given a domain of its own.
https://docs.openstack.org/api-ref/identity/v3-ext/#os-federation-api
"""

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from hagane.api.http import Request, Response, json_response
from hagane.api.listing import Page
from hagane.api.resource import REQUIRED, Attr
from hagane.api.types import Bool, Int, ListOf, Str
from hagane.errors import Conflict, Invalid, NotFound
from hagane.identity.base import CHANGED, REF, V3, could_not_find, enforce
from hagane.identity.domain import Domain
from hagane.identity.mapping import Mapping
from hagane.identity.named import KEY, Named
from hagane.identity.project import ROOT
from hagane.state.database import Duplicate, Reader, Row, Tx
from hagane.state.table import Column, Table

TOP = f"{V3}/OS-FEDERATION"
REMOTE = Table("identity_remote_id", (Column("remote_id", key=True), Column("provider_id")), ("provider_id",))
"""By which names an identity provider calls itself; no two have one in common."""


class IdentityProvider(Named):
    """Somebody who vouches for users. `authorization_ttl` is kept in minutes."""

    name, plural = "identity_provider", "identity_providers"
    path = f"{TOP}/identity_providers"
    table_name = "identity_provider"
    kind = "Identity Provider"
    indexes = ("domain_id",)
    flags = ("id", "enabled")
    attrs = (
        Attr("id", KEY, key=True),
        Attr("domain_id", Str(64, min=1, pattern=REF.pattern, nullable=True), write="c"),
        Attr("description", Str(None, nullable=True), write="cu"),
        Attr("enabled", Bool(loose=True), write="cu", default=False),
        Attr("authorization_ttl", Int(min=0, loose=False, nullable=True), write="cu"),
        Attr("remote_ids", ListOf(item=Str(255, min=1), unique=True, nullable=True), write="cu", stored=False),
    )

    async def creating(self, request: Request, tx: Tx, row: Row) -> None:
        if row["domain_id"] is None:
            row["domain_id"] = await _own_domain(tx, row["id"])
        elif await Domain.table.get(tx, id=row["domain_id"], is_domain=True) is None:
            raise could_not_find("domain", row["domain_id"])

    async def insert(self, tx: Tx, row: Row) -> None:
        remote = row.pop("remote_ids")
        await super().insert(tx, row)
        await self._call(tx, row["id"], remote)

    async def updating(self, request: Request, tx: Tx, old: Row, changes: Row) -> None:
        if "remote_ids" in changes:
            await REMOTE.delete(tx, {"provider_id": old["id"]})
            await self._call(tx, old["id"], changes.pop("remote_ids"))
        tx.notify(CHANGED)

    async def _call(self, tx: Tx, key: str, remote: Sequence[str] | None) -> None:
        for name in remote or ():
            try:
                await REMOTE.insert(tx, {"remote_id": name, "provider_id": key})
            except Duplicate as error:
                text = f"Conflict occurred attempting to store identity_provider - Duplicate remote ID: {name}."
                raise Conflict(text) from error

    async def deleting(self, request: Request, tx: Tx, row: Row) -> None:
        await remove_providers(tx, [row["id"]])
        tx.notify(CHANGED)

    async def present(self, request: Request, rows: list[Row], reader: Reader | None = None) -> list[Any]:
        names: dict[str, list[str]] = {row["id"]: [] for row in rows}
        where = {"provider_id": list(names)}
        for found in await REMOTE.select(reader or self.db, where, order="remote_id"):
            names[found["provider_id"]].append(found["remote_id"])
        views = await super().present(request, [row | {"remote_ids": names[row["id"]]} for row in rows], reader)
        for view in views:
            view["links"]["protocols"] = f"{view['links']['self']}/protocols"
        return views


async def _own_domain(tx: Tx, key: str) -> str:
    made = uuid4().hex
    words = f"Auto generated federated domain for Identity Provider: {key}"
    await Domain.table.insert(tx, {"id": made, "name": made, "description": words, "enabled": True, "tags": [],
                                   "options": {}, "domain_id": ROOT, "is_domain": True, "extra": {}})  # fmt: skip
    return made


async def remove_providers(tx: Tx, ids: Sequence[str]) -> None:
    """Delete identity providers with what hangs on them. Their users stay, and cannot log in by them any more."""
    await REMOTE.delete(tx, {"provider_id": list(ids)})
    await Protocol.table.delete(tx, {"provider_id": list(ids)})
    await IdentityProvider.table.delete(tx, {"id": list(ids)})


class Protocol(Named):
    """One way in which an identity provider says who somebody is, and the mapping that tells what that means here."""

    name, plural = "protocol", "protocols"
    path = f"{IdentityProvider.path}/{{provider}}/protocols"
    table_name = "identity_protocol"
    indexes = ("mapping_id",)
    flags = ()
    attrs = (
        Attr("provider_id", KEY, key=True, shown=False),
        Attr("id", KEY, key=True),
        Attr("mapping_id", KEY, write="cu", default=REQUIRED),
        Attr("remote_id_attribute", Str(64, nullable=True), write="cu"),
    )

    def rule(self, verb: str) -> str:
        return f"identity:{verb}_{self.plural if verb == 'list' else self.name}"

    def link(self, request: Request, row: Row) -> str:
        return f"{request.base_url}{IdentityProvider.path}/{row['provider_id']}/protocols/{row['id']}"

    async def find(self, request: Request, reader: Reader, key: str, verb: str = "get") -> Row:
        enforce(request, self.rule(verb))
        provider = request.params["provider"]
        row = await self.table.get(reader, provider_id=provider, id=key)
        if row is None:
            raise NotFound(f"Could not find federated protocol {key} for Identity Provider: {provider}.")
        return row

    async def present(self, request: Request, rows: list[Row], reader: Reader | None = None) -> list[Any]:
        views = await super().present(request, rows, reader)
        for view, row in zip(views, rows, strict=True):
            view["links"]["identity_provider"] = f"{request.base_url}{IdentityProvider.path}/{row['provider_id']}"
        return views

    async def list(self, request: Request) -> Response:
        enforce(request, self.rule("list"))
        where = {"provider_id": request.params["provider"]}
        rows = await self.table.select(self.db, where, order="id")
        views = await self.present(request, rows)
        return json_response(200, self.list_answer(request, views, Page(None, None, [])))

    def parse_create(self, request: Request, body: dict[str, Any]) -> Row:
        return super().parse_create(request, body) | {"provider_id": request.params["provider"]}

    def parse_update(self, request: Request, body: dict[str, Any]) -> Row:
        if "mapping_id" not in body:
            raise Invalid("'mapping_id' is a required property")
        return super().parse_update(request, body)

    async def creating(self, request: Request, tx: Tx, row: Row) -> None:
        if await IdentityProvider.table.get(tx, id=row["provider_id"]) is None:
            raise could_not_find(IdentityProvider.kind, row["provider_id"])
        await _mapped(tx, row)

    async def updating(self, request: Request, tx: Tx, old: Row, changes: Row) -> None:
        await _mapped(tx, changes)


async def _mapped(reader: Reader, row: Row) -> None:
    if await Mapping.table.get(reader, id=row["mapping_id"]) is None:
        raise Invalid(f"Invalid mapping id: {row['mapping_id']}")
