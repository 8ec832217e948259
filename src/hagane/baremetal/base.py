"""What all bare-metal resources share: microversions, the error envelope, links, access by a Node's owner and lessee.

The real service's habits: bodies are not wrapped, PATCH is JSON patch, `fields=` picks keys, a list gives few keys
unless it is asked for detail, a page that is not the last one carries `next`, an error is JSON inside JSON.
"""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from hagane.api.faults import REASON
from hagane.api.http import Request
from hagane.api.service import Microversions, Version, parse
from hagane.api.types import BadValue
from hagane.errors import Forbidden, HaganeError, Invalid, NotAcceptable

ROOT = "/baremetal"
V1 = ROOT + "/v1"
OLDEST, NEWEST = "1.1", "1.115"
HEADER = "X-OpenStack-Ironic-API-Version"
CONDUCTOR = "hagane"
"""All processes of one cloud share the work, so to the API they are one conductor, of this name."""

NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~")
"""What names of Nodes, groups, allocations and runbooks consist of."""

_NODE_LAST = re.compile(r"/v1/nodes/((?:states|management|maintenance|vendor_passthru)(?:/[^/]+)*)/([^/]+)")
_PLAIN = frozenset({"NoRoute", "MethodNotAllowed", "BadVersion"})
_WORDS = "'0', '1', 'f', 'false', 'n', 'no', 'off', 'on', 't', 'true', 'y', 'yes'"


class Versions(Microversions):
    """Negotiation as the bare-metal service does it: whatever cannot be is 406, with the range in the headers."""

    def negotiate(self, headers: dict[str, str]) -> Version:
        wanted = self._wanted(headers) or self.oldest
        try:
            version = parse(self.newest if wanted == "latest" else wanted)
        except ValueError:
            raise NotAcceptable(f"Invalid value for {HEADER} header", code="BadVersion") from None
        text, shown = f"[{self.oldest}, {self.newest}].", f"{version[0]}.{version[1]}"
        if version[0] != 1:
            raise NotAcceptable(
                f"Mutually exclusive versions requested. Version {shown} requested but not supported by this service. "
                f"The supported version range is: {text}",
                code="BadVersion",
            )
        if not parse(self.oldest) <= version <= parse(self.newest):
            raise NotAcceptable(
                f"Version {shown} was requested but the minor version is not supported by this service. "
                f"The supported version range is: {text}",
                code="BadVersion",
            )
        return version

    def echo(self, version: Version) -> dict[str, str]:
        return {HEADER.lower(): f"{version[0]}.{version[1]}"}


def spelling(request: Request, path: str) -> str:
    """The path of a route for one that the real service knows by other words: without the version, with a slash at its
    end, with the Node behind what is asked of it, and before 1.91 with `.json`."""
    rest = path.removeprefix(ROOT)
    if rest.rstrip("/").endswith(".json") and request.headers.get(HEADER.lower()):
        rest = rest.rstrip("/").removesuffix(".json") if VERSIONS.negotiate(request.headers) < (1, 91) else rest
    rest = rest.removesuffix("/")
    if not rest.startswith("/v1/"):
        rest = "/v1" + rest
    if last := _NODE_LAST.fullmatch(rest):
        rest = f"/v1/nodes/{last[2]}/{last[1]}"
    return ROOT + rest


VERSIONS = Versions("baremetal", OLDEST, NEWEST, HEADER)
RANGE = {
    "x-openstack-ironic-api-minimum-version": OLDEST,
    "x-openstack-ironic-api-maximum-version": NEWEST,
}
"""Headers of every answer."""


def status(error: HaganeError) -> int | None:
    """Below a Node the web framework of the real service knows a path, and only not by this method."""
    asked = error.extra.get("asked", "") if error.code == "NoRoute" else ""
    return 405 if asked.startswith(f"PUT {V1}/nodes/") else None


def envelope(error: HaganeError, status: int, request: Request) -> tuple[Any, dict[str, str]]:
    """{"error_message": "<JSON as text>"}: of the service itself, or of the web framework below it."""
    if error.code in _PLAIN:
        text = "" if error.code == "NoRoute" else error.message
        inner: dict[str, Any] = {"code": status, "title": REASON.get(status, "Error"), "description": text}
    else:
        side = "Client" if status < 500 else "Server"
        inner = {"faultcode": side, "faultstring": error.message, "debuginfo": None}
    allow = {"allow": error.extra["allow"]} if "allow" in error.extra else {}
    return {"error_message": json.dumps(inner)}, allow


def wording(field: str, value: Any, reason: str) -> str:
    """The sentences of the real service's argument checks."""
    if "is not a boolean" in reason or "is not of type 'boolean'" in reason:
        return f"Invalid {field}: Unrecognized value '{value}', acceptable values are: {_WORDS}"
    if "is not a 'uuid'" in reason:
        return f"Expected UUID for {field}: {value}"
    if "is not a valid MAC address" in reason:
        return f"Expected valid MAC address for {field}: {value}"
    return f"Schema error for {field}: {reason}"


def is_name(text: str) -> bool:
    return 0 < len(text) <= 255 and set(text) <= NAME


def at(request: Request, minor: int) -> bool:
    """Whether the request speaks microversion 1.<minor> or a later one."""
    return request.version >= (1, minor)


def require(request: Request, minor: int, *, told: bool = False) -> None:
    """Refuse a request that speaks an older microversion; `told`: and say which one it takes. Raises NotAcceptable."""
    if not at(request, minor):
        more = f" The minimal required API version should be 1.{minor}" if told else ""
        raise NotAcceptable("Request not acceptable." + more)


def link(request: Request, path: str, rel: str = "self") -> dict[str, str]:
    """One link below /v1; a bookmark leaves the version out."""
    return {"href": f"{request.url}{'' if rel == 'bookmark' else '/v1'}/{path}", "rel": rel}


def links(request: Request, path: str) -> list[dict[str, str]]:
    return [link(request, path), link(request, path, "bookmark")]


def moment(text: str | None) -> str | None:
    """A row's time as this API writes it."""
    return None if text is None else text + "+00:00"


def node_target(row: Mapping[str, Any]) -> dict[str, Any]:
    """A Node as policy rules know it; an owner that is not set is absent and equals nobody."""
    return {f"node.{name}": row[name] for name in ("owner", "lessee") if row.get(name)}


def need(request: Request, rule: str, target: dict[str, Any] | None = None) -> None:
    """Ask the policy. Raises Forbidden."""
    if not request.allowed(rule, {} if target is None else target):
        raise forbidden(rule)


def forbidden(rule: str) -> Forbidden:
    return Forbidden(f"Access was denied to the following resource: {rule}", code="PolicyNotAuthorized", rule=rule)


def list_scope(request: Request, noun: str, project: str | None = None) -> str | None:
    """The project to whose Nodes a list is limited, or None. Raises Forbidden."""
    if request.allowed(f"baremetal:{noun}:list_all", {}):
        return project
    own = request.caller.project_id
    if not own or (project and project != own):
        raise forbidden(f"baremetal:{noun}:list_all")
    need(request, f"baremetal:{noun}:list", {"project_id": own})
    return own


def arguments(body: Any, known: Iterable[str], required: Iterable[str] = ()) -> dict[str, Any]:
    """A body that is a plain set of arguments. Raises Invalid."""
    if not isinstance(body, dict):
        body = {}
    return _named(body, known, required)


def query(request: Request, known: Iterable[str]) -> dict[str, str]:
    """The query's arguments. Raises Invalid for one that is not known."""
    return _named(request.args, known, ())


def _named(given: dict[str, Any], known: Iterable[str], required: Iterable[str]) -> dict[str, Any]:
    known = frozenset(known)
    if unknown := [name for name in given if name not in known]:
        raise Invalid(f"Unexpected arguments: {', '.join(sorted(unknown))}")
    if lacking := [name for name in required if name not in given]:
        raise Invalid(f"Missing mandatory parameter: {', '.join(lacking)}")
    return given


def boolean(name: str, value: Any) -> bool | None:
    """A boolean as the service's strict reader takes it. Raises Invalid."""
    if value is None or isinstance(value, bool):
        return value
    word = str(value).strip().lower()
    if word in ("1", "t", "true", "on", "y", "yes"):
        return True
    if word in ("0", "f", "false", "off", "n", "no"):
        return False
    raise BadValue(name, value, f"{value!r} is not a boolean")


def integer(name: str, value: Any) -> int | None:
    """Raises Invalid."""
    if value is None:
        return None
    try:
        return int(value) if not isinstance(value, bool) else int(str(value))
    except (TypeError, ValueError):
        raise Invalid(f"Expected an integer for {name}: {value}") from None


def string(name: str, value: Any) -> str | None:
    """Raises Invalid."""
    if value is not None and not isinstance(value, str):
        raise Invalid(f"Expected string for {name}: {value}")
    return value
