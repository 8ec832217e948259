"""The routes under /auth: tokens (issue, validate, revoke), and what a token could be scoped to."""

from hagane.api.http import Request, Response, empty, json_response
from hagane.api.listing import Page
from hagane.api.service import Route
from hagane.cloud import Cloud
from hagane.errors import Forbidden, NotFound
from hagane.identity.assignment import SYSTEM, roles_of
from hagane.identity.base import V3, enforce
from hagane.identity.domain import Domain
from hagane.identity.login import Login
from hagane.identity.project import Project
from hagane.identity.revocation import revoke
from hagane.identity.ticket import chain
from hagane.identity.token import GRACE, Tokens
from hagane.identity.token_load import Token, Worthless
from hagane.identity.tree import domains_of
from hagane.identity.user import projects_answer
from hagane.state.database import Tx

RULES_HEADER = "openstack-identity-access-rules"


class Auth:
    """Handlers of /auth/*."""

    def __init__(self, cloud: Cloud) -> None:
        self.tokens, self.login = cloud.use(Tokens), Login(cloud)
        self.projects, self.domains = Project(cloud), Domain(cloud)

    def routes(self) -> list[Route]:
        tokens = f"{V3}/auth/tokens"
        return [
            Route("POST", tokens, self.login.handle, "token:create", auth=False, status=201),
            Route("GET", tokens, self.show, "token:show", rule="identity:validate_token"),
            Route("HEAD", tokens, self.check, "token:check", rule="identity:check_token"),
            Route("DELETE", tokens, self.delete, "token:delete", rule="identity:revoke_token", status=204),
            Route("GET", f"{V3}/auth/catalog", self.catalog, "auth:catalog", rule="identity:get_auth_catalog"),
            Route("GET", f"{V3}/auth/projects", self.my_projects, "auth:projects", rule="identity:get_auth_projects"),
            Route("GET", f"{V3}/auth/domains", self.my_domains, "auth:domains", rule="identity:get_auth_domains"),
            Route("GET", f"{V3}/auth/system", self.my_system, "auth:system", rule="identity:get_auth_system"),
        ]

    async def show(self, request: Request) -> Response:
        token = await self._subject(request, "identity:validate_token")
        body = await self.tokens.answer(token, catalog="nocatalog" not in request.args)
        return Response(200, body, {"x-subject-token": token.text})

    async def check(self, request: Request) -> Response:
        token = await self._subject(request, "identity:check_token")
        body = await self.tokens.answer(token, catalog="nocatalog" not in request.args)
        return Response(200, body, {"x-subject-token": token.text})

    async def _subject(self, request: Request, rule: str) -> Token:
        """The token that is asked about, if the caller may ask. Raises Forbidden, NotFound."""
        text = request.headers.get("x-subject-token", "")
        late = request.args.get("allow_expired", "").lower() in ("1", "true", "t", "on", "yes", "y")
        try:
            token = await (self.tokens.expired(text, GRACE) if late else self.tokens.find(text))
        except Worthless as error:
            raise NotFound(str(error) if text else "No token in the request") from error
        caller = token.caller
        enforce(
            request,
            rule,
            {"target": {"token": {"user_id": caller.user_id, "user": {"domain": {"id": caller.user_domain_id}}}}},
        )
        if token.access_rules is not None and not request.headers.get(RULES_HEADER):
            # The asking service would not enforce the rules, so to it the token is none.
            raise NotFound("Failed to validate token")
        return token

    async def delete(self, request: Request) -> Response:
        token = await self._subject(request, "identity:revoke_token")
        cascade = request.args.get("cascade", "true").lower() not in ("0", "false", "f", "off", "no", "n")
        subjects = [token.ticket.audit_ids[0]] + ([chain(token.ticket.audit_ids[0])] if cascade else [])

        async def work(tx: Tx) -> None:
            await revoke(tx, *subjects, kind="audit_id")

        await self.tokens.db.write(work)
        return empty(204)

    async def catalog(self, request: Request) -> Response:
        enforce(request, "identity:get_auth_catalog")
        if not request.caller.project_id:
            raise Forbidden("You are not authorized to perform the requested action.")
        entries = await self.tokens.catalog.encoded(request.caller.project_id, request.caller.user_id)
        foot = {"links": {"self": f"{request.base_url}{request.path}"}}
        end = json_response(200, foot).body
        assert isinstance(end, bytes)
        return Response(200, b'{"catalog":' + entries + b"," + end[1:])

    # -- what the token could be scoped to ---------------------------------------------------------------------

    async def my_projects(self, request: Request) -> Response:
        enforce(request, "identity:get_auth_projects")
        return await projects_answer(request, self.projects, request.caller.user_id)

    async def my_domains(self, request: Request) -> Response:
        enforce(request, "identity:get_auth_domains")
        ids = await domains_of(self.tokens.db, request.caller.user_id)
        rows = await Domain.table.select(self.tokens.db, {"id": list(ids)}, order="name")
        views = await self.domains.present(request, rows)
        return json_response(200, self.domains.list_answer(request, views, Page(None, None, [])))

    async def my_system(self, request: Request) -> Response:
        enforce(request, "identity:get_auth_system")
        roles = await roles_of(self.tokens.db, request.caller.user_id, "system", SYSTEM)
        own = {"self": f"{request.base_url}{request.path}"}
        return json_response(200, {"system": [{"all": True}] if roles else [], "links": own})
