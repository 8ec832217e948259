"""The OpenAPI 3.1 document of each service, derived from its routes: what is not a route is not in it, and the reverse.

    /openapi.json             all services
    /<service>/openapi.json   one of them

Both need no token: they say what can be asked, and nothing about who is here. `x-openstack` carries what OpenAPI has no
word for: the microversions in which an operation exists, and the policy rule that it asks for.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from hagane import __version__
from hagane.api.http import Request, Response
from hagane.api.service import Route, Service, parse
from hagane.api.types import Type

BYTES = "application/octet-stream"
_NUMBERS = frozenset({"limit", "offset"})


def document(services: Sequence[Service]) -> dict[str, Any]:
    """One document for these services."""
    paths: dict[str, dict[str, Any]] = {}
    for service in services:
        for route in service.routes:
            item = paths.setdefault(route.path, {})
            verb, new = route.method.lower(), _operation(service, route)
            item[verb] = _merge(item[verb], new) if verb in item else new
    _name(operation for item in paths.values() for operation in item.values())
    return {
        "openapi": "3.1.0",
        "info": {"title": _title(services), "version": __version__},
        "paths": {path: paths[path] for path in sorted(paths)},
        "components": {
            "securitySchemes": {"token": {"type": "apiKey", "in": "header", "name": "X-Auth-Token"}},
        },
    }


def _name(operations: Iterable[dict[str, Any]]) -> None:
    """Routes that share a name (with and without a slash at the end) are numbered: an operation's id is unique."""
    seen: dict[str, int] = {}
    for operation in operations:
        name = operation["operationId"]
        seen[name] = seen.get(name, 0) + 1
        if seen[name] > 1:
            operation["operationId"] = f"{name}:{seen[name]}"


def _title(services: Sequence[Service]) -> str:
    return f"Hagane {services[0].title or services[0].type.capitalize()}" if len(services) == 1 else "Hagane"


def _operation(service: Service, route: Route) -> dict[str, Any]:
    words = [part for part in (service.type, route.name, route.method.lower(), route.since) if part]
    operation: dict[str, Any] = {
        "operationId": ":".join(words),
        "tags": [service.type or "hagane"],
        "parameters": [*_path(route), *_query(route), *_version(service)],
        "responses": _responses(route),
        "security": [{"token": []}] if route.auth else [],
    }
    if body := _body(route):
        operation["requestBody"] = body
    if more := _more(service, route):
        operation["x-openstack"] = more
    return operation


def _path(route: Route) -> list[dict[str, Any]]:
    names = re.findall(r"\{(\w+)\}", route.path)
    kind = {"type": "string", "minLength": 1}
    return [{"name": name, "in": "path", "required": True, "schema": kind} for name in names]


def _query(route: Route) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "query", "schema": {"type": "integer" if name in _NUMBERS else "string"}}
        for name in dict.fromkeys(route.query)
    ]


def _version(service: Service) -> list[dict[str, Any]]:
    if service.versions is None:
        return []
    words = f"{service.versions.series} {service.versions.oldest} to {service.versions.newest}, or latest"
    schema = {"type": "string"}
    return [{"name": "OpenStack-API-Version", "in": "header", "description": words, "schema": schema}]


def _body(route: Route) -> dict[str, Any] | None:
    if route.streams and route.method in ("PUT", "POST", "PATCH"):
        return {"content": {BYTES: {"schema": {"type": "string", "format": "binary"}}}, "required": True}
    if route.body is None:
        return None
    return {"content": {media: {"schema": _schema(route.body)} for media in route.media}, "required": True}


def _responses(route: Route) -> dict[str, Any]:
    good: dict[str, Any] = {"description": "Done."}
    if route.answer is not None:
        good["content"] = {"application/json": {"schema": _schema(route.answer)}}
    elif route.streams and route.method == "GET":
        good["content"] = {BYTES: {"schema": {"type": "string", "format": "binary"}}}
    return {str(route.status): good, "4XX": {"description": "Refused; the body says why."}}


def _schema(kind: Type) -> dict[str, Any]:
    return kind.schema()


def _more(service: Service, route: Route) -> dict[str, Any]:
    more: dict[str, Any] = {}
    if service.versions is not None:
        more["min-ver"] = route.since or service.versions.oldest
        if route.until:
            more["max-ver"] = route.until
    return more | ({"rule": route.rule} if route.rule else {})


def _merge(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """The same method and path in other microversions: one operation whose body may be either."""
    merged = old | {"responses": old["responses"] | new["responses"]}
    for media, body in new.get("requestBody", {}).get("content", {}).items():
        content = merged.setdefault("requestBody", {"content": {}, "required": True})["content"]
        known = content.get(media, {"schema": {}})["schema"]
        choices = known.get("oneOf", [known] if known else [])
        content[media] = {"schema": {"oneOf": [*choices, body["schema"]]}}
    names = {parameter["name"] for parameter in old["parameters"]}
    merged["parameters"] = [*old["parameters"], *(p for p in new["parameters"] if p["name"] not in names)]
    if "x-openstack" in old and "x-openstack" in new:
        merged["x-openstack"] = old["x-openstack"] | _span(old["x-openstack"], new["x-openstack"])
        if "max-ver" not in old["x-openstack"] or "max-ver" not in new["x-openstack"]:
            merged["x-openstack"].pop("max-ver", None)
    return merged


def _span(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    span = {}
    if "min-ver" in old and "min-ver" in new:
        span["min-ver"] = min(old["min-ver"], new["min-ver"], key=parse)
    if "max-ver" in old and "max-ver" in new:
        span["max-ver"] = max(old["max-ver"], new["max-ver"], key=parse)
    return span


def routes(services: Iterable[Service]) -> list[Route]:
    """Routes that serve the documents; each is written once, when it is first asked for."""
    known = [service for service in services if service.prefix]
    return [
        Page(known).route("/openapi.json"),
        *(Page([service]).route(f"{service.prefix}/openapi.json") for service in known),
    ]


class Page:
    """One document, encoded when it is first asked for."""

    def __init__(self, services: Sequence[Service]) -> None:
        self._services = services
        self._text = b""

    async def handler(self, request: Request) -> Response:
        self._text = self._text or msgspec.json.encode(document(self._services))
        return Response(200, self._text)

    def route(self, path: str) -> Route:
        return Route("GET", path, self.handler, "openapi", auth=False)
