"""POST /auth/tokens: who are you (login_method.py), and for what (scope) do you want a token?

    scope:   project | domain | system | unscoped; none: the user's default project if it is open to the user

Whatever is wrong with user, password or scope is answered by the same 401, so that nobody learns which it was.
"""

import time
from typing import Any

from hagane.api.http import Request, Response
from hagane.cloud import Cloud
from hagane.errors import Forbidden, Invalid, Unauthenticated
from hagane.identity.assignment import roles_of
from hagane.identity.base import UNAUTHORIZED, expected, refused
from hagane.identity.login_method import Methods, Proof, denied, domain_of
from hagane.identity.login_shape import validate
from hagane.identity.oauth_store import purge_oauth
from hagane.identity.project import Project
from hagane.identity.receipt import Insufficient
from hagane.identity.revocation import purge
from hagane.identity.ticket import Ticket, audit_id
from hagane.identity.token import GRACE, Tokens
from hagane.identity.token_load import Withdrawn, Worthless, user_of
from hagane.identity.trust import Trust, consume, live, purge_trusts
from hagane.state import clock
from hagane.state.database import Row, Tx

SCOPES = ("project", "domain", "unscoped", "system", "OS-TRUST:trust")
PURGE = 1000  # logins between two looks for revocations that no token needs any more


class Login:
    """Issues tokens."""

    def __init__(self, cloud: Cloud) -> None:
        self.db, self.tokens, self._methods = cloud.db, cloud.use(Tokens), Methods(cloud)
        self._seconds = cloud.config.token_hours * 3600
        self._issued = 0

    async def handle(self, request: Request) -> Response:
        body = await request.json()
        if not isinstance(body, dict | None):
            raise Invalid("The body is not an object.", code="MalformedBody")
        auth = body.get("auth") if body else None
        if auth is None:
            raise expected("auth", "request body")
        validate(auth)
        started = time.time()  # before anything is read, so that a change that comes meanwhile ends this token
        try:
            proof = await self._methods.prove(request, auth["identity"])
        except Insufficient as error:
            return self._methods.receipts.answer(error)
        ticket = await self._ticket(auth, proof, started)
        try:
            token = await self.tokens.issue(ticket)
        except Withdrawn as error:
            raise Forbidden(UNAUTHORIZED, detail=error.why) from error
        except Worthless as error:
            raise denied(error.why) from error
        await self._methods.hold(proof)
        if ticket.trust_id is not None:
            await self._consume(ticket.trust_id)
        self._issued += 1
        if self._issued % PURGE == 0:
            await self.db.write(self._purge)
        encoded = await self.tokens.answer(token, catalog="nocatalog" not in request.args)
        return Response(201, encoded, {"x-subject-token": token.text})

    async def _purge(self, tx: Tx) -> None:
        await purge(tx, self._seconds + GRACE)
        await purge_trusts(tx, clock.after(-GRACE))
        await purge_oauth(tx, GRACE)

    async def _consume(self, trust_id: str) -> None:
        """A token of a trust costs one of its uses."""
        if not await self.db.write(lambda tx: consume(tx, trust_id)):
            raise denied("the trust is gone or used up")

    async def _project(self, wanted: dict[str, Any]) -> Row | None:
        if not wanted.get("name"):
            return await Project.table.get(self.db, id=wanted.get("id"), is_domain=False)
        if "domain" not in wanted:
            raise expected("domain", "project")
        domain = await domain_of(self.db, wanted["domain"])
        return await Project.table.get(self.db, name=wanted["name"], domain_id=domain["id"]) if domain else None

    async def _ticket(self, auth: dict[str, Any], proof: Proof, started: float) -> Ticket:
        if proof.credential is not None:
            if "scope" in auth:
                raise Unauthenticated(
                    "Error authenticating with application credential: Application credentials cannot request a scope."
                )
            scope: dict[str, Any] = {"project_id": proof.credential["project_id"]}
            scope["application_credential_id"] = proof.credential["id"]
        elif proof.access is not None:  # it is for one project, whatever scope is asked for
            scope = {"project_id": proof.access["project_id"], "access_token_id": proof.access["id"]}
        else:
            scope = await self._scope(auth["scope"], proof) if "scope" in auth else await self._default(proof)
        ends = (float(int(started + self._seconds)), proof.expires_at, scope.pop("until", None))
        expires = min(moment for moment in ends if moment is not None)
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
        if not isinstance(wanted, dict):
            raise denied("a scope of one word")
        if "OS-TRUST:trust" in wanted:
            return await self._trust(wanted["OS-TRUST:trust"])
        if proof.source is not None and proof.source.system and "system" not in wanted:
            raise refused(
                "Using a system-scoped token to create a project-scoped or domain-scoped token is not allowed."
            )
        if "system" in wanted:
            return {"system": True}
        kind = "project" if "project" in wanted else "domain"
        row = await (self._project(wanted[kind]) if kind == "project" else domain_of(self.db, wanted[kind]))
        if row is None:
            raise denied(f"no such {kind}")
        return {f"{kind}_id": row["id"]}

    async def _trust(self, wanted: Any) -> dict[str, Any]:
        if not isinstance(wanted, dict) or not wanted.get("id"):
            raise expected("trust_id", "trust")
        rows = await Trust.table.select(self.db, {"id": wanted["id"]}, conditions=[live()])
        if not rows:
            raise denied("no such trust")
        ends = clock.seconds(rows[0]["expires_at"]) if rows[0]["expires_at"] else None
        return {"project_id": rows[0]["project_id"], "trust_id": rows[0]["id"], "until": ends}

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
