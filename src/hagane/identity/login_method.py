"""How a login proves who it is: password, one-time password, an earlier token, or what a user gave to a program.

The latter is an application credential, or an access token of OAuth 1.0.
"""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from hagane.api.http import Request
from hagane.cloud import Cloud
from hagane.errors import NotFound, Unauthenticated
from hagane.identity.application_credential import ApplicationCredential
from hagane.identity.base import could_not_find, expected, refused
from hagane.identity.compliance import count
from hagane.identity.consumer import Consumer
from hagane.identity.credential import Credential
from hagane.identity.oauth import once
from hagane.identity.oauth_signature import right, signed
from hagane.identity.oauth_store import ACCESS_TOKEN
from hagane.identity.one_time import fits
from hagane.identity.password import Passwords
from hagane.identity.project import ROOT, Project
from hagane.identity.receipt import HEADER, Insufficient, Receipts
from hagane.identity.revocation import is_revoked
from hagane.identity.throttle import Throttle, TooMany, address_of
from hagane.identity.ticket import Ticket
from hagane.identity.token import MISSING, Tokens
from hagane.identity.token_load import PRIMARY, Worthless, user_of
from hagane.identity.user import User
from hagane.state import clock
from hagane.state.database import Reader, Row
from hagane.state.secret import Secrets


@dataclass(frozen=True, slots=True)
class Proof:
    """What one method proved. `password_hash` is what the password was compared with."""

    user_id: str
    methods: tuple[str, ...]
    expires_at: float | None = None
    chain: str | None = None
    credential: Row | None = None
    access: Row | None = None
    source: Ticket | None = None
    password_hash: str | None = None


def denied(detail: str = "") -> Unauthenticated:
    return Unauthenticated(MISSING, detail=detail)


async def domain_of(reader: Reader, wanted: dict[str, Any]) -> Row | None:
    """An enabled domain, named by name or id."""
    by = {"name": wanted["name"], "domain_id": ROOT} if wanted.get("name") else {"id": wanted.get("id")}
    return await Project.table.get(reader, is_domain=True, enabled=True, **by)


class Methods:
    """The methods. Whatever is wrong with user or password is answered by the same 401."""

    def __init__(self, cloud: Cloud) -> None:
        self.db = cloud.db
        self.tokens, self.passwords = cloud.use(Tokens), cloud.use(Passwords)
        self._throttle, self.receipts = cloud.use(Throttle), Receipts(cloud.config.state)
        self._secrets = cloud.use(Secrets)
        self._methods: dict[str, Callable[[Request, dict[str, Any]], Awaitable[Proof]]] = {
            "password": self._password,
            "totp": self._one_time,
            "token": self._token,
            "application_credential": self._application_credential,
            "oauth1": self._access_token,
        }

    async def prove(self, request: Request, identity: dict[str, Any]) -> Proof:
        """Run every method; they must agree on the user."""
        proofs: list[Proof] = []
        methods = list(dict.fromkeys(identity["methods"]))
        for name in methods:
            if name not in identity:
                raise expected(name, "identity")
        for name in methods:
            if name not in self._methods:
                raise Unauthenticated("Attempted to authenticate with an unsupported method.")
        for name in methods:
            proofs.append(await self._methods[name](request, identity[name]))
        if not proofs or any(proof.user_id != proofs[0].user_id for proof in proofs):
            raise denied("no method, or methods of several users")
        known = [name for proof in proofs for name in proof.methods]
        known += await self._earlier(request, proofs[0].user_id)
        if set(known) <= {"totp"}:
            raise denied("a one-time password alone")
        merged = proofs[0]
        for proof in proofs[1:]:
            given = {
                name: getattr(proof, name) for name in ("chain", "credential", "access", "source", "password_hash")
            }
            merged = replace(merged, **{name: value for name, value in given.items() if value is not None})
        if merged.credential is not None and merged.access is not None:
            raise denied("given to two programs at once")
        ends = [proof.expires_at for proof in proofs if proof.expires_at is not None]
        merged = replace(merged, expires_at=min(ends, default=None))
        merged = replace(merged, methods=tuple(dict.fromkeys(known)))
        await self._enough(merged)
        return merged

    async def _earlier(self, request: Request, user_id: str) -> tuple[str, ...]:
        """What the user has proved by the login before this one, as its receipt says. Raises Unauthenticated."""
        text = request.headers.get(HEADER)
        if not text:
            return ()
        receipt = self.receipts.read(text)
        if receipt is None or receipt.user_id != user_id:
            raise denied("the receipt is none, is too old, or is another user's")
        if await is_revoked(self.db, [user_id], receipt.issued_at):
            raise denied("what the receipt says was revoked, as by a new password")
        return receipt.methods

    async def _enough(self, proof: Proof) -> None:
        """A user may demand several methods at once: one of the rules, each a list of methods, must be fulfilled.

        Methods that do not exist here are left out of a rule, and rules of only such are void, as in the real service:
        a typing error shall not lock anybody out.
        """
        user = await user_of(self.db, proof.user_id)
        options = msgspec.json.decode(user["options"]) if user and user["options"] else {}
        if not options.get("multi_factor_auth_enabled", True):
            return
        known = [
            {method for method in rule if method in self._methods}
            for rule in options.get("multi_factor_auth_rules", [])
        ]
        if any(known) and not any(rule and rule <= set(proof.methods) for rule in known):
            raise Insufficient(user or {}, proof.methods, known)

    async def _password(self, request: Request, data: dict[str, Any]) -> Proof:
        if "user" not in data:
            raise expected("user", "password")
        who = data["user"]
        name = (who.get("id") or f"{who.get('domain')}/{who.get('name')}")[:400]
        try:
            async with self._throttle.attempt(name, address_of(request)):
                user = await self._user(who)
                stored = user["password_hash"] if user else None
                right = await self.passwords.verify(who.get("password") or "", stored)
                if user is not None and await count(self.db, user, right=right):
                    raise denied("the user is locked out")
                if not right or user is None:
                    raise denied("wrong user or password")
        except TooMany as error:
            raise denied("too many failed logins") from error
        if user["password_expires_at"] is not None and user["password_expires_at"] <= clock.now():
            raise Unauthenticated(f"The password is expired and needs to be changed for user: {user['id']}.")
        return Proof(user["id"], ("password",), password_hash=stored)

    async def _one_time(self, request: Request, data: dict[str, Any]) -> Proof:
        who = data.get("user")
        if not isinstance(who, dict):
            raise expected("user", "totp")
        name = (who.get("id") or f"{who.get('domain')}/{who.get('name')}")[:400]
        try:
            async with self._throttle.attempt(name, address_of(request)):
                user = await self._user(who)
                rows = await Credential.table.select(self.db, {"user_id": user["id"], "type": "totp"}) if user else []
                seeds = [self._secrets.decrypt(row["encrypted_blob"]) for row in rows]
                if user is None or not fits(seeds, str(who.get("passcode", ""))):
                    raise denied("wrong user or one-time password")
        except TooMany as error:
            raise denied("too many failed logins") from error
        return Proof(user["id"], ("totp",))

    async def _token(self, request: Request, data: dict[str, Any]) -> Proof:
        try:
            source = (await self.tokens.find(data["id"])).ticket
        except Worthless as error:
            raise NotFound(str(error)) from error
        if source.trust_id is not None:
            raise refused("Using trust-scoped token to create another token. Create a new trust-scoped token instead")
        if not set(source.methods) <= PRIMARY:
            raise refused("Using a delegated token to create another token is not allowed.")
        methods = ("token", *source.methods)
        return Proof(source.user_id, methods, source.expires_at, source.audit_ids[-1], source=source)

    async def _application_credential(self, request: Request, data: dict[str, Any]) -> Proof:
        row = await self._find_credential(data)
        try:
            async with self._throttle.attempt(row["id"], address_of(request)):
                user = await user_of(self.db, row["user_id"])
                right = await self.passwords.verify(data.get("secret") or "", row["secret_hash"])
                if not right or not _enabled(user):
                    raise denied("wrong secret, or its user is disabled")
        except TooMany as error:
            raise denied("too many failed logins") from error
        expires = clock.seconds(row["expires_at"]) if row["expires_at"] else None
        if expires is not None and expires <= time.time():
            raise denied("the application credential has expired")
        return Proof(row["user_id"], ("application_credential",), expires, credential=row)

    async def _access_token(self, request: Request, data: dict[str, Any]) -> Proof:
        """The request itself is signed, by a consumer with an access token that a user gave it."""
        given = signed(request)
        if not given.token:
            raise expected("oauth_token", "request")
        row = await ACCESS_TOKEN.get(self.db, id=given.token)
        if row is None:
            raise NotFound("Access token not found")
        consumer = await Consumer.table.get(self.db, id=given.consumer)
        if consumer is None or row["consumer_id"] != consumer["id"]:
            raise denied("the access token is none of this consumer's")
        mine = [self._secrets.decrypt(of["encrypted_secret"]) for of in (consumer, row)]
        if not right(request, given, *mine, query=False):
            raise denied("wrong signature")
        if row["expires_at"] <= clock.now():
            raise Unauthenticated("Access token is expired")
        await self.db.write(lambda tx: once(tx, given))
        return Proof(row["user_id"], ("oauth1",), clock.seconds(row["expires_at"]), access=row)

    async def _find_credential(self, data: dict[str, Any]) -> Row:
        if data.get("id"):
            row = await ApplicationCredential.table.get(self.db, id=data["id"])
            if row is None:
                raise could_not_find("Application Credential", data["id"])
            return row
        if not data.get("name"):
            raise expected("name or ID", "application credential")
        if not data.get("user"):
            raise expected("user", "application credential")
        user = await self._user(data["user"])
        row = await ApplicationCredential.table.get(self.db, name=data["name"], user_id=user["id"]) if user else None
        if row is None:
            raise denied("no such application credential")
        return row

    async def _user(self, who: dict[str, Any]) -> Row | None:
        """The enabled user that a login names, or None."""
        if who.get("id"):
            user = await user_of(self.db, who["id"])
        elif not who.get("name"):
            raise expected("id or name", "user")
        elif "domain" not in who:
            raise expected("domain", "user")
        else:
            domain = await domain_of(self.db, who["domain"])
            row = await User.table.get(self.db, domain_id=domain["id"], name=who["name"]) if domain else None
            user = await user_of(self.db, row["id"]) if row else None
        return user if _enabled(user) else None

    async def hold(self, proof: Proof) -> None:
        """The password that was right a moment ago must be right still: hashing takes long enough to change it."""
        if proof.password_hash is None:
            return
        user = await user_of(self.db, proof.user_id)
        if user is None or user["password_hash"] != proof.password_hash:
            raise denied("the password has been changed meanwhile")


def _enabled(user: Row | None) -> bool:
    return bool(user and user["enabled"] and user["domain_enabled"])
