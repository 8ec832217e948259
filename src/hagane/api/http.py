"""Requests and responses, as thin as they can be over ASGI. No cloud noun is known here."""

from collections.abc import AsyncIterator, Callable, MutableMapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode

import msgspec

from hagane.api.creds import Creds
from hagane.errors import Invalid, TooLarge

if TYPE_CHECKING:
    from hagane.api.service import Route, Service
    from hagane.cloud import Cloud

FIELDS = 1000  # of a query
BODY_LIMIT = 4 << 20  # bytes of a body that is read whole; uploads are streamed instead
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode

request_id: ContextVar[str] = ContextVar("request_id", default="")
"""The id of the request that is answered, or that caused the work which is done now. For logs."""

Receive = Callable[[], Any]
Send = Callable[[MutableMapping[str, Any]], Any]


@dataclass(frozen=True)
class Caller:
    """Who asks, as the token says. A token without project, domain and system scope is unscoped.

    `roles` are names with the implied ones included. `rules` of an application credential's access rules, if any,
    have been enforced already where the token was read.
    """

    user_id: str = ""
    user_name: str = ""
    user_domain_id: str = ""
    project_id: str | None = None
    project_name: str = ""
    project_domain_id: str = ""
    domain_id: str | None = None
    system: bool = False
    roles: frozenset[str] = frozenset()
    role_ids: tuple[str, ...] = ()
    token_id: str = ""
    audit_id: str = ""
    expires_at: str = ""
    application_credential_id: str | None = None
    is_admin_project: bool = True
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def is_admin(self) -> bool:
        return "admin" in self.roles

    @cached_property
    def creds(self) -> Creds:
        """The caller in the form that policy rules ask for; keep the Caller with its token and it is built once."""
        return Creds(
            user_id=self.user_id or None,
            user_domain_id=self.user_domain_id or None,
            project_id=self.project_id,
            project_domain_id=self.project_domain_id or None,
            domain_id=self.domain_id,
            system_scope="all" if self.system else None,
            roles=self.roles,
            is_admin_project=self.is_admin_project,
            **{"user_name": self.user_name, "project_name": self.project_name, **self.more},
        )


class Request:
    """One HTTP request on its way through a service."""

    __slots__ = (
        "__dict__",
        "_receive",
        "caller",
        "cloud",
        "id",
        "method",
        "params",
        "path",
        "route",
        "scope",
        "service",
        "version",
    )

    def __init__(self, cloud: "Cloud", scope: MutableMapping[str, Any], receive: Receive, request_id: str) -> None:
        self.cloud, self.scope, self._receive, self.id = cloud, scope, receive, request_id
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.params: dict[str, str] = {}
        self.version: tuple[int, int] = (0, 0)  # the negotiated microversion
        self.service: Service
        self.route: Route
        self.caller = Caller()

    @cached_property
    def headers(self) -> dict[str, str]:
        """Header names in lower case; the last of equal ones wins."""
        return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in self.scope["headers"]}

    @cached_property
    def query(self) -> list[tuple[str, str]]:
        """Raises Invalid for a query of too many fields, each of which may become a part of a statement."""
        text = self.scope["query_string"]
        try:
            return parse_qsl(text.decode("latin-1"), keep_blank_values=True, max_num_fields=FIELDS) if text else []
        except ValueError as error:
            raise Invalid(f"A query has at most {FIELDS} fields.", code="LongQuery") from error

    @cached_property
    def args(self) -> dict[str, str]:
        """The query as a dict; of equal names the last one wins."""
        return dict(self.query)

    @cached_property
    def base_url(self) -> str:
        """Scheme and host as the client sees us: configured, else by proxy headers, else by the Host header."""
        if self.cloud.config.public_url:
            return self.cloud.config.public_url.rstrip("/")
        scheme = self.headers.get("x-forwarded-proto", self.scope.get("scheme", "http"))
        return f"{scheme}://{self.headers.get('x-forwarded-host') or self.headers.get('host', 'localhost')}"

    @cached_property
    def url(self) -> str:
        """The service's own root as the client sees it: http://host/network."""
        return self.base_url + self.service.prefix

    def page_url(self, **changes: Any) -> str:
        """This request's URL with other query values, for the links of a page."""
        kept = [(name, value) for name, value in self.query if name not in changes]
        kept += [(name, str(value)) for name, value in changes.items() if value is not None]
        return f"{self.base_url}{self.path}" + (f"?{urlencode(kept)}" if kept else "")

    async def stream(self) -> AsyncIterator[bytes]:
        """The body in pieces, as they come. Raises Invalid when the client goes away in the middle."""
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise Invalid("The client closed the connection before the body was complete.", code="Disconnected")
            if chunk := message.get("body"):
                yield chunk
            if not message.get("more_body"):
                return

    async def gone(self) -> None:
        """Wait until the client has closed the connection; what is left of the body is thrown away."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def body(self, limit: int = BODY_LIMIT) -> bytes:
        """The whole body. Raises TooLarge."""
        chunks: list[bytes] = []
        size = 0
        async for chunk in self.stream():
            size += len(chunk)
            if size > limit:
                raise TooLarge("Request is too large.")
            chunks.append(chunk)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    async def json(self) -> Any:
        """The body as JSON; an empty body is None. Raises Invalid."""
        body = await self.body()
        if not body:
            return None
        try:
            return _decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Invalid("Malformed request body: not valid JSON.", code="MalformedBody", detail=str(error)) from error

    def allowed(self, rule: str, target: MutableMapping[str, Any] | None = None) -> bool:
        """What the policy says to this caller."""
        return self.service.policy.check(rule, self.caller.creds, target or {})


@dataclass(slots=True)
class Response:
    """Status, headers (lower case) and a body: bytes, a stream of bytes, or nothing."""

    status: int = 200
    body: bytes | AsyncIterator[bytes] = b""
    headers: dict[str, str] = field(default_factory=dict)
    media_type: str = "application/json"


def json_response(status: int, value: Any, headers: dict[str, str] | None = None) -> Response:
    return Response(status, _encode(value), headers or {})


def empty(status: int = 204, headers: dict[str, str] | None = None) -> Response:
    return Response(status, b"", headers or {}, media_type="")
