"""Credentials that users keep here for others to check: keys of the EC2 kind, seeds of one-time passwords, anything.

The `blob` is text of the caller's, encrypted in the row. A credential of type `ec2` is found by its access key: its id
is that key's SHA-256. What a credential is for cannot change; only its blob can.
"""

import hashlib
from typing import Any

import msgspec

from hagane.api.http import Request
from hagane.api.resource import REQUIRED, Attr
from hagane.api.types import BadValue, Custom, Str
from hagane.cloud import Cloud
from hagane.errors import Conflict, Invalid
from hagane.identity.base import V3, IdentityResource, expected, not_delegated
from hagane.state.database import Reader, Row, Tx
from hagane.state.secret import Secrets
from hagane.state.table import Sql

EC2 = "ec2"
BOUND = ("trust_id", "app_cred_id", "access_token_id", "access_id")
"""What older services wrote into blobs to bind them to a narrower right; it cannot be changed."""
_DELEGATED = "Delegated tokens cannot access credentials directly"


class Credential(IdentityResource):
    """A credential of a user, readable by that user and by administrators."""

    name, plural = "credential", "credentials"
    path = f"{V3}/credentials"
    table_name = "identity_credential"
    indexes = ("user_id, type", "project_id")
    flags = ("user_id", "type")
    attrs = (
        Attr("id", Str(), key=True),
        Attr("type", Str(255), write="c", default=REQUIRED),
        Attr("user_id", Str(255), write="c", default=REQUIRED),
        Attr("project_id", Str(64, nullable=True), write="c"),
        Attr("blob", Str(65535), write="cu", default=REQUIRED, stored=False),
        Attr("encrypted_blob", Str(), shown=False, sort=False),
        Attr("extra", Custom(), default=dict, shown=False),
    )

    def __init__(self, cloud: Cloud) -> None:
        super().__init__(cloud)
        self.secrets = cloud.use(Secrets)

    # -- reading -----------------------------------------------------------------------------------------------

    async def find(self, request: Request, reader: Reader, key: str, verb: str = "get") -> Row:
        row = await super().find(request, reader, key, verb)
        not_delegated(request.caller, _DELEGATED)
        return row

    def list_target(self, request: Request) -> dict[str, Any]:
        """Everybody may ask, and is given what `visible` lets through."""
        return {} if request.caller.system else {"target": {"credential": {"user_id": request.caller.user_id}}}

    def visible(self, request: Request) -> list[Sql]:
        caller = request.caller
        if caller.more.get("trust_id") or caller.more.get("delegated"):
            return [Sql("1 = 0")]
        if request.allowed("identity:get_credential", {"target": {"credential": {"user_id": ""}}}):
            return []
        return [Sql("identity_credential.user_id = :me", {"me": caller.user_id})]

    async def present(self, request: Request, rows: list[Row], reader: Reader | None = None) -> list[Any]:
        plain = [row | {"blob": self.secrets.decrypt(row["encrypted_blob"])} for row in rows]
        return await super().present(request, plain, reader)

    # -- writing -----------------------------------------------------------------------------------------------

    def enforce_create(self, request: Request, body: dict[str, Any]) -> None:
        super().enforce_create(request, body)
        not_delegated(request.caller, _DELEGATED)

    async def creating(self, request: Request, tx: Tx, row: Row) -> None:
        blob = row.pop("blob")
        if row["type"].lower() == EC2:
            if row["project_id"] is None:
                raise BadValue("credential", {"type": row["type"]}, "'project_id' is a required property")
            row["id"] = key_id(str(parsed(blob)["access"]))
        row["encrypted_blob"] = self.secrets.encrypt(blob)

    async def updating(self, request: Request, tx: Tx, old: Row, changes: Row) -> None:
        if "blob" not in changes:
            raise BadValue(self.name, {}, "'blob' is a required property")
        if old["type"].lower() == EC2:
            before, after = parsed(self.secrets.decrypt(old["encrypted_blob"])), parsed(changes["blob"])
            for name in BOUND:
                if before.get(name) != after.get(name):
                    raise Invalid(f"{name} can not be updated for credential")
        changes["encrypted_blob"] = self.secrets.encrypt(changes["blob"])

    def read_only(self, attr: Attr, letter: str, value: Any) -> None:
        if letter == "u":
            raise BadValue(self.name, {attr.label: value},
                           f"Additional properties are not allowed ({attr.label!r} was unexpected)")  # fmt: skip

    def unknown(self, row: Row, label: str, value: Any) -> None:
        if "extra" in row or label not in ("links", "id"):
            super().unknown(row, label, value)

    def conflict(self, row: Row) -> Conflict:
        return Conflict(
            f"Conflict occurred attempting to store credential - Duplicate entry found with ID {row['id']}."
        )


def key_id(access: str) -> str:
    """The id of the credential of an access key."""
    return hashlib.sha256(access.encode("utf-8", "replace")).hexdigest()


def parsed(blob: str) -> dict[str, Any]:
    """The blob of an EC2 credential. Raises Invalid."""
    try:
        found = msgspec.json.decode(blob)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise Invalid("Invalid blob in credential") from error
    if not found or not isinstance(found, dict):
        raise expected("blob", "credential")
    if found.get("access") is None:
        raise expected("access", "credential")
    return found
