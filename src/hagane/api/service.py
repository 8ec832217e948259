"""A service is one OpenStack API: its prefix, its microversions, its policy, its error envelope, its routes."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from hagane.errors import HaganeError, Invalid, NotAcceptable

if TYPE_CHECKING:
    from hagane.api.http import Request, Response
    from hagane.api.types import Type

Handler = Callable[["Request"], Awaitable["Response"]]
Version = tuple[int, int]


class PolicyLike(Protocol):
    """What a service asks of its policy (api/policy.py)."""

    def check(self, rule: str, creds: Any, target: Any) -> bool: ...


@dataclass(frozen=True)
class Route:
    """One method on one path. `path` is whole ("/network/v2.0/ports/{id}").

    `rule` is the policy rule it asks for, for the documents and the access tests; the handler enforces it, since only
    the handler knows the target. `since` and `until` bound the microversions in which the route exists. `body` and
    `answer` are types for the OpenAPI document; bodies that they describe are checked by the handler.
    """

    method: str
    path: str
    handler: Handler
    name: str
    auth: bool = True
    rule: str = ""
    since: str = ""
    until: str = ""
    body: "Type | None" = None
    answer: "Type | None" = None
    status: int = 200
    query: tuple[str, ...] = ()
    streams: bool = False  # the body is bytes
    before: str = ""  # what versions before `since` are told: 405, to read it 404; "": there is no such path
    media: tuple[str, ...] = ("application/json",)  # of the request's body

    def exists_in(self, version: Version) -> bool:
        if self.since and version < parse(self.since):
            return False
        return not (self.until and version > parse(self.until))


@dataclass(frozen=True)
class Microversions:
    """The range that a service speaks, oldest to newest.

    `legacy` is the older header that some clients send ("X-OpenStack-Nova-API-Version"). `series` names the service in
    the common header ("compute 2.90"). `history` is a commented list of the versions that changed something here.
    """

    series: str
    oldest: str
    newest: str
    legacy: str = ""

    def negotiate(self, headers: dict[str, str]) -> Version:
        """The version a request asks for; the oldest when it does not ask. Raises Invalid or NotAcceptable."""
        wanted = self._wanted(headers)
        if not wanted:
            return parse(self.oldest)
        if wanted == "latest":
            return parse(self.newest)
        try:
            version = parse(wanted)
        except ValueError as error:
            raise Invalid(
                f"API Version String {wanted} is of invalid format. Must be of format MajorNum.MinorNum.",
                code="BadVersion",
            ) from error
        if not parse(self.oldest) <= version <= parse(self.newest):
            raise NotAcceptable(
                f"Version {wanted} is not supported by the API. Minimum is {self.oldest} and maximum is {self.newest}.",
                minimum=self.oldest,
                maximum=self.newest,
            )
        return version

    def _wanted(self, headers: dict[str, str]) -> str:
        for entry in headers.get("openstack-api-version", "").split(","):
            words = entry.split()
            if len(words) == 2 and words[0].lower() == self.series:
                return words[1].lower()
        return headers.get(self.legacy.lower(), "").strip().lower() if self.legacy else ""

    def echo(self, version: Version) -> dict[str, str]:
        """The headers that tell the client which version answered."""
        text = f"{version[0]}.{version[1]}"
        headers = {"openstack-api-version": f"{self.series} {text}", "vary": "OpenStack-API-Version"}
        if self.legacy:
            headers[self.legacy.lower()] = text
            headers["vary"] += f", {self.legacy}"
        return headers


def parse(text: str) -> Version:
    """ "2.90" -> (2, 90). Raises ValueError."""
    major, _, minor = text.partition(".")
    if not (major.isdigit() and minor.isdigit() and str(int(major)) == major and str(int(minor)) == minor):
        raise ValueError(text)
    return int(major), int(minor)


Envelope = Callable[[HaganeError, int, "Request"], tuple[Any, dict[str, str]]]


@dataclass
class Service:
    """One API. `envelope` shapes an error's body; `status` may map an error to another code than faults.py does."""

    type: str  # as in the catalog: network, compute, ...
    prefix: str
    policy: PolicyLike
    envelope: Envelope
    versions: Microversions | None = None
    wording: Callable[[str, Any, str], str] = lambda field, value, reason: (
        f"Invalid input for {field}. Reason: {reason}."
    )
    status: Callable[[HaganeError], int | None] = lambda error: None
    headers: dict[str, str] = field(default_factory=dict)  # of every answer
    id_header: str = ""  # a second header that carries the request id ("x-compute-request-id")
    title: str = ""
    spelling: "Callable[[Request, str], str] | None" = None  # the route's path for one that is spelled otherwise
    routes: list[Route] = field(default_factory=list)
    sockets: dict[str, Any] = field(default_factory=dict)  # path -> WebSocket handler (api/asgi.py)
