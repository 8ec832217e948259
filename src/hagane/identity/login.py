"""POST /auth/tokens: who are you (methods), and for what (scope) do you want a token?

    methods: password | token | application_credential, one or several that agree on the user
    scope:   project | domain | system | unscoped; none: the user's default project if it is open to the user

Whatever is wrong with user, password or scope is answered by the same 401, so that nobody learns which it was.
"""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

from hagane.api.http import Request, Response
from hagane.api.types import BadValue, ListOf, Obj, Str
from hagane.cloud import Cloud
from hagane.errors import Invalid, NotFound, Unauthenticated
from hagane.identity.application_credential import ApplicationCredential
from hagane.identity.assignment import roles_of
from hagane.identity.base import could_not_find, expected, refused
from hagane.identity.password import Passwords
from hagane.identity.project import ROOT, Project
from hagane.identity.throttle import Throttle, TooMany, address_of
from hagane.identity.ticket import Ticket, audit_id
from hagane.identity.token import MISSING, Tokens
from hagane.identity.token_load import Worthless, user_of
from hagane.identity.user import User
from hagane.state import clock
from hagane.state.database import Row

_REF = Obj(fields={"id": Str(None), "name": Str(None)}, open=True)
_IN_DOMAIN = Obj(fields={"id": Str(None), "name": Str(None), "domain": _REF}, open=True)
_USER = Obj(fields={"id": Str(None), "name": Str(None), "password": Str(None), "domain": _REF}, open=True)
_IDENTITY = Obj(
    fields={
        "methods": ListOf(item=Str(None)),
        "password": Obj(fields={"user": _USER}, open=True),
        "token": Obj(fields={"id": Str(None)}, required=("id",), open=True),
        "application_credential": Obj(
            fields={"id": Str(None), "name": Str(None), "secret": Str(None), "user": _IN_DOMAIN}, open=True
        ),
    },
    required=("methods",),
    open=True,
)
AUTH = Obj(fields={"identity": _IDENTITY}, required=("identity",), open=True)
_SCOPE = Obj(fields={"project": _IN_DOMAIN, "domain": _REF}, open=True)
SCOPES = ("project", "domain", "unscoped", "system", "OS-TRUST:trust")


@dataclass(frozen=True, slots=True)
class Proof:
    """What one method proved. `password_hash` is what the password was compared with."""

    user_id: str
    methods: tuple[str, ...]
    expires_at: float | None = None
    chain: str | None = None
    credential: Row | None = None
    source: Ticket | None = None
    password_hash: str | None = None


def denied(detail: str = "") -> Unauthenticated:
    return Unauthenticated(MISSING, detail=detail)


class Login:
    """Checks proofs and issues tokens."""

    def __init__(self, cloud: Cloud) -> None:
        self.db, self.tokens, self.passwords = cloud.db, cloud.use(Tokens), cloud.use(Passwords)
        self._throttle = cloud.use(Throttle)
        self._seconds = cloud.config.token_hours * 3600
        self._methods: dict[str, Callable[[Request, dict[str, Any]], Awaitable[Proof]]] = {
            "password": self._password,
            "token": self._token,
            "application_credential": self._application_credential,
        }

    async def handle(self, request: Request) -> Response:
        body = await request.json()
        if not isinstance(body, dict | None):
            raise Invalid("The body is not an object.", code="MalformedBody")
        auth = body.get("auth") if body else None
        if auth is None:
            raise expected("auth", "request body")
        _validate(auth)
        started = time.time()  # before anything is read, so that a change that comes meanwhile ends this token
        proof = await self._prove(request, auth["identity"])
        ticket = await self._ticket(auth, proof, started)
        try:
            token = await self.tokens.issue(ticket)
        except Worthless as error:
            raise denied(error.why) from error
        if proof.password_hash is not None:
            await self._still(proof)
        encoded = await self.tokens.answer(token, catalog="nocatalog" not in request.args)
        return Response(201, encoded, {"x-subject-token": token.text})

    # -- methods -----------------------------------------------------------------------------------------------

    async def _prove(self, request: Request, identity: dict[str, Any]) -> Proof:
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
        merged = proofs[0]
        for proof in proofs[1:]:
            given = {name: getattr(proof, name) for name in ("expires_at", "chain", "credential", "source")}
            merged = replace(merged, **{name: value for name, value in given.items() if value is not None})
        return replace(merged, methods=tuple(dict.fromkeys(known)))

    async def _password(self, request: Request, data: dict[str, Any]) -> Proof:
        if "user" not in data:
            raise expected("user", "password")
        who = data["user"]
        name = who.get("id") or f"{who.get('domain')}/{who.get('name')}"
        try:
            async with self._throttle.attempt(name, address_of(request)):
                user = await self._user(who)
                stored = user["password_hash"] if user else None
                if not await self.passwords.verify(who.get("password") or "", stored) or user is None:
                    raise denied("wrong user or password")
        except TooMany as error:
            raise denied("too many failed logins") from error
        if user["password_expires_at"] is not None and user["password_expires_at"] <= clock.now():
            raise Unauthenticated(f"The password is expired and needs to be changed for user: {user['id']}.")
        return Proof(user["id"], ("password",), password_hash=stored)

    async def _token(self, request: Request, data: dict[str, Any]) -> Proof:
        try:
            source = (await self.tokens.find(data["id"])).ticket
        except Worthless as error:
            raise NotFound(str(error)) from error
        if source.application_credential_id is not None:
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

    # -- users and scopes --------------------------------------------------------------------------------------

    async def _user(self, who: dict[str, Any]) -> Row | None:
        """The enabled user that a login names, or None."""
        if who.get("id"):
            user = await user_of(self.db, who["id"])
        elif not who.get("name"):
            raise expected("id or name", "user")
        elif "domain" not in who:
            raise expected("domain", "user")
        else:
            domain = await self._domain(who["domain"])
            row = await User.table.get(self.db, domain_id=domain["id"], name=who["name"]) if domain else None
            user = await user_of(self.db, row["id"]) if row else None
        return user if _enabled(user) else None

    async def _domain(self, wanted: dict[str, Any]) -> Row | None:
        """An enabled domain by name or id."""
        by = {"name": wanted["name"], "domain_id": ROOT} if wanted.get("name") else {"id": wanted.get("id")}
        return await Project.table.get(self.db, is_domain=True, enabled=True, **by)

    async def _project(self, wanted: dict[str, Any]) -> Row | None:
        if not wanted.get("name"):
            return await Project.table.get(self.db, id=wanted.get("id"), is_domain=False)
        if "domain" not in wanted:
            raise expected("domain", "project")
        domain = await self._domain(wanted["domain"])
        return await Project.table.get(self.db, name=wanted["name"], domain_id=domain["id"]) if domain else None

    async def _ticket(self, auth: dict[str, Any], proof: Proof, started: float) -> Ticket:
        if proof.credential is not None:
            if "scope" in auth:
                raise Unauthenticated(
                    "Error authenticating with application credential: Application credentials cannot request a scope."
                )
            scope: dict[str, Any] = {"project_id": proof.credential["project_id"]}
            scope["application_credential_id"] = proof.credential["id"]
        else:
            scope = await self._scope(auth["scope"], proof) if "scope" in auth else await self._default(proof)
        expires = float(int(started + self._seconds))
        if proof.expires_at is not None:
            expires = min(expires, proof.expires_at)
        audit = (audit_id(),) if proof.chain is None else (audit_id(), proof.chain)
        return Ticket(
            user_id=proof.user_id,
            methods=proof.methods,
            audit_ids=audit,
            issued_at=started,
            expires_at=expires,
            **scope,
        )

    async def _scope(self, wanted: Any, proof: Proof) -> dict[str, Any]:
        """What was asked for, as the ticket says it. Whether the user may is seen when the token is loaded."""
        if not isinstance(wanted, dict | str) or sum(word in wanted for word in SCOPES) != 1:
            raise expected("system, project, domain, OS-TRUST:trust or unscoped", "scope")
        if "unscoped" in wanted:
            return {}
        if not isinstance(wanted, dict) or "OS-TRUST:trust" in wanted:
            raise denied("there are no trusts")
        if proof.source is not None and proof.source.system and "system" not in wanted:
            raise refused(
                "Using a system-scoped token to create a project-scoped or domain-scoped token is not allowed."
            )
        if "system" in wanted:
            return {"system": True}
        kind = "project" if "project" in wanted else "domain"
        row = await (self._project if kind == "project" else self._domain)(wanted[kind])
        if row is None:
            raise denied(f"no such {kind}")
        return {f"{kind}_id": row["id"]}

    async def _default(self, proof: Proof) -> dict[str, Any]:
        """The user's default project, if it is enabled and the user has a role there; else unscoped."""
        user = await user_of(self.db, proof.user_id)
        project_id = user["default_project_id"] if user else None
        if not project_id:
            return {}
        rows = await self.db.fetch(
            "SELECT p.id FROM identity_project p JOIN identity_project d ON d.id = p.domain_id"
            " WHERE p.id = :id AND p.enabled = 1 AND d.enabled = 1",
            {"id": project_id},
        )
        return (
            {"project_id": project_id} if rows and await roles_of(self.db, proof.user_id, "project", project_id) else {}
        )

    async def _still(self, proof: Proof) -> None:
        """The password that was right a moment ago must be right still: hashing takes long enough to change it."""
        user = await user_of(self.db, proof.user_id)
        if user is None or user["password_hash"] != proof.password_hash:
            raise denied("the password has been changed meanwhile")


def _enabled(user: Row | None) -> bool:
    return bool(user and user["enabled"] and user["domain_enabled"])


def _validate(auth: Any) -> None:
    """The shape of the request, so that nothing below has to ask for types. Raises BadValue, Invalid."""
    AUTH.check("", auth)
    scope = auth.get("scope")
    if isinstance(scope, dict):
        _SCOPE.check("scope", scope)
    elif scope is not None and not isinstance(scope, str):
        raise BadValue("scope", scope, f"{scope!r} is not of type 'object', 'string'")
    places = {"identity/password/user": auth["identity"].get("password", {}).get("user")}
    if isinstance(scope, dict):
        places |= {f"scope/{kind}": scope.get(kind) for kind in ("project", "domain")}
    for place, named in list(places.items()):
        if named is not None:
            places[f"{place}/domain"] = named.get("domain")
    for place, named in places.items():
        if named is not None and "id" not in named and "name" not in named:
            raise Invalid(f"Invalid input for field {place}: id or name must be present.")
